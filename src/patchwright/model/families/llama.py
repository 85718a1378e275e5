"""Llama (Touvron et al. 2023) and all checkpoints of its class: SmolLM2, TinyLlama, Llama 3."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
from patchwright.model.weights import Layer, Linear, Network, Norm, Rotary

ARCHITECTURE = "LlamaForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A Llama as a network. Raises CheckpointError for what cannot be computed."""
    return read_decoder(module, name, "llama", [None] * module.config.num_hidden_layers)


class Projections(NamedTuple):
    """The projections into a block's heads and neurons, by the names that `Layer` has for them."""

    q: Linear
    k: Linear
    v: Linear
    mlp_in: Linear
    mlp_gate: Linear


def projections_apart(block: Any, name: str) -> Projections:
    """Those of Llama's block, each a module of its own. Raises CheckpointError for other modules."""
    attn, mlp = block.self_attn, block.mlp
    parts = attn.q_proj, attn.k_proj, attn.v_proj, mlp.up_proj, mlp.gate_proj
    return Projections(*(linear_of(part, name) for part in parts))


def read_decoder(
    module: Any,
    name: str,
    family: str,
    windows: Sequence[int | None],
    projections: Callable[[Any, str], Projections] = projections_apart,
    partial: bool = False,
) -> Network:
    """A module that is built as Llama's; `windows` has each layer's sliding window.

    `projections` takes a block, and what the model is called, to its projections; `partial` is as
    for `rotary_of`. Raises CheckpointError for what cannot be computed.
    """
    config, body = module.config, module.model
    d_head = body.layers[0].self_attn.head_dim
    rotary = rotary_of(body.rotary_emb, d_head, name, partial)
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
            _layer(block, projections(block, name), config.hidden_act, rotary, window, name)
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


def _layer(
    block: Any,
    projections: Projections,
    activation: str,
    rotary: Rotary,
    window: int | None,
    name: str,
) -> Layer:
    attn, mlp = block.self_attn, block.mlp
    return Layer(
        norm_attn=rms_norm_of(block.input_layernorm, name),
        o=linear_of(attn.o_proj, name),
        norm_mlp=rms_norm_of(block.post_attention_layernorm, name),
        mlp_out=linear_of(mlp.down_proj, name),
        d_head=attn.head_dim,
        attn_scale=attn.scaling,
        activation=activation_of(activation, name),
        rotary=rotary,
        window=window_of(window, name),
        q_norm=_norm_if_there(attn, "q_norm", name),
        k_norm=_norm_if_there(attn, "k_norm", name),
        **projections._asdict(),
    )


def _norm_if_there(attn: Any, norm: str, name: str) -> Norm | None:
    return rms_norm_of(getattr(attn, norm), name) if hasattr(attn, norm) else None
