"""GPT-J (Wang & Komatsuzaki 2021): attention and MLP read the same normed stream.

Neighbouring numbers of a part of each head are rotated; the unembedding has a bias.
"""

from typing import Any

import torch

from patchwright.errors import CheckpointError
from patchwright.model.parts import activation_of, layer_norm_of, linear_of, network_around, spec_of
from patchwright.model.weights import Layer, Network, Rotary

ARCHITECTURE = "GPTJForCausalLM"

BASE = 10_000
"""Of the rotary frequencies, which the class does not take from its config."""


def read(module: Any, name: str) -> Network:
    """A GPT-J as a network. Raises CheckpointError for a rotation that no head has."""
    config, body = module.config, module.transformer
    rotary_dim, d_head = config.rotary_dim, config.n_embd // config.n_head
    if not rotary_dim or rotary_dim % 2 or rotary_dim > d_head:
        raise CheckpointError(
            f"'{name}' has rotary_dim={rotary_dim}: so many numbers of each head are rotated, in pairs, and "
            f"a head has {d_head}."
        )
    layers = tuple(_layer(config, block, name) for block in body.h)
    spec = spec_of(config, name, layers, d_mlp=config.n_inner or 4 * config.n_embd, parallel=True)
    norm_final = layer_norm_of(body.ln_f, name)
    return network_around(module, spec, layers, body.wte, norm_final)


def _layer(config: Any, block: Any, name: str) -> Layer:
    attn, norm = block.attn, layer_norm_of(block.ln_1, name)
    steps = torch.arange(0, config.rotary_dim, 2, dtype=torch.int64) / config.rotary_dim
    frequencies = (1 / BASE**steps).double().tolist()
    return Layer(
        norm_attn=norm,
        q=linear_of(attn.q_proj, name),
        k=linear_of(attn.k_proj, name),
        v=linear_of(attn.v_proj, name),
        o=linear_of(attn.out_proj, name),
        norm_mlp=norm,
        mlp_in=linear_of(block.mlp.fc_in, name),
        mlp_out=linear_of(block.mlp.fc_out, name),
        d_head=attn.head_dim,
        attn_scale=attn.scaling,
        activation=activation_of(config.activation_function, name),
        rotary=Rotary(tuple(frequencies), interleaved=True),
    )
