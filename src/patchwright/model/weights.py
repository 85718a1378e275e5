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
    """`x @ weight + bias`; weight is [in, out].

    Of queries, keys or values it may be [in, head, d_head], and the bias [head, d_head], where no
    view of the checkpoint's tensor has the heads side by side.
    """

    weight: Float[Tensor, " inputs *outputs"]
    bias: Float[Tensor, " *outputs"] | None

    def by_head(
        self, d_head: int
    ) -> tuple[Float[Tensor, "inputs head d_head"], Float[Tensor, "head d_head"] | None]:
        """Weight and bias, the outputs by head."""
        if self.weight.ndim == 3:
            return self.weight, self.bias
        bias = None if self.bias is None else self.bias.unflatten(0, (-1, d_head))
        return self.weight.unflatten(1, (-1, d_head)), bias


@dataclass(frozen=True)
class Norm:
    """Normalisation over the last axis: layer norm, or RMS norm, which takes no mean off.

    With `around_one` the factor on what is normed is 1 + `weight`, else `weight` itself.
    """

    weight: Float[Tensor, " width"]
    bias: Float[Tensor, " width"] | None
    eps: float
    kind: Literal["layer", "rms"] = "layer"
    around_one: bool = False

    @property
    def gain(self) -> Float[Tensor, " width"]:
        """The factor on what is normed, at least in float32 where it is not `weight` itself."""
        if not self.around_one:
            return self.weight
        return 1 + (self.weight if self.weight.dtype == torch.float64 else self.weight.float())


@dataclass(frozen=True)
class Rotary:
    """Rotary positions (Su et al. 2021): queries and keys are turned by where they stand.

    Of n `frequencies`, the numbers i and i + n of a head (2 i and 2 i + 1 where they are
    `interleaved`) turn together by the angle p * `frequencies`[i] (radians) at position p, and
    both are multiplied by `factor`; where a head has more than 2 n numbers, the others stay as
    they are.
    """

    frequencies: tuple[float, ...]
    factor: float = 1.0
    interleaved: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class Experts:
    """Gated MLPs of which a router picks `n_chosen` for each token (Shazeer et al. 2017).

    `router` scores the experts; the softmax of the scores weighs those chosen, with `normalised`
    so that their weights sum to 1. `gate_up` has each expert's gate and input side by side.
    """

    router: Float[Tensor, "expert d_model"]
    gate_up: Float[Tensor, "expert gate_and_input d_model"]
    down: Float[Tensor, "expert d_model d_mlp"]
    n_chosen: int
    normalised: bool


@dataclass(frozen=True)
class Layer:
    """One transformer block; heads lie side by side in the outputs of q, k and v.

    Where k and v have fewer heads than q, each serves a group of query heads that follow
    one another. `attn_scale` is the factor on query-key products, `activation` the name
    that the checkpoint's config gives the nonlinearity.

    Optional parts: with `mlp_gate` the neurons are the activation of the gate times what
    `mlp_in` gives; `experts` stand in place of all three projections of the MLP; `rotary` turns
    queries and keys, after `q_norm` and `k_norm` have normed each head, or all heads together
    where they are as wide; scores are bent to within ± `attn_cap`; with a `window` a query sees
    only as many positions, its own among them. `norm_attn_out` and `norm_mlp_out` norm what
    attention and MLP add to the stream.
    """

    norm_attn: Norm | None
    q: Linear
    k: Linear
    v: Linear
    o: Linear
    norm_mlp: Norm | None
    mlp_in: Linear | None
    mlp_out: Linear | None
    d_head: int
    attn_scale: float
    activation: str
    mlp_gate: Linear | None = None
    rotary: Rotary | None = None
    window: int | None = None
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    attn_cap: float | None = None
    norm_attn_out: Norm | None = None
    norm_mlp_out: Norm | None = None
    experts: Experts | None = None

    @property
    def device(self) -> torch.device:
        """Where the layer's weights are, and so what it computes."""
        return self.q.weight.device

    @property
    def norms_jointly(self) -> bool:
        """Whether queries and keys are normed over all heads together: each head's moves the others'."""
        return self.q_norm is not None and len(self.q_norm.weight) > self.d_head

    @cached_property
    def qkv(self) -> tuple[Linear, ...]:
        """q, k and v as the one matrix that they are slices of, as GPT-2's are; else each.

        Slices by head, as GPT-NeoX's, take turns in it: each head's query, key and value.
        """
        parts = self.q, self.k, self.v
        uncut = _joint_view if self.q.weight.ndim == 2 else _joint_view_by_head
        weight = uncut([part.weight for part in parts])
        biases = [part.bias for part in parts if part.bias is not None]
        bias = uncut(biases) if len(biases) == len(parts) else None
        if weight is None or (biases and bias is None):
            return tuple(_flatten_heads(part) for part in parts)
        return (Linear(weight, bias),)


@dataclass(frozen=True)
class Network:
    """Sizes and weights: all that a forward pass needs.

    `embed_position` is None where positions are rotary. `embed_scale` is the factor on what the
    embedding gives. `unembed` is [vocab, d_model], as the checkpoint stores it; logits are bent
    to within ± `logit_cap`. Layers may lie on several devices, each whole on one, and so
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
    embed_scale: float = 1.0
    logit_cap: float | None = None
    memory: RunMemory | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """One line: its sizes, without the weights."""
        return f"Network({self.spec.name!r}: {self.spec.sizes})"


def _joint_view(slices: Sequence[Tensor]) -> Tensor | None:
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


def _joint_view_by_head(slices: Sequence[Tensor]) -> Tensor | None:
    """The same of slices [..., head, d_head] that take turns along the cut axis."""
    first = slices[0]
    n_heads, width = first.shape[-2:]
    step, count = first.stride(-1), len(slices)
    if any(one.device.type != "cpu" for one in slices) or first.stride(-2) != count * width * step:
        return None
    for i, one in enumerate(slices):
        shared = one.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        at = first.storage_offset() + i * width * step
        if not shared or one.stride() != first.stride() or one.storage_offset() != at:
            return None
    shape = *first.shape[:-2], n_heads * count * width
    return first.as_strided(shape, (*first.stride()[:-2], step))


def _flatten_heads(part: Linear) -> Linear:
    """A projection whose outputs are not by head."""
    if part.weight.ndim == 2:
        return part
    return Linear(part.weight.flatten(1), None if part.bias is None else part.bias.flatten())


Part = TypeVar("Part")


def map_tensors(part: Part, change: Callable[[Tensor], Tensor]) -> Part:
    """The same (nested) dataclass or tuple with `change` done to its tensors."""
    if isinstance(part, Tensor):
        return change(part)  # pyright: ignore[reportReturnType]
    if isinstance(part, tuple):
        return tuple(map_tensors(one, change) for one in part)  # pyright: ignore[reportReturnType]
    if not is_dataclass(part) or isinstance(part, ModelSpec | type):
        return part
    names = [field.name for field in fields(part)]
    return replace(part, **{name: map_tensors(getattr(part, name), change) for name in names})


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
