"""How much arithmetic a sweep needs, and how fast this machine can do it."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from cases import Case, Shape, Spot

PEAK_SHAPES = ((1440, 768, 3072), (1440, 3072, 768), (2048, 768, 3072), (4096, 768, 3072))
"""(rows, inner, columns) of the products that are tried for the peak: those of an MLP."""

PEAK_TRIES = 40
"""Products of each shape; the fastest counts."""

MKL, ONEDNN = "aten::mm", "mkldnn::_linear_pointwise"
"""Two operators that multiply float32 matrices, as PyTorch's profiler calls them."""

READ_COLUMNS = 2
"""Columns of the unembedding that a logit difference reads."""


def needed_flops(case: Case) -> int:
    """Floating-point operations in the matrix products that a sweep cannot do without.

    A multiply and an add are two. Counted for an engine that starts at the patch:

    - a place whose activations are the same in both runs costs nothing, nor does
      one that nothing read depends on;
    - nothing below the patched layer, nothing left of the patched position;
    - where a layer's input changed at one position only, its queries, keys and
      values are computed there alone, all that follows from there rightwards;
    - in the last layer, queries and all that follows only at the position read;
    - of the unembedding, the columns of the two answers.

    The two base runs are counted, the corrupted one from the first token that
    differs. Products only: norms, softmax, activation functions and copying are
    left out, and a head's output projection counts the head's share only. The
    engine therefore does a little more than this.
    """
    shape = case.shape
    last = shape.n_tokens - 1
    cost = _from_layer(shape, 0, range(shape.n_tokens)) + _from_layer(shape, 0, _changed(case))
    for spot in case.spots():
        if case.site == "resid_pre":
            positions = [p for p in _chosen(spot, shape) if _differs(case, spot.layer, p)]
            cost += _from_layer(shape, spot.layer, positions)
        else:
            # Above the last layer's attention only the position read matters.
            rows = [last] if spot.layer == shape.n_layers - 1 else _changed(case)
            positions = [p for p in _chosen(spot, shape) if p in rows]
            cost += _from_head(shape, spot.layer, positions)
    return cost


def _chosen(spot: Spot, shape: Shape) -> Sequence[int]:
    return range(shape.n_tokens) if spot.position is None else [spot.position]


def _changed(case: Case) -> Sequence[int]:
    """Positions whose activations differ above the first attention."""
    return range(min(case.changed), case.shape.n_tokens)


def _differs(case: Case, layer: int, position: int) -> bool:
    return position in (case.changed if layer == 0 else _changed(case))


def _from_layer(shape: Shape, layer: int, changed: Sequence[int]) -> int:
    """FLOPs from a layer's input to the read-out, where that input changed at `changed`."""
    if not changed:
        return 0
    if layer == shape.n_layers:
        return 2 * shape.d_model * READ_COLUMNS
    only_read = layer == shape.n_layers - 1
    rows = (
        range(shape.n_tokens - 1, shape.n_tokens)
        if only_read
        else range(min(changed), shape.n_tokens)
    )
    queries = sum(position in rows for position in changed)
    project = 2 * shape.d_model**2
    keys_and_values = 2 * project * shape.n_kv_heads // shape.n_heads
    attend = sum(4 * shape.d_model * (row + 1) for row in rows)
    onwards = len(rows) * (project + _mlp(shape))
    here = keys_and_values * len(changed) + project * queries + attend + onwards
    return here + _from_layer(shape, layer + 1, rows)


def _from_head(shape: Shape, layer: int, changed: Sequence[int]) -> int:
    """FLOPs from one head's output to the read-out, where that output changed at `changed`."""
    output = 2 * shape.d_head * shape.d_model
    here = len(changed) * (output + _mlp(shape))
    return here + _from_layer(shape, layer + 1, changed)


def _mlp(shape: Shape) -> int:
    """FLOPs of one position's MLP; Llama's has a gate, a third matrix."""
    matrices = 3 if shape.family == "llama" else 2
    return 2 * matrices * shape.d_model * shape.d_mlp


def peaks() -> dict[str, float]:
    """The fastest float32 product of `PEAK_SHAPES`, all cores, in FLOP/s, by each operator there is."""
    import torch

    operators = {MKL: _mkl, ONEDNN: _onednn}
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        del operators[ONEDNN]
    with torch.no_grad():
        return {name: max(map(rate, PEAK_SHAPES)) for name, rate in operators.items()}


def _mkl(shape: tuple[int, int, int]) -> float:
    import torch

    rows, inner, columns = shape
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    out = torch.empty(rows, columns)
    return _fastest(shape, lambda: torch.mm(left, right, out=out))


def _onednn(shape: tuple[int, int, int]) -> float:
    import torch

    rows, inner, columns = shape
    left, right = torch.randn(rows, inner), torch.randn(columns, inner)
    operators: Any = torch.ops.mkldnn
    right = operators._reorder_linear_weight(right, None)
    return _fastest(shape, lambda: operators._linear_pointwise(left, right, None, "none", [], ""))


def _fastest(shape: tuple[int, int, int], multiply: Callable[[], Any]) -> float:
    """FLOP/s of the fastest of `PEAK_TRIES` products."""
    rows, inner, columns = shape
    best = 0.0
    for _ in range(PEAK_TRIES):
        started = perf_counter()
        multiply()
        best = max(best, 2 * rows * inner * columns / (perf_counter() - started))
    return best
