"""GPT-2 (Radford et al. 2019) and all checkpoints of its class."""

from typing import Any

from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model.parts import (
    activation_of,
    cut,
    layer_norm_of,
    linear_of,
    network_around,
    spec_of,
)
from patchwright.model.weights import Layer, Network

ARCHITECTURE = "GPT2LMHeadModel"


def read(module: PreTrainedModel, name: str) -> Network:
    """A GPT-2 as a network. Raises CheckpointError for one with cross-attention."""
    assert isinstance(module, GPT2LMHeadModel)
    config, body = module.config, module.transformer
    if config.add_cross_attention:
        raise CheckpointError(f"'{name}' has cross-attention; only decoder-only GPT-2 can be read.")
    layers = tuple(_layer(config, i, block, name) for i, block in enumerate(body.h))
    spec = spec_of(config, name, layers, d_mlp=config.n_inner or 4 * config.n_embd)
    norm_final = layer_norm_of(body.ln_f, name)
    return network_around(
        module, spec, layers, body.wte, norm_final, embed_position=body.wpe.weight.detach()
    )


def _layer(config: GPT2Config, index: int, block: Any, name: str) -> Layer:
    query, key, value = cut(linear_of(block.attn.c_attn, name), [config.n_embd] * 3)
    d_head = config.n_embd // config.n_head
    scale = d_head**-0.5 if config.scale_attn_weights else 1.0
    return Layer(
        norm_attn=layer_norm_of(block.ln_1, name),
        q=query,
        k=key,
        v=value,
        o=linear_of(block.attn.c_proj, name),
        norm_mlp=layer_norm_of(block.ln_2, name),
        mlp_in=linear_of(block.mlp.c_fc, name),
        mlp_out=linear_of(block.mlp.c_proj, name),
        d_head=d_head,
        attn_scale=scale / (index + 1) if config.scale_attn_by_inverse_layer_idx else scale,
        activation=activation_of(config.activation_function, name),
    )
