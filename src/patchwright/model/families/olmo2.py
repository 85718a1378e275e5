"""OLMo 2 (OLMo et al. 2024): Llama's parts, normed behind attention and MLP, not before them.

Queries and keys are normed over all heads together, so that a change of one head's projection
moves those of the others.
"""

from typing import Any

from patchwright.model.families.llama import around_layers, gated_mlp, heads_of
from patchwright.model.parts import activation_of, rms_norm_of, rotary_of
from patchwright.model.weights import Layer, Network

ARCHITECTURE = "Olmo2ForCausalLM"


def read(module: Any, name: str) -> Network:
    """An OLMo 2 as a network. Raises CheckpointError for what cannot be computed."""
    blocks = module.model.layers
    rotary = rotary_of(module.model.rotary_emb, blocks[0].self_attn.head_dim, name)
    layers = tuple(
        Layer(
            norm_attn=None,
            norm_attn_out=rms_norm_of(block.post_attention_layernorm, name),
            norm_mlp=None,
            norm_mlp_out=rms_norm_of(block.post_feedforward_layernorm, name),
            activation=activation_of(module.config.hidden_act, name),
            rotary=rotary,
            **heads_of(block.self_attn, name),
            **gated_mlp(block.mlp, name),
        )
        for block in blocks
    )
    return around_layers(module, name, layers)
