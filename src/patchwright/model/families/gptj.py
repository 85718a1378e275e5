"""GPT-J (Wang & Komatsuzaki 2021): attention and MLP read the same normed stream.

Neighbouring numbers of a part of each head are rotated; the unembedding has a bias.
"""

from typing import Any

import torch

from patchwright.errors import CheckpointError
from patchwright.model import parts
from patchwright.model.weights import Layer, Network, Rotary

ARCHITECTURE = "GPTJForCausalLM"

ROTARY_BASE = 10_000
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
    norm_final = parts.layer_norm_of(body.ln_f, name)
    return parts.assemble_network(module, name, layers, body.wte, norm_final, parallel=True)


def _layer(config: Any, block: Any, name: str) -> Layer:
    attn, norm = block.attn, parts.layer_norm_of(block.ln_1, name)
    steps = torch.arange(0, config.rotary_dim, 2, dtype=torch.int64) / config.rotary_dim
    frequencies = (1 / ROTARY_BASE**steps).double().tolist()
    return Layer(
        norm_attn=norm,
        norm_mlp=norm,
        mlp_in=parts.linear_of(block.mlp.fc_in, name),
        mlp_out=parts.linear_of(block.mlp.fc_out, name),
        activation=parts.activation_of(config.activation_function, name),
        rotary=Rotary(tuple(frequencies), interleaved=True),
        **parts.heads_of(attn, name, "out_proj"),
    )
