"""Attribution patching: a first-order estimate of every patch at once.

The estimate of a patch is the metric of the run that is patched plus the change
of activation times the metric's gradient there (Nanda 2023; Syed et al. 2023).
It fails where the network bends between the two activations: at saturated
softmax and in early MLPs (Kramár et al. 2024). `qk_fix` recomputes the softmax
for queries and keys, theirs too; `integrated` averages the gradient over runs
whose token embeddings lie between the two prompts' (Hanna et al. 2024; at
midpoints of equal steps, theirs at their ends). Verify the strongest exactly.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchwright.algorithms.metrics import check_differentiable
from patchwright.algorithms.pair_runs import PairRuns, run_in_groups
from patchwright.algorithms.readout import check_finite
from patchwright.algorithms.sweep import (
    ActivationCopier,
    Cells,
    SweepValues,
    baseline_values,
    cells_per_pair,
)
from patchwright.axes import BUDGET, Direction, Metric
from patchwright.errors import ExperimentError
from patchwright.model import ops
from patchwright.model.plain_forward import Taps, gradients
from patchwright.model.requests import BASE_SITES, with_index_axis
from patchwright.model.weights import Network
from patchwright.places import Site
from patchwright.prompts.pair import TokenPair


def attribute(
    network: Network,
    pairs: Sequence[TokenPair],
    cells: Cells | Sequence[Cells],
    direction: Direction,
    metric: Metric,
    how: str = "gradient",
    steps: int = 1,
    budget: int = BUDGET,
) -> SweepValues:
    """Estimate each cell of a sweep from one backward pass a pair.

    `how` is gradient, qk_fix or integrated, which averages over `steps` runs; `cells` are as
    for `sweep`. Raises ExperimentError for what has no gradient or no meaning.
    """
    every = cells_per_pair(cells, pairs)
    site = every[0].site
    _check_estimator(how, steps, site, metric)
    keep = BASE_SITES | frozenset[Site]({site, "embed", "pattern"})
    values: list[NDArray[np.float64]] = []
    ran: list[PairRuns] = []
    for group in run_in_groups(network, pairs, keep, budget, metric):
        for runs in group:
            own = every[len(ran)]
            values.append(_estimate(network, runs, own, direction, metric, how, steps))
            ran.append(runs.without_activations())
    stacked = np.stack(values)
    return SweepValues(stacked, stacked.size, ran, np.isfinite(stacked))


def _check_estimator(how: str, steps: int, site: Site, metric: Metric) -> None:
    check_differentiable(metric)
    if steps < 1:
        raise ExperimentError(f"{steps} steps: take at least 1.")
    if how == "qk_fix" and site not in ("q", "k"):
        raise ExperimentError(f"qk_fix is for the sites q and k: estimate '{site}' by gradient.")


def _estimate(
    network: Network,
    runs: PairRuns,
    cells: Cells,
    direction: Direction,
    metric: Metric,
    how: str,
    steps: int,
) -> NDArray[np.float64]:
    """One pair's cells, in the metric's unit."""
    copies = ActivationCopier(runs, cells.site, direction, network.spec.n_layers)
    site: Site = "pattern" if how == "qk_fix" else cells.site
    steps = steps if how == "integrated" else 1
    total: list[Taps] = []
    for step in range(steps):
        share = (step + 0.5) / steps if how == "integrated" else 0.0
        found = _gradients_at(network, runs, direction, metric, site, share)
        if total:
            found = [_add_taps(one, other) for one, other in zip(total, found, strict=True)]
        total = found
    n = copies.base[0].read + 1
    values = baseline_values(runs, cells, direction)
    for i, taps in enumerate(total):
        for row, layer in enumerate(cells.layers):
            slope = taps[site][layer] / steps
            if how == "qk_fix":
                change = _qk_fix_change(network, copies, i, layer, cells, slope, n)
            else:
                base = copies.base[i].kept[cells.site][layer]
                moved = (copies.aligned_source(i, layer) - base) * slope
                change = _sum_over_fixed_axes(moved[:n], cells)
            values[row] += change.double().cpu().numpy()
    return values


def _gradients_at(
    network: Network,
    runs: PairRuns,
    direction: Direction,
    metric: Metric,
    site: Site,
    share: float,
) -> list[Taps]:
    """Gradients in the run that is patched, moved by `share` towards the other's embeddings."""
    embeds = ActivationCopier(runs, "embed", direction, network.spec.n_layers)
    starts: list[Tensor] = []
    for i, run in enumerate(embeds.base):
        own = run.kept["embed"][0]
        starts.append(own + share * (embeds.aligned_source(i, 0) - own))
    reads = [run.read for run in embeds.base]

    def measure(finals: list[Tensor]) -> Tensor:
        rows = [final[read:][None] for final, read in zip(finals, reads, strict=True)]
        return runs.reader.read(metric, rows)[0]

    found = gradients(network, starts, [site], measure)
    for slope in (one for taps in found for one in taps[site]):
        check_finite(slope)
    return found


def _add_taps(one: Taps, other: Taps) -> Taps:
    return {site: [a + b for a, b in zip(one[site], other[site], strict=True)] for site in one}


def _sum_over_fixed_axes(moved: Tensor, cells: Cells) -> Tensor:
    """Products [position, ...] summed over all but the axes of the sweep, less its layer."""
    by_place = _select_indices(with_index_axis(moved, cells.site).sum(dim=2), cells)
    positions = slice(None) if cells.positions is None else list(cells.positions)
    by_place = by_place[positions]
    if not cells.over_positions:
        by_place = by_place.sum(dim=0, keepdim=True)
    return _to_sweep_axes(by_place, cells)


def _to_sweep_axes(by_place: Tensor, cells: Cells) -> Tensor:
    """[position or one, index or one] -> the axes of the sweep, less its layer."""
    dims = {"position": by_place[:, 0], "layer": by_place[0, 0], "head_position": by_place.T}
    return dims.get(cells.per, by_place[0])


def _qk_fix_change(
    network: Network,
    copies: ActivationCopier,
    continuation: int,
    layer: int,
    cells: Cells,
    slope: Tensor,
    n: int,
) -> Tensor:
    """What new queries or keys do to the pattern, exactly, times the pattern's gradient."""
    run, weights = copies.base[continuation], network.layers[layer]
    if weights.norms_jointly:
        return _joint_qk_fix_change(network, copies, continuation, layer, cells, slope, n)
    length = len(run.tokens)
    visible = ops.visible_keys(length, weights.device, weights.window)
    rotation = ops.rotation(weights.rotary, length, run.kept["q"][layer])
    own = weights.q_norm if cells.site == "q" else weights.k_norm
    q = ops.norm_and_rotate(run.kept["q"][layer], weights.q_norm, rotation)
    k = ops.norm_and_rotate(run.kept["k"][layer], weights.k_norm, rotation)
    new = ops.norm_and_rotate(copies.aligned_source(continuation, layer), own, rotation)
    old = run.kept["pattern"][layer]
    chosen = range(n) if cells.positions is None else cells.positions
    if cells.site == "q" or not cells.over_positions:
        # A query's row of the pattern depends on no other query, so all can change at once;
        # the prompt's own positions only, not those of an answer behind it.
        taken = (q if cells.site == "q" else k).clone()
        taken[list(chosen)] = new[list(chosen)]
        parts = (taken, k) if cells.site == "q" else (q, taken)
        again = ops.attention_pattern(*parts, visible, weights)
        by_head = ((again - old) * slope).sum(dim=2)  # [query, head]
        by_head = _sum_head_groups(by_head, new.shape[1])
        if cells.over_positions:
            by_place = by_head[list(chosen)]
        else:
            by_place = by_head.sum(dim=0, keepdim=True)
        return _to_sweep_axes(_select_indices(by_place, cells), cells)
    rows: list[Tensor] = []
    for position in chosen:
        taken = k.clone()
        taken[position] = new[position]
        again = ops.attention_pattern(q, taken, visible, weights)
        rows.append(((again - old) * slope).sum(dim=(0, 2)))
    by_place = _sum_head_groups(torch.stack(rows), k.shape[1])
    return _to_sweep_axes(_select_indices(by_place, cells), cells)


def _joint_qk_fix_change(
    network: Network,
    copies: ActivationCopier,
    continuation: int,
    layer: int,
    cells: Cells,
    slope: Tensor,
    n: int,
) -> Tensor:
    """The same where a head's queries or keys move those of all heads: cell by cell."""
    run, weights = copies.base[continuation], network.layers[layer]
    length = len(run.tokens)
    visible = ops.visible_keys(length, weights.device, weights.window)
    rotation = ops.rotation(weights.rotary, length, run.kept["q"][layer])
    own, new = run.kept[cells.site][layer], copies.aligned_source(continuation, layer)

    def cell_change(positions: list[int], heads: slice | int) -> Tensor:
        taken = own.clone()
        taken[positions, heads] = new[positions, heads]
        both = {site: run.kept[site][layer] for site in ("q", "k")} | {cells.site: taken}
        q = ops.norm_and_rotate(both["q"], weights.q_norm, rotation)
        k = ops.norm_and_rotate(both["k"], weights.k_norm, rotation)
        again = ops.attention_pattern(q, k, visible, weights)
        return ((again - run.kept["pattern"][layer]) * slope).sum()

    chosen = list(range(n) if cells.positions is None else cells.positions)
    stretches = [[position] for position in chosen] if cells.over_positions else [chosen]
    heads = [slice(None) if index is None else index for index in cells.indices]
    rows = [
        torch.stack([cell_change(positions, head) for head in heads]) for positions in stretches
    ]
    return _to_sweep_axes(torch.stack(rows), cells)


def _sum_head_groups(by_head: Tensor, n_heads: int) -> Tensor:
    """[..., query head] -> [..., head of the site]: a key serves all queries of its group."""
    return by_head.unflatten(-1, (n_heads, -1)).sum(dim=-1)


def _select_indices(by_place: Tensor, cells: Cells) -> Tensor:
    """[position or one, index of the site] -> [position or one, index of the sweep, or one]."""
    if cells.indices == (None,):
        return by_place.sum(dim=1, keepdim=True)
    return by_place[:, [index or 0 for index in cells.indices]]


RECALL_CELLS = 10
"""Strongest cells whose recall is measured."""


def estimate_quality(
    estimate: NDArray[np.float64], exact: NDArray[np.float64]
) -> dict[str, float | int]:
    """How good an estimate is: Pearson correlation, and the share of the strongest found.

    Both arrays are distances from the baseline; cells that are NaN in either are left
    out. `recall` is over the `most` strongest exact cells. Raises ExperimentError
    where fewer than two cells are left.
    """
    known = np.isfinite(estimate) & np.isfinite(exact)
    one, other = estimate[known], exact[known]
    if one.size < 2:
        raise ExperimentError("There are fewer than two cells to compare: choose more of them.")
    most = min(RECALL_CELLS, one.size)
    strongest = [set(np.argsort(-np.abs(values), kind="stable")[:most]) for values in (one, other)]
    found: dict[str, float | int] = {"recall": len(strongest[0] & strongest[1]) / most}
    if one.std() > 0 and other.std() > 0:
        found["correlation"] = float(np.corrcoef(one, other)[0, 1])
    return {**found, "most": most}
