"""Qwen3 (Yang et al. 2025): Llama's block, each head of its queries and keys normed before rotation.

The sites `q` and `k` are as projected, before these norms.
"""

from transformers import PreTrainedModel

from patchwright.model.families.llama import read_decoder, windows_by_type
from patchwright.model.weights import Network

ARCHITECTURE = "Qwen3ForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A Qwen3 as a network. Raises CheckpointError for what cannot be computed."""
    return read_decoder(module, name, windows_by_type(module.config, name))
