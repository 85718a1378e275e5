"""Qwen3-MoE (Yang et al. 2025): Qwen3's block, with a router and experts in place of most MLPs."""

from typing import Any

from patchwright.model import parts
from patchwright.model.families.llama import gated_mlp, read_decoder
from patchwright.model.families.mixtral import experts_of
from patchwright.model.weights import Network

ARCHITECTURE = "Qwen3MoeForCausalLM"


def read(module: Any, name: str) -> Network:
    """A Qwen3-MoE as a network. Raises CheckpointError for what cannot be computed."""
    config = module.config
    d_mlp = config.moe_intermediate_size
    return read_decoder(module, name, config.sliding_window, mlp=_mlp, d_mlp=d_mlp, routed=True)


def _mlp(mlp: Any, name: str) -> parts.LayerFields:
    return experts_of(mlp, name) if hasattr(mlp, "experts") else gated_mlp(mlp, name)
