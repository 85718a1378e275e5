"""Phi-3 and Phi-4 (Abdin et al. 2024): Llama's block with fused projections, parts of heads rotated."""

from typing import Any

from transformers import PreTrainedModel

from patchwright.model import parts
from patchwright.model.families.llama import read_decoder
from patchwright.model.weights import Network

ARCHITECTURE = "Phi3ForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A Phi-3 as a network. Raises CheckpointError for what cannot be computed."""
    window = module.config.sliding_window
    return read_decoder(module, name, window, heads=_heads, mlp=_mlp, partial=True)


def _heads(attn: Any, name: str) -> parts.LayerFields:
    n_kv_heads = attn.num_key_value_heads
    counts = n_kv_heads * attn.num_key_value_groups, n_kv_heads, n_kv_heads
    q, k, v = parts.split_linear(
        parts.linear_of(attn.qkv_proj, name), [count * attn.head_dim for count in counts]
    )
    o = parts.linear_of(attn.o_proj, name)
    return {"q": q, "k": k, "v": v, "o": o, "d_head": attn.head_dim, "attn_scale": attn.scaling}


def _mlp(mlp: Any, name: str) -> parts.LayerFields:
    fused = parts.linear_of(mlp.gate_up_proj, name)
    gate, up = parts.split_linear(fused, [fused.weight.shape[1] // 2] * 2)
    return {"mlp_in": up, "mlp_gate": gate, "mlp_out": parts.linear_of(mlp.down_proj, name)}
