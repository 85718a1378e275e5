"""Phi-1, Phi-1.5 and Phi-2 (Gunasekar et al. 2023; Li et al. 2023).

Attention and MLP read the same normed stream; parts of heads are rotated, and the unembedding
has a bias.
"""

from typing import Any

from patchwright.model.parts import (
    activation_of,
    layer_norm_of,
    linear_of,
    network_around,
    rotary_of,
    spec_of,
)
from patchwright.model.weights import Layer, Network, Rotary

ARCHITECTURE = "PhiForCausalLM"


def read(module: Any, name: str) -> Network:
    """A Phi as a network. Raises CheckpointError for what cannot be computed."""
    config, body = module.config, module.model
    d_head = body.layers[0].self_attn.head_dim
    rotary = rotary_of(body.rotary_emb, d_head, name, partial=True)
    layers = tuple(_layer(config, block, rotary, name) for block in body.layers)
    spec = spec_of(config, name, layers, parallel=True)
    norm_final = layer_norm_of(body.final_layernorm, name)
    return network_around(module, spec, layers, body.embed_tokens, norm_final)


def _layer(config: Any, block: Any, rotary: Rotary, name: str) -> Layer:
    attn, norm = block.self_attn, layer_norm_of(block.input_layernorm, name)
    normed = config.qk_layernorm
    return Layer(
        norm_attn=norm,
        q=linear_of(attn.q_proj, name),
        k=linear_of(attn.k_proj, name),
        v=linear_of(attn.v_proj, name),
        o=linear_of(attn.dense, name),
        norm_mlp=norm,
        mlp_in=linear_of(block.mlp.fc1, name),
        mlp_out=linear_of(block.mlp.fc2, name),
        d_head=attn.head_dim,
        attn_scale=attn.scaling,
        activation=activation_of(config.hidden_act, name),
        rotary=rotary,
        q_norm=layer_norm_of(attn.q_layernorm, name) if normed else None,
        k_norm=layer_norm_of(attn.k_layernorm, name) if normed else None,
    )
