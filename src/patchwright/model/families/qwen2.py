"""Qwen2 and Qwen2.5 (Yang et al. 2024): Llama's block with biases on queries, keys and values.

Some layers may attend within a sliding window, the others to the whole prompt.
"""

from transformers import PreTrainedModel

from patchwright.model.families.llama import read_decoder, windows_by_type
from patchwright.model.weights import Network

ARCHITECTURE = "Qwen2ForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A Qwen2 as a network. Raises CheckpointError for what cannot be computed."""
    return read_decoder(module, name, windows_by_type(module.config, name))
