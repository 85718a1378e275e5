"""Devices that are not there: tensors that compute on the CPU and say that they lie elsewhere.

Inside `pretending()` the devices `lazy:0`, `lazy:1`, ... take tensors, and an operation
on tensors of two devices raises `TwoDevices`, as a GPU would; only a move moves. What a
GPU allows is allowed: numbers on the CPU beside its tensors, and indices on the CPU.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = "lazy"
"""A device type that PyTorch knows by name, and of which no machine has one."""

Spoil = Callable[[Any, Any], Any]
"""What a pretended device makes of an operation and what it gives; a faithful one: the latter."""

_MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
_INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default}


class TwoDevices(RuntimeError):
    """An operation met tensors of two devices."""


class Pretended(Tensor):
    """A tensor on a pretended device; `inner` has its numbers."""

    inner: Tensor  # pyright: ignore
    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    @staticmethod
    def __new__(cls: Any, inner: Tensor, device: torch.device) -> "Pretended":
        made = Tensor._make_wrapper_subclass(  # pyright: ignore
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=device,
        )
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:
        return f"{self.inner!r} on {self.device}"

    def __matmul__(self, other: Any) -> Tensor:
        """As it is, but for a vector, whose product PyTorch would squeeze in place."""
        return super().__matmul__(other) if self.ndim > 1 else (self[None] @ other)[0]

    def tolist(self) -> Any:
        """The numbers; PyTorch has no such list of a subclass."""
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _computed(operation, args, kwargs or {})


class _Elsewhere(TorchDispatchMode):
    """Lets tensors be made on, and moved to, devices that are not there."""

    def __init__(self, spoil: Spoil) -> None:
        super().__init__()
        self.moves = 0
        self.spoil = spoil

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        asked = kwargs.get("device")
        if operation is torch.ops.aten._to_copy.default and asked is not None:
            self.moves += asked != args[0].device
        return _computed(operation, args, kwargs, self.spoil)


@contextmanager
def pretending(spoil: Spoil = lambda _, found: found) -> Generator[_Elsewhere]:
    """While it lasts, tensors may lie elsewhere; `moves` counts those from device to device."""
    # `torch.tensor(..., device=...)` else fills memory of the device before anybody is asked.
    torch._C._set_only_lift_cpu_tensors(True)  # pyright: ignore
    try:
        with _Elsewhere(spoil) as mode:
            yield mode
    finally:
        torch._C._set_only_lift_cpu_tensors(False)  # pyright: ignore


def _computed(
    operation: Callable[..., Any],
    args: Any,
    kwargs: dict[str, Any],
    spoil: Spoil = lambda _, found: found,
) -> Any:
    device = kwargs.get("device") or _device(operation, args, kwargs)
    moved = kwargs.get("device") and device.type == ELSEWHERE
    real = kwargs | ({"device": torch.device("cpu")} if moved else {})
    found = operation(*tree_map(_inner, args), **tree_map(_inner, real))
    if device.type != ELSEWHERE:
        return found
    found = spoil(operation, found)

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        # What an operation changes in place is the tensor that it was given.
        same = (one for one in tree_leaves(args) if _inner(one) is value)
        return next(same, None) if _in_place(operation) else Pretended(value, device)

    return tree_map(wrapped, found)


def _in_place(operation: Any) -> bool:
    """Whether an operation gives back what it was given."""
    return operation._schema.name.endswith("_")


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, Pretended) else value


def _device(operation: Any, args: Any, kwargs: Any) -> torch.device:
    """Where an operation takes place. Raises TwoDevices."""
    if operation in _MOVES:
        return args[0].device
    seen = (args[0],) if operation in _INDEXED else (args, kwargs)
    tensors = [one for one in tree_leaves(seen) if isinstance(one, Tensor)]
    devices = {one.device for one in tensors if one.ndim or one.device.type == ELSEWHERE}
    if operation in _INDEXED:
        others = [one for one in tree_leaves(args[1:]) if isinstance(one, Tensor)]
        devices |= {one.device for one in others if one.device.type == ELSEWHERE}
    if len(devices) > 1:
        raise TwoDevices(f"{operation} on {', '.join(sorted(map(str, devices)))}")
    return next(iter(devices), torch.device("cpu"))
