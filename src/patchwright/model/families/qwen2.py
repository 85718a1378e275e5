"""Qwen2 and Qwen2.5 (Yang et al. 2024): Llama's block with biases on queries, keys and values.

Some layers may attend within a sliding window, the others to the whole prompt.
"""

from transformers import PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model.families.llama import read_decoder
from patchwright.model.weights import Network

ARCHITECTURE = "Qwen2ForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A Qwen2 as a network. Raises CheckpointError for what cannot be computed."""
    config = module.config
    windows = {"full_attention": None, "sliding_attention": config.sliding_window}
    if unknown := set(config.layer_types) - set(windows):
        raise CheckpointError(
            f"'{name}' has layers of the type '{min(unknown)}', which cannot be computed here. The "
            f"types that can are: {', '.join(windows)}."
        )
    return read_decoder(module, name, "qwen2", [windows[one] for one in config.layer_types])
