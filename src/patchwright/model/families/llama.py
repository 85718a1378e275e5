"""Llama (Touvron et al. 2023) and all checkpoints of its class: SmolLM2, TinyLlama, Llama 3.

And what other families build of the same parts: `read_decoder`, with what is Llama's unless they
say otherwise.
"""

from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model import parts
from patchwright.model.weights import Layer, Network, Rotary

ARCHITECTURE = "LlamaForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A Llama as a network. Raises CheckpointError for what cannot be computed."""
    return read_decoder(module, name)


def pre_norms(block: Any, name: str) -> parts.LayerFields:
    """Llama's norms, before attention and before the MLP."""
    return {
        "norm_attn": parts.rms_norm_of(block.input_layernorm, name),
        "norm_mlp": parts.rms_norm_of(block.post_attention_layernorm, name),
    }


def gated_mlp(mlp: Any, name: str) -> parts.LayerFields:
    """Llama's MLP. Raises CheckpointError for other modules."""
    return {
        "mlp_in": parts.linear_of(mlp.up_proj, name),
        "mlp_gate": parts.linear_of(mlp.gate_proj, name),
        "mlp_out": parts.linear_of(mlp.down_proj, name),
    }


PartReader = Callable[[Any, str], parts.LayerFields]
"""From a module, and what the model is called, to fields of a `Layer`."""


def read_decoder(
    module: Any,
    name: str,
    windows: Sequence[int | None] | int | None = None,
    norms: PartReader = pre_norms,
    heads: PartReader = parts.heads_of,
    mlp: PartReader = gated_mlp,
    *,
    activation: str | None = None,
    rotaries: Sequence[Rotary] | None = None,
    partial: bool = False,
    attn_cap: float | None = None,
    logit_cap: float | None = None,
    **sizes: Any,
) -> Network:
    """A module that is put together as Llama's.

    `windows` has each layer's sliding window, or that of all. `norms` reads a block, `heads` and
    `mlp` those modules of it. `activation` and `rotaries` are the nonlinearity and each layer's
    rotary positions, where they are not where Llama has them; `partial` is as for `rotary_of`,
    `sizes` as for `assemble_network`. Raises CheckpointError for what cannot be computed.
    """
    config, body = module.config, module.model
    count = len(body.layers)
    if rotaries is None:
        d_head = body.layers[0].self_attn.head_dim
        rotaries = [parts.rotary_of(body.rotary_emb, d_head, name, partial)] * count
    layers = tuple(
        Layer(
            activation=parts.activation_of(activation or config.hidden_act, name),
            rotary=rotary,
            window=parts.window_of(window, name),
            attn_cap=attn_cap,
            **norms(block, name),
            **heads(block.self_attn, name),
            **mlp(block.mlp, name),
        )
        for block, window, rotary in zip(
            body.layers,
            windows if isinstance(windows, Sequence) else [windows] * count,
            rotaries,
            strict=True,
        )
    )
    norm_final = parts.rms_norm_of(body.norm, name)
    return parts.assemble_network(
        module, name, layers, body.embed_tokens, norm_final, logit_cap=logit_cap, **sizes
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
