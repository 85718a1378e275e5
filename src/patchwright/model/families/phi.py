"""Phi-1, Phi-1.5 and Phi-2 (Gunasekar et al. 2023; Li et al. 2023).

Attention and MLP read the same normed stream; parts of heads are rotated, and the unembedding
has a bias.
"""

from typing import Any

from patchwright.model import parts
from patchwright.model.weights import Layer, Network, Rotary

ARCHITECTURE = "PhiForCausalLM"


def read(module: Any, name: str) -> Network:
    """A Phi as a network. Raises CheckpointError for what cannot be computed."""
    config, body = module.config, module.model
    d_head = body.layers[0].self_attn.head_dim
    rotary = parts.rotary_of(body.rotary_emb, d_head, name, partial=True)
    layers = tuple(_layer(config, block, rotary, name) for block in body.layers)
    norm_final = parts.layer_norm_of(body.final_layernorm, name)
    return parts.assemble_network(
        module, name, layers, body.embed_tokens, norm_final, parallel=True
    )


def _layer(config: Any, block: Any, rotary: Rotary, name: str) -> Layer:
    attn, norm = block.self_attn, parts.layer_norm_of(block.input_layernorm, name)
    normed = config.qk_layernorm
    return Layer(
        norm_attn=norm,
        norm_mlp=norm,
        mlp_in=parts.linear_of(block.mlp.fc1, name),
        mlp_out=parts.linear_of(block.mlp.fc2, name),
        activation=parts.activation_of(config.hidden_act, name),
        rotary=rotary,
        q_norm=parts.layer_norm_of(attn.q_layernorm, name) if normed else None,
        k_norm=parts.layer_norm_of(attn.k_layernorm, name) if normed else None,
        **parts.heads_of(attn, name, "dense"),
    )
