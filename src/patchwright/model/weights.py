"""Hugging Face modules -> the common weights, one function a family.

Nothing is copied, folded or centred: every tensor here is a view of the
module's own parameters, so that results are those of the published model.
A new architecture is one function that returns a `Network`, and its line in
`FAMILIES`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from patchwright.errors import CheckpointError, UnknownFamilyError
from patchwright.model.spec import ModelSpec


@dataclass(frozen=True)
class Linear:
    """`x @ weight + bias`; weight is [in, out]."""

    weight: Float[Tensor, "inputs outputs"]
    bias: Float[Tensor, " outputs"]


@dataclass(frozen=True)
class Norm:
    """Layer normalisation over d_model."""

    weight: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    eps: float


@dataclass(frozen=True)
class Layer:
    """One transformer block; heads lie side by side in the outputs of q, k and v.

    `attn_scale` is the factor on query-key products, `activation` the name that the
    checkpoint's config gives the nonlinearity.
    """

    norm_attn: Norm
    q: Linear
    k: Linear
    v: Linear
    o: Linear
    norm_mlp: Norm
    mlp_in: Linear
    mlp_out: Linear
    d_head: int
    attn_scale: float
    activation: str

    @property
    def device(self) -> torch.device:
        """Where the layer's weights are, and so what it computes."""
        return self.q.weight.device


@dataclass(frozen=True)
class Network:
    """Sizes and weights: all that a forward pass needs.

    `unembed` is [vocab, d_model], as the checkpoint stores it. Layers may lie on
    several devices, each whole on one, and so may the embeddings and the end.
    """

    spec: ModelSpec
    embed: Float[Tensor, "vocab d_model"]
    embed_position: Float[Tensor, "context d_model"]
    layers: tuple[Layer, ...]
    norm_final: Norm
    unembed: Float[Tensor, "vocab d_model"]


Part = TypeVar("Part")


def each_tensor(part: Part, change: Callable[[Tensor], Tensor]) -> Part:
    """The same (nested) dataclass or tuple with `change` done to its tensors."""
    if isinstance(part, Tensor):
        return change(part)  # pyright: ignore[reportReturnType]
    if isinstance(part, tuple):
        return tuple(each_tensor(one, change) for one in part)  # pyright: ignore[reportReturnType]
    if not is_dataclass(part) or isinstance(part, ModelSpec | type):
        return part
    names = [field.name for field in fields(part)]
    return replace(part, **{name: each_tensor(getattr(part, name), change) for name in names})


def named_tensors(part: object, name: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a (nested) dataclass or tuple, in the order of its fields."""
    if isinstance(part, Tensor):
        yield name, part
    elif isinstance(part, tuple):
        for i, item in enumerate(part):
            yield from named_tensors(item, f"{name}.{i}")
    elif is_dataclass(part):
        for field in fields(part):
            yield from named_tensors(getattr(part, field.name), f"{name}.{field.name}")


def network_of(module: PreTrainedModel, name: str) -> Network:
    """The common weights of a loaded Hugging Face model, called `name`.

    Raises UnknownFamilyError for an architecture that is not in `FAMILIES`.
    """
    reader = FAMILIES.get(type(module).__name__)
    if reader is None:
        raise unknown_family(name, type(module).__name__)
    return reader(module, name)


def unknown_family(name: str, architecture: str) -> UnknownFamilyError:
    """The refusal of `architecture`, with what can be read instead."""
    known = ", ".join(FAMILIES)
    return UnknownFamilyError(
        f"'{name}' is a {architecture}. The architectures that can be read are: {known}."
    )


def read_gpt2(module: PreTrainedModel, name: str) -> Network:
    """GPT-2 (Radford et al. 2019) and all checkpoints of its class."""
    assert isinstance(module, GPT2LMHeadModel)
    config, body = module.config, module.transformer
    if config.add_cross_attention:
        raise CheckpointError(f"'{name}' has cross-attention; only decoder-only GPT-2 can be read.")
    return Network(
        spec=_gpt2_spec(config, name),
        embed=body.wte.weight.detach(),
        embed_position=body.wpe.weight.detach(),
        layers=tuple(_gpt2_layer(config, i, block) for i, block in enumerate(body.h)),
        norm_final=_norm(body.ln_f),
        unembed=module.lm_head.weight.detach(),
    )


def _gpt2_spec(config: GPT2Config, name: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="gpt2",
        n_layers=config.n_layer,
        n_heads=config.n_head,
        d_model=config.n_embd,
        d_head=config.n_embd // config.n_head,
        d_mlp=4 * config.n_embd if config.n_inner is None else config.n_inner,
        n_vocab=config.vocab_size,
        n_context=config.n_positions,
    )


def _gpt2_layer(config: GPT2Config, index: int, block: Any) -> Layer:
    query, key, value = _thirds(block.attn.c_attn, config.n_embd)
    d_head = config.n_embd // config.n_head
    scale = d_head**-0.5 if config.scale_attn_weights else 1.0
    return Layer(
        norm_attn=_norm(block.ln_1),
        q=query,
        k=key,
        v=value,
        o=_linear(block.attn.c_proj),
        norm_mlp=_norm(block.ln_2),
        mlp_in=_linear(block.mlp.c_fc),
        mlp_out=_linear(block.mlp.c_proj),
        d_head=d_head,
        attn_scale=scale / (index + 1) if config.scale_attn_by_inverse_layer_idx else scale,
        activation=config.activation_function,
    )


def _thirds(joint: Conv1D, d_model: int) -> list[Linear]:
    """GPT-2 keeps the query, key and value projections side by side."""
    weights = joint.weight.detach().split(d_model, dim=1)
    biases = joint.bias.detach().split(d_model)
    return [Linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)]


def _linear(conv: Conv1D) -> Linear:
    return Linear(conv.weight.detach(), conv.bias.detach())


def _norm(norm: nn.LayerNorm) -> Norm:
    return Norm(norm.weight.detach(), norm.bias.detach(), norm.eps)


FAMILIES: dict[str, Callable[[PreTrainedModel, str], Network]] = {"GPT2LMHeadModel": read_gpt2}
"""Readers by the name of the Hugging Face class, as a config's `architectures` has it."""
