"""How `x @ weight + bias` is computed: by oneDNN's operator where it is there and exact, else by `addmm`.

On processors with AVX-512 the operator is up to twice as fast as PyTorch's default. The
choice follows from what is there and never from a timing, so that all processes on a machine
give the same bits. The operator's rows do not depend on how many share a product, nor on the
number of threads. It has no gradient, and fails without a word where one is wanted.
"""

import os
from functools import cache
from threading import Lock
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from transformers.activations import ACT2FN

from patchwright.errors import InputError
from patchwright.model.memory import available_memory
from patchwright.model.weights import Linear, Network, named_tensors

Kernel = Literal["onednn", "addmm"]

ENV_VARIABLE = "PATCHWRIGHT_PRODUCTS"
"""The environment variable that forces a kernel, for comparing."""

FUSED = {
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "gelu": ("gelu", "none"),
    "silu": ("swish", ""),
    "relu": ("relu", ""),
}
"""Nonlinearities that the operator applies itself: name in a Hugging Face config -> its own."""

MAX_ERROR = 2e-6
"""What the operator may be wrong by, as a share of the largest value."""

COPIES_SHARE = 4
"""All reordered copies together take less than a quarter of the memory that is free without them."""

_operators: Any = torch.ops.mkldnn
_copies: Any = WeakTensorKeyDictionary()
"""Of weights that may be copied: their reordered copy, None until the first product."""
_copy_lock = Lock()


def product(
    x: Float[Tensor, "token inputs"], by: Linear, activation: str | None = None
) -> Float[Tensor, "token outputs"] | None:
    """`x @ weight + bias` by the fast kernel, `activation` applied; None where that cannot be.

    It cannot where a gradient is wanted, in other precisions than float32, off the CPU, where
    the weight is a part of a wider matrix, and for an activation that is not in `FUSED`.
    """
    fused = activation is None or activation in FUSED
    if not (fused and _is_fit(x, by) and kernel_for(by.weight) == "onednn"):
        return None
    attribute, algorithm = ("none", "") if activation is None else FUSED[activation]
    # One row alone takes another way, with other bits, than among others.
    rows = x.repeat(2, 1) if len(x) == 1 else x
    out = _operators._linear_pointwise(
        rows, _weight_for_operator(by.weight), by.bias, attribute, [], algorithm
    )
    return out[: len(x)]


def kernel_for(weight: Tensor) -> Kernel:
    """What products with such a weight, without a gradient, are computed by as things stand now.

    Raises InputError for an unknown name in `PATCHWRIGHT_PRODUCTS`, or one that is not here.
    """
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return "addmm"
    forced = os.environ.get(ENV_VARIABLE, "")
    if forced not in ("", *get_args(Kernel)):
        raise InputError(
            f"{ENV_VARIABLE} is {forced!r}: set it to onednn or addmm, or leave it out."
        )
    if forced == "onednn" and not _is_there():
        raise InputError(f"{ENV_VARIABLE} is onednn, which this build of PyTorch does not have.")
    if forced == "addmm" or not _is_precise():
        return "addmm"
    return "onednn" if forced or _is_usable() else "addmm"


def allow_weight_copies(network: Network) -> None:
    """Allow copies of the layers' weights beside them, reordered as the kernel likes them best.

    Only for weights that nobody changes. A copy lives as long as the weight that it is of.
    """
    for layer in network.layers:
        for _, tensor in named_tensors((layer, layer.qkv), ""):
            if tensor.ndim == 2 and _is_dense(tensor):
                _copies.setdefault(tensor, None)


def _is_fit(x: Tensor, by: Linear) -> bool:
    tensors = [x, by.weight] if by.bias is None else [x, by.weight, by.bias]
    learning = torch.is_grad_enabled() and any(one.requires_grad for one in tensors)
    return len(x) > 0 and _is_dense(by.weight) and not learning


def _is_dense(weight: Tensor) -> bool:
    return weight.is_contiguous() or weight.T.is_contiguous()


def _is_there() -> bool:
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    names = ("_linear_pointwise", "_reorder_linear_weight")
    return matmul is not None and all(hasattr(_operators, name) for name in names)


def _is_precise() -> bool:
    """Whether nobody has asked for faster products that round to less than float32."""
    matmul: Any = getattr(torch.backends.mkldnn, "matmul", None)
    return matmul is not None and matmul.fp32_precision in ("none", "ieee")


@cache
def _is_usable() -> bool:
    return _is_there() and torch.backends.cpu.get_cpu_capability() == "AVX512" and _is_exact()


def _is_exact() -> bool:
    """Whether a product, plain and with each activation, is right to `MAX_ERROR`."""
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(24, 320, generator=draw), torch.randn(320, 192, generator=draw) / 16
    bias = torch.randn(192, generator=draw)
    plain = torch.addmm(bias.double(), x.double(), weight.double())
    expected = {("none", ""): plain, **{how: ACT2FN[name](plain) for name, how in FUSED.items()}}
    forms = weight.T, _operators._reorder_linear_weight(weight.T.contiguous())
    return all(
        float((_operators._linear_pointwise(x, form, bias, name, [], how) - right).abs().max())
        <= MAX_ERROR * float(right.abs().max())
        for form in forms
        for (name, how), right in expected.items()
    )


def _weight_for_operator(weight: Float[Tensor, "inputs outputs"]) -> Tensor:
    """What the operator takes for a weight: its copy where it has one, else a view."""
    copy = _copies.get(weight)
    if copy is None and weight in _copies:
        with _copy_lock:
            copy = _make_reordered_copy(weight)
    return weight.T if copy is None else copy


def _make_reordered_copy(weight: Float[Tensor, "inputs outputs"]) -> Tensor | None:
    """A reordered copy, from now on kept; None where memory is short, which then stands."""
    if weight not in _copies or _copies[weight] is not None:
        return _copies.get(weight)  # Another thread was first.
    taken = sum(_size(one) for one, copy in _copies.items() if copy is not None)
    free = available_memory()
    if (taken + _size(weight)) * COPIES_SHARE > free + taken:
        del _copies[weight]
        return None
    _copies[weight] = _operators._reorder_linear_weight(weight.T.contiguous())
    return _copies[weight]


def _size(weight: Tensor) -> int:
    return weight.numel() * weight.element_size()
