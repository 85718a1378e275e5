"""Llama (Touvron et al. 2023) and all checkpoints of its class: SmolLM2, TinyLlama, Llama 3."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model.parts import (
    activation_of,
    bias_of,
    linear_of,
    rms_norm_of,
    rotary_of,
    window_of,
)
from patchwright.model.spec import ModelSpec
from patchwright.model.weights import Layer, Network, Rotary

ARCHITECTURE = "LlamaForCausalLM"

_NORMS = ("q_norm", "k_norm")
"""What some modules norm each head of the queries and keys by."""


def read(module: PreTrainedModel, name: str) -> Network:
    """A Llama as a network. Raises CheckpointError for what cannot be computed."""
    return read_decoder(module, name, "llama", [None] * module.config.num_hidden_layers)


def read_decoder(module: Any, name: str, family: str, windows: Sequence[int | None]) -> Network:
    """A module that is built as Llama's; `windows` has each layer's sliding window."""
    config, body = module.config, module.model
    d_head = body.layers[0].self_attn.head_dim
    rotary = rotary_of(body.rotary_emb, d_head, name)
    spec = ModelSpec(
        name=name,
        family=family,
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        d_model=config.hidden_size,
        d_head=d_head,
        d_mlp=config.intermediate_size,
        n_vocab=config.vocab_size,
        n_context=config.max_position_embeddings,
    )
    return Network(
        spec=spec,
        embed=body.embed_tokens.weight.detach(),
        embed_position=None,
        layers=tuple(
            _layer(block, config.hidden_act, rotary, window, name)
            for block, window in zip(body.layers, windows, strict=True)
        ),
        norm_final=rms_norm_of(body.norm, name),
        unembed=module.lm_head.weight.detach(),
        unembed_bias=bias_of(module.lm_head),
    )


def windows_by_type(config: Any, name: str) -> list[int | None]:
    """Each layer's sliding window, where the config names its layers' types.

    Raises CheckpointError for a type that is not known here.
    """
    windows = {"full_attention": None, "sliding_attention": config.sliding_window}
    if unknown := set(config.layer_types) - set(windows):
        raise CheckpointError(
            f"'{name}' has layers of the type '{min(unknown)}', which cannot be computed here. The "
            f"types that can are: {', '.join(windows)}."
        )
    return [windows[one] for one in config.layer_types]


def _layer(block: Any, activation: str, rotary: Rotary, window: int | None, name: str) -> Layer:
    attn, mlp = block.self_attn, block.mlp
    return Layer(
        norm_attn=rms_norm_of(block.input_layernorm, name),
        q=linear_of(attn.q_proj, name),
        k=linear_of(attn.k_proj, name),
        v=linear_of(attn.v_proj, name),
        o=linear_of(attn.o_proj, name),
        norm_mlp=rms_norm_of(block.post_attention_layernorm, name),
        mlp_in=linear_of(mlp.up_proj, name),
        mlp_out=linear_of(mlp.down_proj, name),
        d_head=attn.head_dim,
        attn_scale=attn.scaling,
        activation=activation_of(activation, name),
        mlp_gate=linear_of(mlp.gate_proj, name),
        rotary=rotary,
        window=window_of(window, name),
        **{norm: rms_norm_of(getattr(attn, norm), name) for norm in _NORMS if hasattr(attn, norm)},
    )
