"""Phi-3 and Phi-4 (Abdin et al. 2024): Llama's block with fused projections, parts of heads rotated."""

from typing import Any

from transformers import PreTrainedModel

from patchwright.model.families.llama import Projections, read_decoder
from patchwright.model.parts import cut, linear_of
from patchwright.model.weights import Network

ARCHITECTURE = "Phi3ForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A Phi-3 as a network. Raises CheckpointError for what cannot be computed."""
    windows = [module.config.sliding_window] * module.config.num_hidden_layers
    return read_decoder(module, name, "phi3", windows, _projections, partial=True)


def _projections(block: Any, name: str) -> Projections:
    attn, mlp = block.self_attn, block.mlp
    d_head, n_kv_heads = attn.head_dim, attn.num_key_value_heads
    heads = [n_kv_heads * attn.num_key_value_groups, n_kv_heads, n_kv_heads]
    q, k, v = cut(linear_of(attn.qkv_proj, name), [count * d_head for count in heads])
    fused = linear_of(mlp.gate_up_proj, name)
    gate, up = cut(fused, [fused.weight.shape[1] // 2] * 2)
    return Projections(q, k, v, mlp_in=up, mlp_gate=gate)
