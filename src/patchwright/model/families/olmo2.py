"""OLMo 2 (OLMo et al. 2024): Llama's parts, normed behind attention and MLP, not before them.

Queries and keys are normed over all heads together, so that a change of one head's projection
moves those of the others.
"""

from typing import Any

from patchwright.model import parts
from patchwright.model.families.llama import read_decoder
from patchwright.model.weights import Network

ARCHITECTURE = "Olmo2ForCausalLM"


def read(module: Any, name: str) -> Network:
    """An OLMo 2 as a network. Raises CheckpointError for what cannot be computed."""
    return read_decoder(module, name, norms=_norms)


def _norms(block: Any, name: str) -> parts.LayerFields:
    return {
        "norm_attn": None,
        "norm_attn_out": parts.rms_norm_of(block.post_attention_layernorm, name),
        "norm_mlp": None,
        "norm_mlp_out": parts.rms_norm_of(block.post_feedforward_layernorm, name),
    }
