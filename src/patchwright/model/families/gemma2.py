"""Gemma 2 (Riviere et al. 2024): Llama's block with a norm behind attention and behind the MLP.

Scores and logits are bent to within a cap, embeddings multiplied by the root of their width;
every other layer attends within a sliding window.
"""

from collections.abc import Sequence
from typing import Any

from patchwright.errors import CheckpointError
from patchwright.model.families.llama import around_layers, gated_mlp, heads_of, windows_by_type
from patchwright.model.parts import activation_of, rms_norm_of, rotary_of, window_of
from patchwright.model.weights import Layer, Network, Rotary

ARCHITECTURE = "Gemma2ForCausalLM"


def read(module: Any, name: str) -> Network:
    """A Gemma 2 as a network. Raises CheckpointError for what cannot be computed."""
    attn = module.model.layers[0].self_attn
    rotary = rotary_of(module.model.rotary_emb, attn.head_dim, name)
    cap = module.config.attn_logit_softcapping
    return read_gemma(module, name, [rotary] * module.config.num_hidden_layers, cap)


def read_gemma(
    module: Any, name: str, rotaries: Sequence[Rotary], attn_cap: float | None
) -> Network:
    """A module built as Gemma 2's; `rotaries` has each layer's rotary positions.

    Raises CheckpointError for what cannot be computed.
    """
    config = module.config
    if getattr(config, "use_bidirectional_attention", None):
        raise CheckpointError(
            f"'{name}' has use_bidirectional_attention={config.use_bidirectional_attention}; only models "
            "whose tokens see those before them can be read."
        )
    layers = tuple(
        Layer(
            norm_attn=rms_norm_of(block.input_layernorm, name),
            norm_attn_out=rms_norm_of(block.post_attention_layernorm, name),
            norm_mlp=rms_norm_of(block.pre_feedforward_layernorm, name),
            norm_mlp_out=rms_norm_of(block.post_feedforward_layernorm, name),
            activation=activation_of(config.hidden_activation, name),
            rotary=rotary,
            window=window_of(window, name),
            attn_cap=attn_cap,
            **heads_of(block.self_attn, name),
            **gated_mlp(block.mlp, name),
        )
        for block, window, rotary in zip(
            module.model.layers, windows_by_type(config, name), rotaries, strict=True
        )
    )
    return around_layers(module, name, layers, config.final_logit_softcapping)
