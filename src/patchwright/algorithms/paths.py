"""Path patching: what one place does by way of chosen receivers, and no other way.

A sender's activation is copied from the other run while every head above it is
frozen at its value in the run that is patched, so that the change reaches the
receivers directly (through the residual stream, MLPs recomputed or frozen too);
what the receivers then have is patched into the run, and everything after them
follows. An MLP that receives is recomputed, and passes on what it got. Norms up to
the receivers' own inputs (for the logits the final one) are recomputed, or frozen:
they take the scale that they have in the run that is patched.

Source: Wang et al. 2022, appendix B, whose MLPs and norms are recomputed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from patchwright.algorithms.batches import (
    OnProgress,
    ProgressReporter,
    read_rows,
    row_bytes,
    split_batches,
)
from patchwright.algorithms.pair_runs import PairRuns, run_in_groups
from patchwright.algorithms.sweep import (
    ActivationCopier,
    Cells,
    SweepValues,
    WorkItem,
    baseline_values,
    work_items,
)
from patchwright.axes import Direction, Metric
from patchwright.errors import ExperimentError, UnequalLengthsError, UnknownPlaceError
from patchwright.model.edits import Edit
from patchwright.model.forward import forward
from patchwright.model.requests import BASE_SITES, Row, Run, patched_row
from patchwright.model.spec import ModelSpec
from patchwright.model.weights import Network
from patchwright.places import SITE_TABLE, Place, Site, parse_place, reads_from
from patchwright.prompts.pair import TokenPair

SENDERS: tuple[Site, ...] = ("z", "attn_out", "mlp_out", "embed")
RECEIVERS: tuple[Site, ...] = ("q", "k", "v", "mlp_out")
PATH_SITES = BASE_SITES | frozenset[Site]({"z", "mlp_out", *RECEIVERS})
"""What runs must keep besides the senders' site: what is frozen on the way, and what receives."""


@dataclass(frozen=True)
class Paths:
    """From a sender to `receivers` (empty: the logits), by MLPs and norms as they say."""

    receivers: tuple[Place, ...]
    mlps: str
    norms: str

    @property
    def top_layer(self) -> int | None:
        """The highest layer with a receiver; None for the logits."""
        return max((place.layer or 0 for place in self.receivers), default=None)

    def has_path_from(self, site: Site, layer: int, parallel: bool) -> bool:
        """Whether a sender of `layer` lies below any receiver; blocks may be `parallel`."""
        below = any(_is_below(site, layer, place, parallel) for place in self.receivers)
        return below or not self.receivers


def parse_receivers(written: Sequence[str], spec: ModelSpec, n_positions: int) -> tuple[Place, ...]:
    """Receivers as places; none stand for the logits.

    Raises ExperimentError for a site that cannot receive, or for the logits among
    others, UnknownPlaceError for what the model does not have.
    """
    if not written:
        raise ExperimentError("No receiver was named: name logits, or places such as L9H6.q.")
    if "logits" in written:
        if len(written) > 1:
            raise ExperimentError(
                "The logits are a receiver by themselves: name nothing beside them."
            )
        return ()
    places = tuple(parse_place(text).within(spec, n_positions) for text in written)
    for place in places:
        if place.site not in RECEIVERS:
            raise ExperimentError(
                f"'{place}' cannot receive: choose logits, or places of {', '.join(RECEIVERS)}."
            )
    return places


def path_patch(
    network: Network,
    pairs: Sequence[TokenPair],
    cells: Cells,
    paths: Paths,
    direction: Direction,
    metric: Metric,
    progress: OnProgress | None,
    budget: int,
) -> SweepValues:
    """Path patching from each cell of `cells` to the receivers.

    Senders that lie above every receiver have no path: their cells are the baseline.
    Raises UnknownPlaceError where that holds for all of them.
    """
    if cells.site not in SENDERS:
        raise ExperimentError(f"'{cells.site}' cannot send: choose {', '.join(SENDERS)}.")
    if not any(
        paths.has_path_from(cells.site, layer, network.spec.parallel) for layer in cells.layers
    ):
        raise UnknownPlaceError(
            f"Every sender lies above its receivers: name layers below {paths.top_layer}, or higher "
            "receivers."
        )
    n_positions = len(pairs[0].corrupt if direction == "denoise" else pairs[0].clean)
    values = np.full((len(pairs), *cells.shape(n_positions)), np.nan)
    report = ProgressReporter(progress, values)
    ran: list[PairRuns] = []
    keep = PATH_SITES | frozenset[Site]({cells.site})
    if paths.norms == "freeze" and any(layer.norm_mlp_out for layer in network.layers):
        keep |= frozenset[Site]({"mlp_act"})  # What the norm behind an MLP had its scale from.
    for group in run_in_groups(network, pairs, keep, budget, metric):
        for runs in group:
            mine = values[len(ran)]
            mine[:] = baseline_values(runs, cells, direction)
            _patch_pair(network, runs, cells, paths, direction, metric, mine, report, budget)
            ran.append(runs.without_activations())
    return SweepValues(values, report.done, ran, np.zeros(values.shape, dtype=np.bool_))


def _patch_pair(
    network: Network,
    runs: PairRuns,
    cells: Cells,
    paths: Paths,
    direction: Direction,
    metric: Metric,
    values: NDArray[np.float64],
    report: ProgressReporter,
    budget: int,
) -> None:
    """Compute one pair's cells in place; `values` holds its baseline."""
    if len(runs.pair.clean) != len(runs.pair.corrupt):
        raise UnequalLengthsError("Paths are followed between prompts of equal length only.")
    copies = ActivationCopier(runs, cells.site, direction, network.spec.n_layers, everywhere=True)
    flat = values.reshape(-1)
    items = [
        item
        for item in work_items(0, copies, cells)
        if paths.has_path_from(cells.site, item.layer, network.spec.parallel)
    ]
    for item in items:
        flat[item.cell] = np.nan
    report.advance(flat.size - len(items))

    def cost(item: WorkItem) -> tuple[int, int]:
        lengths = [len(run.tokens) for run in copies.base]
        own = sum(length - item.spans[0][0] for length in lengths)
        kept = 4 * network.spec.n_layers * network.spec.d_model * network.embed.element_size()
        return own, sum(row_bytes(network, n, n) + kept * n for n in lengths)

    # Receivers other than the logits hand over to an ordinary run.
    freeze_norms = paths.norms == "freeze" and not paths.receivers
    like = [run.final[None] for run in copies.base] if freeze_norms else None
    reader = replace(runs.reader, like=like)
    for batch in split_batches(items, cost, budget):
        if report.stopped:
            return
        rows = [_sender_rows(network.spec, copies, cells, item, paths) for item in batch]
        if paths.receivers:
            rows = _receiver_rows(network, copies, rows, paths)
        found = read_rows(network, [reader] * len(batch), rows, metric, freeze_norms)
        for item, value in zip(batch, found, strict=True):
            flat[item.cell] = value
        report.advance(len(batch))


def _sender_rows(
    spec: ModelSpec, copies: ActivationCopier, cells: Cells, item: WorkItem, paths: Paths
) -> list[Row]:
    """The base runs with a sender's activation copied in and what lies above frozen in place."""
    at = item.spans[0][0]
    above = item.layer + 1 if SITE_TABLE[cells.site].in_layers else 0
    frozen: list[tuple[Site, int]] = [("z", layer) for layer in range(above, spec.n_layers)]
    if paths.mlps == "freeze":
        receiving = {(place.site, place.layer) for place in paths.receivers}
        first = item.layer if SITE_TABLE[cells.site].half == "attention" else above
        for layer in range(first, spec.n_layers):
            if ("mlp_out", layer) not in receiving:
                frozen.append(("mlp_out", layer))
    sent = copies.edits(item.layer, item.index, item.spans)
    return [
        patched_row(
            run,
            *edits,
            *(Edit(site, layer, at, run.kept[site][layer][at:]) for site, layer in frozen),
        )
        for run, edits in zip(copies.base, sent, strict=True)
    ]


def _receiver_rows(
    network: Network, copies: ActivationCopier, rows: Sequence[Sequence[Row]], paths: Paths
) -> list[list[Row]]:
    """The base runs with the receivers as the sender left them."""
    sites = frozenset[Site](place.site for place in paths.receivers)
    flat = [row for some in rows for row in some]
    finished = iter(forward(network, flat, sites, freeze_norms=paths.norms == "freeze"))
    return [
        [patched_row(run, *_receiver_edits(next(finished), paths)) for run in copies.base]
        for _ in rows
    ]


def _receiver_edits(sent: Run, paths: Paths) -> list[Edit]:
    """The edits that write a run's activations at the receivers."""
    edits: list[Edit] = []
    n = sent.read + 1
    for place in paths.receivers:
        live = sent.kept[place.site][place.layer or 0]
        if place.head is not None:
            live = live[:, place.head]
        start, stop = (0, n) if place.position is None else (place.position, place.position + 1)
        edits.append(Edit(place.site, place.layer or 0, start, live[start:stop], place.head))
    return edits


def _is_below(site: Site, layer: int, receiver: Place, parallel: bool) -> bool:
    """Whether what a sender writes reaches a receiver's input."""
    if not SITE_TABLE[site].in_layers:
        return True
    above = receiver.layer or 0
    return layer < above or (layer == above and reads_from(receiver.site, site, parallel))
