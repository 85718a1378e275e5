"""Activation patching: copy activations of one run into the other, place by place.

A sweep patches every place of one kind, one at a time (Vig et al. 2020; Meng et
al. 2022; Zhang & Nanda 2023). Denoising copies clean activations into the
corrupted run: is the place sufficient? Noising copies corrupted ones into the
clean run: is it necessary? They are not mirror images (Heimersheim & Nanda 2024).

Places whose activations are the same bit for bit in both runs, and places that
nothing read depends on, are the baseline exactly and cost nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray
from torch import Tensor

from patchwright.algorithms.batches import (
    OnProgress,
    ProgressReporter,
    read_finals,
    run_to_finals,
    runs_cost,
    split_batches,
)
from patchwright.algorithms.likeliest import TopTokens
from patchwright.algorithms.pair_runs import PairRuns, run_in_groups, spans_of
from patchwright.axes import BUDGET, DIMS, Direction, Metric, Per
from patchwright.errors import (
    ExperimentError,
    UnequalLengthsError,
    UnknownPlaceError,
)
from patchwright.model.edits import Edit
from patchwright.model.forward import forward
from patchwright.model.requests import BASE_SITES, Row, Run, patched_row, with_index_axis
from patchwright.model.spec import ModelSpec
from patchwright.model.weights import Network
from patchwright.places import (
    BEFORE_HEADS,
    KEYED_SITES,
    KV_SITES,
    Place,
    Site,
    check_layer,
    check_position,
    layer_or_none,
    layers_of,
    n_heads_of,
    pers_of,
)
from patchwright.prompts.pair import TokenPair

Source = Callable[[PairRuns], PairRuns]
"""A pair's runs -> the same with other activations in the run that is copied from."""


@dataclass(frozen=True)
class SweepValues:
    """What a sweep leaves behind.

    `values` is the metric after each patch, [pair, *dims], in its unit: NaN where
    a position has no counterpart in the other prompt, and where the sweep was
    stopped before the cell's turn and there is no estimate. `done` counts the cells
    that have their answer, unmatched ones among them. `runs` come without their
    kept activations. `estimated` marks the cells that hold an estimate, as `values`
    has them. `top`, where it was asked for, has the likeliest tokens of the computed cells.
    """

    values: NDArray[np.float64]
    done: int
    runs: list[PairRuns]
    estimated: NDArray[np.bool_]
    top: TopTokens | None = None


@dataclass(frozen=True)
class Priority:
    """Which cells to compute first: by an estimate of `values` [pair, *dims], furthest moved first.

    Only the first `max_exact` of a pair are computed, where it is given; the others keep
    their estimate, as do those whose turn did not come before the sweep was stopped.
    """

    values: NDArray[np.float64]
    max_exact: int | None


@dataclass(frozen=True)
class Cells:
    """The places of a sweep: a site, and the axes that are swept or fixed.

    `positions` restricts which positions are patched, one at a time where `per`
    has a position axis, together where it has none.
    """

    site: Site
    per: Per
    layers: tuple[int, ...]
    positions: tuple[int, ...] | None
    indices: tuple[int | None, ...]

    @property
    def over_positions(self) -> bool:
        """Whether positions are swept, rather than patched together."""
        return "position" in DIMS[self.per]

    def shape(self, n_positions: int) -> tuple[int, ...]:
        """Of one pair's result, in the order of `DIMS[per]`."""
        return tuple(map(len, self.coords(n_positions).values()))

    def coords(self, n_positions: int) -> dict[str, list[int]]:
        """The labels of the result's axes."""
        positions = range(n_positions) if self.positions is None else self.positions
        labels = {"layer": list(self.layers), "position": list(positions)}
        return {dim: labels.get(dim, [i or 0 for i in self.indices]) for dim in DIMS[self.per]}


def choose_cells(
    spec: ModelSpec,
    n_positions: int,
    site: Site,
    per: Per | None = None,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> Cells:
    """The places of a sweep, checked against the model and the prompt.

    Raises ExperimentError for a `per` that the site does not have,
    UnknownPlaceError for a layer, position or head that does not exist.
    """
    check_layer(layer_or_none(site, 0), site, spec)
    per = per or pers_of(site)[0]
    if per not in pers_of(site):
        raise ExperimentError(
            f"The site '{site}' cannot be swept per {per}: choose {', '.join(pers_of(site))}."
        )
    if heads is not None and per not in ("head", "head_position"):
        raise UnknownPlaceError(
            f"Heads were named, but a sweep of '{site}' per {per} has no heads: leave them out, or "
            "choose z, q, k, v or pattern per head or head_position."
        )
    if per == "neuron" and layers is None:
        raise ExperimentError(
            "A sweep per neuron needs layers: name one or more, as in layers=[0]."
        )
    indices: Sequence[int | None] = [None]
    if per in ("head", "head_position"):
        indices = range(n_heads_of(site, spec)) if heads is None else heads
    elif per == "neuron":
        indices = range(spec.d_mlp)
    for head in heads or ():
        Place(site, 0, head=head).within(spec, n_positions)
    for layer in layers or ():
        check_layer(layer_or_none(site, layer), site, spec)
    if positions is not None:
        positions = [check_position(position, n_positions) for position in positions]
    every = layers_of(site, spec.n_layers)
    return Cells(
        site,
        per,
        tuple(dict.fromkeys(every if layers is None else layers)),
        None if positions is None else tuple(sorted(set(positions))),
        tuple(dict.fromkeys(indices)),
    )


def cells_per_pair(cells: Cells | Sequence[Cells], pairs: Sequence[TokenPair]) -> list[Cells]:
    """The cells of each pair: the same for all, or each its own, of one shape."""
    return [cells] * len(pairs) if isinstance(cells, Cells) else list(cells)


@dataclass(frozen=True)
class WorkItem:
    """One cell to be computed: where its value goes, and what is copied for it."""

    pair: int
    cell: int
    layer: int
    index: int | None
    spans: tuple[tuple[int, int], ...]

    @property
    def pair_and_cell(self) -> tuple[int, int]:
        """Where its value goes, in arrays [pair, cell]."""
        return self.pair, self.cell


class ActivationCopier:
    """What copying a site's activations from one run of a pair into the other means.

    With `everywhere` also at places that nothing read depends on.
    """

    def __init__(
        self,
        runs: PairRuns,
        site: Site,
        direction: Direction,
        n_layers: int,
        everywhere: bool = False,
    ) -> None:
        self.site: Site = site
        self.reader = runs.reader
        self.base = runs.base(direction)
        self._source = runs.source(direction)
        self._matched = runs.matched_positions(direction)
        self._n_layers = n_layers
        self._everywhere = everywhere
        self._changed: dict[int, NDArray[np.bool_]] = {}
        unequal = len(runs.pair.clean) != len(runs.pair.corrupt)
        self._shifted = unequal
        if unequal and site in KEYED_SITES:
            raise UnequalLengthsError(
                "Attention patterns cannot be copied between prompts of unequal length: their keys "
                "are different positions. Reword one prompt, or patch z instead."
            )

    def rows(self, layer: int, index: int | None, spans: Sequence[tuple[int, int]]) -> list[Row]:
        """The altered runs, one for each continuation."""
        edits = self.edits(layer, index, spans)
        return [patched_row(run, *some) for run, some in zip(self.base, edits, strict=True)]

    def edits(
        self, layer: int, index: int | None, spans: Sequence[tuple[int, int]]
    ) -> list[list[Edit]]:
        """For each continuation, the edits that copy `spans` of one layer."""
        sources = [self.aligned_source(i, layer) for i in range(len(self.base))]
        if index is not None:
            sources = [source[:, index] for source in sources]
        return [
            [Edit(self.site, layer, start, source[start:stop], index) for start, stop in spans]
            for source in sources
        ]

    def spans(
        self, layer: int, index: int | None, positions: Iterable[int]
    ) -> tuple[tuple[int, int], ...]:
        """Stretches of `positions` where copying can change what is read: (start, stop)."""
        at = self._changed_positions(layer)
        changed = np.any(at, axis=1) if index is None else at[:, index]
        return tuple(spans_of(position for position in positions if changed[position]))

    def _changed_positions(self, layer: int) -> NDArray[np.bool_]:
        """[position, index]: where the runs differ at all, and something read depends on it."""
        if layer not in self._changed:
            base, source = self.base[0].kept[self.site][layer], self.aligned_source(0, layer)
            changed = with_index_axis(base != source, self.site).any(dim=2).cpu().numpy()
            # After the last layer's keys and values, only what is read goes on.
            last = layer == self._n_layers - 1 and not self._everywhere
            if last and self.site not in BEFORE_HEADS and self.site not in KV_SITES:
                changed[: self.base[0].read] = False
            self._changed[layer] = changed
        return self._changed[layer]

    def aligned_source(
        self, continuation: int, layer: int
    ) -> Shaped[Tensor, " position *features"]:
        """The source's activations at the positions of the run that is patched."""
        source = self._source[continuation].kept[self.site][layer]
        if not self._shifted:
            return source
        aligned = self.base[continuation].kept[self.site][layer].clone()
        into, out_of = (list(positions) for positions in zip(*self._matched, strict=True))
        aligned[into] = source[out_of]
        return aligned


def baseline_values(runs: PairRuns, cells: Cells, direction: Direction) -> NDArray[np.float64]:
    """The result of one pair if no patch moved anything; NaN at unmatched positions."""
    n_positions = runs.base(direction)[0].read + 1
    clean, corrupt = runs.known
    baseline = corrupt if direction == "denoise" else clean
    values = np.full(cells.shape(n_positions), baseline)
    if cells.over_positions:
        matched = {into for into, _ in runs.matched_positions(direction)}
        positions = cells.coords(n_positions)["position"]
        values[..., [position not in matched for position in positions]] = np.nan
    return values


def work_items(pair: int, copies: ActivationCopier, cells: Cells) -> Iterator[WorkItem]:
    """The cells of one pair whose value is not the baseline's for certain."""
    n_positions = copies.base[0].read + 1
    chosen = range(n_positions) if cells.positions is None else cells.positions
    groups = [[position] for position in chosen] if cells.over_positions else [chosen]
    places = product(cells.layers, cells.indices, groups)
    for cell, (layer, index, positions) in enumerate(places):
        spans = copies.spans(layer, index, positions)
        if spans:
            yield WorkItem(pair, cell, layer, index, spans)


def sweep(
    network: Network,
    pairs: Sequence[TokenPair],
    cells: Cells | Sequence[Cells],
    direction: Direction,
    metric: Metric,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
    source: Source | None = None,
    priority: Priority | None = None,
    top: int = 0,
) -> SweepValues:
    """Patch each cell, one at a time, until `progress` returns False.

    Pairs of different lengths have no position axis in common: then `cells` have none,
    or are one for each pair, with as many `positions`, in an order that is compared.
    `source` puts other activations in the place of those that are copied from;
    `priority` has an order for the cells; `top` is how many of each cell's likeliest tokens
    to read as well.
    Raises MemoryBudgetError where not even one altered run fits into `budget` bytes.
    """
    every = cells_per_pair(cells, pairs)
    n_positions = len(patched_tokens(pairs[0], direction))
    values = np.full((len(pairs), *every[0].shape(n_positions)), np.nan)
    estimated = np.zeros(values.shape, dtype=np.bool_)
    tops = TopTokens.empty(values.shape, top, network.spec.n_tokens) if top else None
    estimate = None if priority is None else priority.values
    report = ProgressReporter(progress, values, estimate=estimate)
    found = SweepValues(values, 0, [], estimated, tops)
    under_way = _RunningSweep(
        network, every, direction, metric, source, priority, report, budget, found
    )
    keep = BASE_SITES | frozenset[Site]({every[0].site})
    for group in run_in_groups(network, pairs, keep, budget, metric):
        found.runs.extend(under_way.fill_pairs(group))
    if tops is not None:
        tops.clear(np.isnan(values) | estimated)
    return replace(found, done=report.done)


@dataclass(frozen=True)
class _RunningSweep:
    """A sweep that is under way: what is asked, and what is found of the pairs so far."""

    network: Network
    cells: list[Cells]
    direction: Direction
    metric: Metric
    source: Source | None
    priority: Priority | None
    report: ProgressReporter
    budget: int
    found: SweepValues

    def fill_pairs(self, group: Sequence[PairRuns]) -> list[PairRuns]:
        """Fill in the cells of the next pairs; their runs without what they keep."""
        values = self.found.values.reshape(len(self.cells), -1)
        tops = None if self.found.top is None else self.found.top.pair_view()
        copies: dict[int, ActivationCopier] = {}
        items: list[WorkItem] = []
        for pair, one in enumerate(group, len(self.found.runs)):
            runs, cells = one if self.source is None else self.source(one), self.cells[pair]
            copies[pair] = ActivationCopier(
                runs, cells.site, self.direction, self.network.spec.n_layers
            )
            values[pair] = baseline_values(runs, cells, self.direction).ravel()
            if tops is not None:
                tops.fill(self.network, [copies[pair].base[0].final], pair)
            for item in work_items(pair, copies[pair], cells):
                if np.isfinite(values[item.pair_and_cell]):
                    items.append(item)
        others: list[WorkItem] = []
        if self.priority is not None:
            items, others = _split_by_priority(items, self.priority, values)
        for item in items:
            values[item.pair_and_cell] = np.nan
        self.report.advance(len(group) * values.shape[1] - len(items))
        self._compute(items, copies, values, tops)
        if self.priority is not None:
            estimate = self.priority.values.reshape(values.shape)
            estimated = self.found.estimated.reshape(values.shape)
            for item in [*others, *(one for one in items if np.isnan(values[one.pair_and_cell]))]:
                values[item.pair_and_cell] = estimate[item.pair_and_cell]
                estimated[item.pair_and_cell] = True
        return [one.without_activations() for one in group]

    def _compute(
        self,
        items: Sequence[WorkItem],
        copies: Mapping[int, ActivationCopier],
        values: NDArray[np.float64],
        tops: TopTokens | None,
    ) -> None:
        """Fill in `values` and `tops` of the items, until the report says stop."""

        def cost(item: WorkItem) -> tuple[int, int]:
            return runs_cost(self.network, copies[item.pair].base, item.spans[0][0])

        for batch in split_batches(items, cost, self.budget):
            if self.report.stopped:
                return
            rows = [copies[item.pair].rows(item.layer, item.index, item.spans) for item in batch]
            finals = run_to_finals(self.network, rows)
            readers = [copies[item.pair].reader for item in batch]
            for item, value in zip(batch, read_finals(readers, finals, self.metric), strict=True):
                values[item.pair_and_cell] = value
            if tops is not None:
                at = [item.pair for item in batch], [item.cell for item in batch]
                tops.fill(self.network, [some[0] for some in finals], *at)
            self.report.advance(len(batch))


def _split_by_priority(
    items: Sequence[WorkItem], priority: Priority, baselines: NDArray[np.float64]
) -> tuple[list[WorkItem], list[WorkItem]]:
    """The items to do, in their order, and those that are left out."""
    estimate = priority.values.reshape(baselines.shape)
    ordered = sorted(
        items,
        key=lambda item: -abs(float(estimate[item.pair_and_cell] - baselines[item.pair_and_cell])),
    )
    most = len(items) if priority.max_exact is None else priority.max_exact
    chosen: list[WorkItem] = []
    others: list[WorkItem] = []
    taken = [0] * len(baselines)
    for item in ordered:
        taken[item.pair] += 1
        (chosen if taken[item.pair] <= most else others).append(item)
    return chosen, others


def patched_tokens(pair: TokenPair, direction: Direction) -> tuple[int, ...]:
    """The tokens of the run that is patched."""
    return pair.corrupt if direction == "denoise" else pair.clean


def patch_jointly(
    network: Network,
    pairs: Sequence[TokenPair],
    places: Sequence[Place],
    direction: Direction,
    budget: int = BUDGET,
    keep: frozenset[Site] = frozenset(),
    source: Source | None = None,
) -> list[tuple[PairRuns, tuple[Run, ...]]]:
    """Patch all of `places` in one run: each pair's base runs and its patched run.

    The patched run comes once for each continuation of the pair, as the base runs
    do, and keeps the sites in `keep`. `source` is as for `sweep`.
    """
    ran: list[tuple[PairRuns, tuple[Run, ...]]] = []
    based = BASE_SITES | keep | frozenset[Site](place.site for place in places)

    def patch_group(group: Sequence[PairRuns]) -> Iterator[tuple[PairRuns, tuple[Run, ...]]]:
        copied = group if source is None else [source(one) for one in group]
        rows = [_joint_rows(one, places, direction, network.spec) for one in copied]
        finished = iter(forward(network, [row for some in rows for row in some], keep))
        for one, some in zip(group, rows, strict=True):
            yield one.without_activations(), tuple(next(finished) for _ in some)

    for group in run_in_groups(network, pairs, based, budget):
        ran += patch_group(group)
    return ran


def _joint_rows(
    runs: PairRuns, places: Sequence[Place], direction: Direction, spec: ModelSpec
) -> list[Row]:
    """One row for each continuation of a pair, with the edits of all places.

    A place that is alike in both runs is written too: another one may change it on the way.
    """
    base = runs.base(direction)
    n_positions = base[0].read + 1
    matched = {into for into, _ in runs.matched_positions(direction)}
    edits: list[list[Edit]] = [[] for _ in base]
    differ = False
    for place in (one.within(spec, n_positions) for one in places):
        copies = ActivationCopier(runs, place.site, direction, spec.n_layers, everywhere=True)
        index = place.neuron if place.head is None else place.head
        positions = range(n_positions) if place.position is None else [place.position]
        layer = place.layer or 0
        differ = differ or bool(copies.spans(layer, index, positions))
        spans = spans_of(position for position in positions if position in matched)
        for found, more in zip(edits, copies.edits(layer, index, spans), strict=True):
            found.extend(more)
    return [
        patched_row(run, *(found if differ else ())) for run, found in zip(base, edits, strict=True)
    ]
