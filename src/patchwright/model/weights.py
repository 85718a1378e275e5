"""The weights of a network: one block with optional parts, which every family describes itself in.

Nothing is copied, folded or centred: every tensor here is a view of the Hugging Face
module's own parameters, so that results are those of the published model. `families`
has the readers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from patchwright.model.run_memory import RunMemory
from patchwright.model.spec import ModelSpec


@dataclass(frozen=True)
class Linear:
    """`x @ weight + bias`; weight is [in, out]."""

    weight: Float[Tensor, "inputs outputs"]
    bias: Float[Tensor, " outputs"] | None


@dataclass(frozen=True)
class Norm:
    """Normalisation over the last axis: layer norm, or RMS norm, which takes no mean off."""

    weight: Float[Tensor, " width"]
    bias: Float[Tensor, " width"] | None
    eps: float
    kind: Literal["layer", "rms"] = "layer"


@dataclass(frozen=True)
class Rotary:
    """Rotary positions (Su et al. 2021): queries and keys are turned by where they stand.

    Of n `frequencies`, the numbers i and i + n of a head turn together by the angle
    p * `frequencies`[i] (radians) at position p, and both are multiplied by `factor`; where a
    head has more than 2 n numbers, the others stay as they are.
    """

    frequencies: tuple[float, ...]
    factor: float = 1.0


@dataclass(frozen=True)
class Layer:
    """One transformer block; heads lie side by side in the outputs of q, k and v.

    Where k and v have fewer heads than q, each serves a group of query heads that follow
    one another. `attn_scale` is the factor on query-key products, `activation` the name
    that the checkpoint's config gives the nonlinearity.

    Optional parts: with `mlp_gate` the neurons are the activation of the gate times what
    `mlp_in` gives; `rotary` turns queries and keys, after `q_norm` and `k_norm` have normed
    each head; with a `window` a query sees only as many positions, its own among them.
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
    mlp_gate: Linear | None = None
    rotary: Rotary | None = None
    window: int | None = None
    q_norm: Norm | None = None
    k_norm: Norm | None = None

    @property
    def device(self) -> torch.device:
        """Where the layer's weights are, and so what it computes."""
        return self.q.weight.device

    @cached_property
    def qkv(self) -> tuple[Linear, ...]:
        """q, k and v as the one matrix that they are slices of, as GPT-2's are; else each."""
        parts = self.q, self.k, self.v
        weight = _uncut([part.weight for part in parts])
        biases = [part.bias for part in parts if part.bias is not None]
        bias = _uncut(biases) if len(biases) == len(parts) else None
        if weight is None or (biases and bias is None):
            return parts
        return (Linear(weight, bias),)


@dataclass(frozen=True)
class Network:
    """Sizes and weights: all that a forward pass needs.

    `embed_position` is None where positions are rotary. `unembed` is [vocab, d_model], as
    the checkpoint stores it. Layers may lie on several devices, each whole on one, and so
    may the embeddings and the end. `memory` keeps runs of prompts, where the weights are
    nobody else's to change.
    """

    spec: ModelSpec
    embed: Float[Tensor, "vocab d_model"]
    embed_position: Float[Tensor, "context d_model"] | None
    layers: tuple[Layer, ...]
    norm_final: Norm
    unembed: Float[Tensor, "vocab d_model"]
    unembed_bias: Float[Tensor, " vocab"] | None = None
    memory: RunMemory | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """One line: its sizes, without the weights."""
        return f"Network({self.spec.name!r}: {self.spec.sizes})"


def _uncut(slices: Sequence[Tensor]) -> Tensor | None:
    """What was cut into `slices` along its last axis, as a view; None where nothing was.

    Only in main memory: not every device lets one ask.
    """
    if any(one.device.type != "cpu" for one in slices):
        return None
    first, at = slices[0], slices[0].storage_offset()
    width = sum(one.shape[-1] for one in slices)
    strides = (width, 1)[-first.ndim :]
    for one in slices:
        shared = one.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not shared or one.stride() != strides or one.storage_offset() != at:
            return None
        at += one.shape[-1]
    return first.as_strided((*first.shape[:-1], width), strides)


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
