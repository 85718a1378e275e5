"""Parts of Hugging Face modules -> parts of a block, for the readers in `families`.

Each takes exactly the modules that it knows: a part of another class (an adapter around a
projection, a quantised one) computes something else than its `weight` says, and is refused.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.pytorch_utils import Conv1D

from patchwright.errors import CheckpointError
from patchwright.model.spec import ModelSpec
from patchwright.model.weights import Layer, Linear, Network, Norm, Rotary

ROTARY_KINDS = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary positions whose frequencies do not depend on the prompt's length."""

ROTARY_SETTINGS = set(
    "rope_type type rope_theta factor original_max_position_embeddings low_freq_factor "
    "high_freq_factor attention_factor beta_fast beta_slow mscale mscale_all_dim truncate "
    "partial_rotary_factor".split()
)
"""What a config may say of these; Transformers makes the frequencies and the factor of it."""


LayerFields = dict[str, Any]
"""Some fields of a `Layer`, by their names."""


def assemble_network(
    module: Any,
    name: str,
    layers: tuple[Layer, ...],
    embed: nn.Module,
    norm_final: Norm,
    embed_position: Float[Tensor, "context d_model"] | None = None,
    logit_cap: float | None = None,
    **sizes: Any,
) -> Network:
    """The network of these layers, its unembedding where Transformers has it in all classes.

    `sizes` are fields of its `ModelSpec` that neither the layers nor the config say. Raises
    CheckpointError for an embedding or an unembedding of another class.
    """
    if type(embed) is not nn.Embedding and not type(embed).__name__.endswith("ScaledWordEmbedding"):
        raise _unexpected_class_error(embed, "Embedding", name)
    unembed = linear_of(module.lm_head, name)
    return Network(
        spec=_spec_of(module.config, name, layers, **sizes),
        embed=embed.get_parameter("weight").detach(),
        embed_position=embed_position,
        layers=layers,
        norm_final=norm_final,
        unembed=unembed.weight.T,
        unembed_bias=unembed.bias,
        embed_scale=float(getattr(embed, "embed_scale", 1.0)),
        logit_cap=logit_cap,
    )


def _spec_of(config: Any, name: str, layers: Sequence[Layer], **own: Any) -> ModelSpec:
    """The sizes of a model of these layers, by the names that Transformers has for all families."""
    first, d_head = layers[0], layers[0].d_head
    if "d_mlp" not in own:
        own["d_mlp"] = len(first.mlp_out.weight) if first.mlp_out else config.intermediate_size
    return ModelSpec(
        name=name,
        family=config.model_type,
        n_layers=len(layers),
        n_heads=first.o.weight.shape[0] // d_head,
        n_kv_heads=first.k.by_head(d_head)[0].shape[1],
        d_model=config.hidden_size,
        d_head=d_head,
        n_vocab=config.vocab_size,
        n_context=config.max_position_embeddings,
        **own,
    )


def heads_of(
    attn: Any, name: str, output: str = "o_proj", scale: float | None = None
) -> LayerFields:
    """The heads of a module each of whose projections is one of its own, the last called `output`.

    `scale` where the module does not say by what it multiplies scores. Norms of queries and keys
    are RMS norms, where it has them. Raises CheckpointError for other modules.
    """
    norms = [one for one in ("q_norm", "k_norm") if hasattr(attn, one)]
    return {
        "q": linear_of(attn.q_proj, name),
        "k": linear_of(attn.k_proj, name),
        "v": linear_of(attn.v_proj, name),
        "o": linear_of(getattr(attn, output), name),
        "d_head": attn.head_dim,
        "attn_scale": attn.scaling if scale is None else scale,
        **{one: rms_norm_of(getattr(attn, one), name) for one in norms},
    }


def linear_of(part: nn.Module, name: str) -> Linear:
    """A projection of the model called `name`; its weight as a view, [in, out]."""
    if type(part) is Conv1D:
        return Linear(part.weight.detach(), part.bias.detach())
    if type(part) is nn.Linear:
        return Linear(part.weight.detach().T, bias_of(part))
    raise _unexpected_class_error(part, "Linear", name)


def split_linear(joint: Linear, widths: Sequence[int]) -> list[Linear]:
    """The projections that lie side by side in one, each as a view; `widths` are their outputs."""
    weights = joint.weight.split(list(widths), dim=1)
    if joint.bias is None:
        return [Linear(weight, None) for weight in weights]
    return list(map(Linear, weights, joint.bias.split(list(widths))))


def bias_of(part: nn.Module) -> Float[Tensor, " outputs"] | None:
    """The bias of a module that may have one."""
    bias = getattr(part, "bias", None)
    return None if bias is None else bias.detach()


def layer_norm_of(part: nn.Module, name: str) -> Norm:
    """A layer norm."""
    if type(part) is not nn.LayerNorm:
        raise _unexpected_class_error(part, "LayerNorm", name)
    return Norm(part.weight.detach(), bias_of(part), part.eps)


def rms_norm_of(part: Any, name: str) -> Norm:
    """An RMS norm as Transformers has it: of its classes Gemma's weights lie around zero."""
    check_class(part, "RMSNorm", name)
    if type(part).__name__.startswith("Gemma"):
        return Norm(part.weight.detach(), None, part.eps, "rms", around_one=True)
    return Norm(part.weight.detach(), None, part.variance_epsilon, "rms")


def check_class(part: Any, kind: str, name: str) -> Any:
    """A part whose class every family has under a name of its own, which ends with `kind`.

    Raises CheckpointError for one of another class.
    """
    if not type(part).__name__.endswith(kind):
        raise _unexpected_class_error(part, kind, name)
    return part


def rotary_of(
    part: Any, d_head: int, name: str, partial: bool = False, layer_type: str | None = None
) -> Rotary:
    """Rotary positions, with the module's own frequencies; of a type of layers, where it has several.

    `partial` says that the architecture can turn the first numbers of each head alone. Raises
    CheckpointError for scaling that depends on the prompt's length (dynamic, longrope) or is not
    known here, and otherwise for a rotation of a part of each head.
    """
    kind, settings, own = part.rope_type, part.config.rope_parameters, ""
    if layer_type is not None:
        kind, settings, own = kind[layer_type], settings[layer_type], f"{layer_type}_"
    if kind not in ROTARY_KINDS:
        raise CheckpointError(
            f"'{name}' scales its rotary positions by '{kind}', which cannot be computed here. The "
            f"kinds of scaling that can are: {', '.join(ROTARY_KINDS)}."
        )
    if unknown := sorted(set(settings) - ROTARY_SETTINGS):
        raise CheckpointError(
            f"'{name}' has the setting '{unknown[0]}' of rotary positions, which is not understood here."
        )
    frequencies = getattr(part, f"{own}inv_freq").detach().double().tolist()
    whole = 2 * len(frequencies) == d_head and settings.get("partial_rotary_factor", 1) == 1
    if not whole and not partial:
        raise CheckpointError(
            f"'{name}' rotates a part of the {d_head} numbers of each head (partial_rotary_factor); "
            "in its architecture only whole heads are rotated."
        )
    return Rotary(tuple(frequencies), float(getattr(part, f"{own}attention_scaling")))


def activation_of(kind: str, name: str) -> str:
    """The name of a nonlinearity that has no weights of its own."""
    if kind in ACT2FN and not list(ACT2FN[kind].parameters()):
        return kind
    raise CheckpointError(f"'{name}' has the nonlinearity '{kind}', which cannot be computed here.")


def window_of(size: int | None, name: str) -> int | None:
    """A sliding window, in positions; None for the whole prompt."""
    if size is not None and size < 1:
        raise CheckpointError(
            f"'{name}' has a sliding window of {size} positions: it must be 1 or more."
        )
    return size


def _unexpected_class_error(part: nn.Module, expected: str, name: str) -> CheckpointError:
    kind = type(part).__name__
    kind = f"{kind} of {type(part).__module__}" if kind == expected else kind
    return CheckpointError(
        f"'{name}' has a {kind} where its architecture has a {expected}. Adapters and "
        "quantised layers cannot be read: merge or convert them to plain weights first."
    )
