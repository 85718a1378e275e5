"""How much arithmetic a sweep needs, and how fast this machine can do it."""

from collections.abc import Sequence
from time import perf_counter

from cases import N_TOKENS, Case, Sizes, Spot

PEAK_SHAPES = ((1440, 768, 3072), (1440, 3072, 768), (2048, 768, 3072), (4096, 768, 3072))
"""(rows, inner, columns) of the products that are tried for the peak: those of an MLP."""

PEAK_TRIES = 40
"""Products of each shape; the fastest counts."""

READ_COLUMNS = 2
"""Columns of the unembedding that a logit difference reads."""


def needed_flops(case: Case, sizes: Sizes) -> int:
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
    last = N_TOKENS - 1
    cost = _from_layer(sizes, 0, range(N_TOKENS)) + _from_layer(sizes, 0, _changed(case))
    for spot in case.spots(sizes):
        if case.site == "resid_pre":
            positions = [p for p in _chosen(spot) if _differs(case, spot.layer, p)]
            cost += _from_layer(sizes, spot.layer, positions)
        else:
            # Above the last layer's attention only the position read matters.
            rows = [last] if spot.layer == sizes.n_layers - 1 else _changed(case)
            positions = [p for p in _chosen(spot) if p in rows]
            cost += _from_head(sizes, spot.layer, positions)
    return cost


def _chosen(spot: Spot) -> Sequence[int]:
    return range(N_TOKENS) if spot.position is None else [spot.position]


def _changed(case: Case) -> Sequence[int]:
    """Positions whose activations differ above the first attention."""
    return range(min(case.differing), N_TOKENS)


def _differs(case: Case, layer: int, position: int) -> bool:
    return position in (case.differing if layer == 0 else _changed(case))


def _from_layer(sizes: Sizes, layer: int, changed: Sequence[int]) -> int:
    """FLOPs from a layer's input to the read-out, where that input changed at `changed`."""
    if not changed:
        return 0
    if layer == sizes.n_layers:
        return 2 * sizes.d_model * READ_COLUMNS
    only_read = layer == sizes.n_layers - 1
    rows = range(N_TOKENS - 1, N_TOKENS) if only_read else range(min(changed), N_TOKENS)
    queries = sum(position in rows for position in changed)
    project = 2 * sizes.d_model**2
    attend = sum(4 * sizes.d_model * (row + 1) for row in rows)
    onwards = len(rows) * (project + _mlp(sizes))
    here = project * (2 * len(changed) + queries) + attend + onwards
    return here + _from_layer(sizes, layer + 1, rows)


def _from_head(sizes: Sizes, layer: int, changed: Sequence[int]) -> int:
    """FLOPs from one head's output to the read-out, where that output changed at `changed`."""
    output = 2 * sizes.d_head * sizes.d_model
    here = len(changed) * (output + _mlp(sizes))
    return here + _from_layer(sizes, layer + 1, changed)


def _mlp(sizes: Sizes) -> int:
    """FLOPs of one position's MLP."""
    return 4 * sizes.d_model * sizes.d_mlp


def matmul_peak() -> float:
    """The fastest float32 matrix product of `PEAK_SHAPES`, all cores, in FLOP/s."""
    import torch

    best = 0.0
    for rows, inner, columns in PEAK_SHAPES:
        left, right = torch.randn(rows, inner), torch.randn(inner, columns)
        out = torch.empty(rows, columns)
        for _ in range(PEAK_TRIES):
            started = perf_counter()
            torch.mm(left, right, out=out)
            seconds = perf_counter() - started
            best = max(best, 2 * rows * inner * columns / seconds)
    return best
