"""GPT-2 (Radford et al. 2019) and all checkpoints of its class."""

from typing import Any

from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model import parts
from patchwright.model.weights import Layer, Network

ARCHITECTURE = "GPT2LMHeadModel"


def read(module: PreTrainedModel, name: str) -> Network:
    """A GPT-2 as a network. Raises CheckpointError for one with cross-attention."""
    assert isinstance(module, GPT2LMHeadModel)
    config, body = module.config, module.transformer
    if config.add_cross_attention:
        raise CheckpointError(f"'{name}' has cross-attention; only decoder-only GPT-2 can be read.")
    layers = tuple(_layer(config, i, block, name) for i, block in enumerate(body.h))
    norm_final, positions = parts.layer_norm_of(body.ln_f, name), body.wpe.weight.detach()
    return parts.assemble_network(module, name, layers, body.wte, norm_final, positions)


def _layer(config: GPT2Config, index: int, block: Any, name: str) -> Layer:
    query, key, value = parts.split_linear(
        parts.linear_of(block.attn.c_attn, name), [config.n_embd] * 3
    )
    d_head = config.n_embd // config.n_head
    scale = d_head**-0.5 if config.scale_attn_weights else 1.0
    return Layer(
        norm_attn=parts.layer_norm_of(block.ln_1, name),
        q=query,
        k=key,
        v=value,
        o=parts.linear_of(block.attn.c_proj, name),
        norm_mlp=parts.layer_norm_of(block.ln_2, name),
        mlp_in=parts.linear_of(block.mlp.c_fc, name),
        mlp_out=parts.linear_of(block.mlp.c_proj, name),
        d_head=d_head,
        attn_scale=scale / (index + 1) if config.scale_attn_by_inverse_layer_idx else scale,
        activation=parts.activation_of(config.activation_function, name),
    )
