"""Llama (Touvron et al. 2023) and all checkpoints of its class: SmolLM2, TinyLlama, Llama 3.

And what other families build of the same parts: `read_decoder` where a whole block is Llama's,
`heads_of`, `gated_mlp` and `around_layers` where only these are.
"""

from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model.parts import (
    activation_of,
    linear_of,
    network_around,
    rms_norm_of,
    rotary_of,
    spec_of,
    window_of,
)
from patchwright.model.weights import Layer, Network

ARCHITECTURE = "LlamaForCausalLM"

Described = dict[str, Any]
"""Some fields of a `Layer`, or of a `Network`, by their names."""


def read(module: PreTrainedModel, name: str) -> Network:
    """A Llama as a network. Raises CheckpointError for what cannot be computed."""
    return read_decoder(module, name, [None] * module.config.num_hidden_layers)


def heads_of(attn: Any, name: str) -> Described:
    """Llama's heads, each projection a module of its own, with norms where the module has them.

    Raises CheckpointError for other modules.
    """
    norms = [one for one in ("q_norm", "k_norm") if hasattr(attn, one)]
    return {
        "q": linear_of(attn.q_proj, name),
        "k": linear_of(attn.k_proj, name),
        "v": linear_of(attn.v_proj, name),
        "o": linear_of(attn.o_proj, name),
        "d_head": attn.head_dim,
        "attn_scale": attn.scaling,
        **{one: rms_norm_of(getattr(attn, one), name) for one in norms},
    }


def gated_mlp(mlp: Any, name: str) -> Described:
    """Llama's MLP. Raises CheckpointError for other modules."""
    return {
        "mlp_in": linear_of(mlp.up_proj, name),
        "mlp_gate": linear_of(mlp.gate_proj, name),
        "mlp_out": linear_of(mlp.down_proj, name),
    }


def read_decoder(
    module: Any,
    name: str,
    windows: Sequence[int | None],
    heads: Callable[[Any, str], Described] = heads_of,
    mlp: Callable[[Any, str], Described] = gated_mlp,
    partial: bool = False,
    **sizes: Any,
) -> Network:
    """A module whose blocks are built as Llama's; `windows` has each layer's sliding window.

    `heads` and `mlp` take those modules of a block, and what the model is called, to fields of a
    `Layer`; `partial` is as for `rotary_of`, `sizes` as for `spec_of`. Raises CheckpointError for
    what cannot be computed.
    """
    config, body = module.config, module.model
    rotary = rotary_of(body.rotary_emb, body.layers[0].self_attn.head_dim, name, partial)
    layers = tuple(
        Layer(
            norm_attn=rms_norm_of(block.input_layernorm, name),
            norm_mlp=rms_norm_of(block.post_attention_layernorm, name),
            activation=activation_of(config.hidden_act, name),
            rotary=rotary,
            window=window_of(window, name),
            **heads(block.self_attn, name),
            **mlp(block.mlp, name),
        )
        for block, window in zip(body.layers, windows, strict=True)
    )
    return around_layers(module, name, layers, **sizes)


def around_layers(
    module: Any,
    name: str,
    layers: tuple[Layer, ...],
    logit_cap: float | None = None,
    **sizes: Any,
) -> Network:
    """The network of these layers, its embedding and its end where Llama's class has them."""
    body = module.model
    spec, norm_final = spec_of(module.config, name, layers, **sizes), rms_norm_of(body.norm, name)
    return network_around(module, spec, layers, body.embed_tokens, norm_final, logit_cap=logit_cap)


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
