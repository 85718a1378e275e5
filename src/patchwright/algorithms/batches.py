"""Many altered runs in few batches: cut by memory, read out together, reported on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchwright.algorithms.readout import MetricReader, read_each
from patchwright.axes import Metric
from patchwright.errors import MemoryBudgetError
from patchwright.model.forward import forward
from patchwright.model.requests import Row, Run
from patchwright.model.weights import Network

BATCH_TOKENS = 2048
"""Tokens in one batch: enough to keep the matrix products at their peak, few
enough to report progress and to stop soon."""


@dataclass(frozen=True)
class Progress:
    """The progress of a method: how many cells are done, and the values so far.

    `patched` has the method's own axes and is NaN where a cell has no value yet; copy
    it to keep it. For circuits it holds the scores of the finished pairs, or faithfulness,
    and passes or circuits are counted. `estimate`, on the same axes, is a gradient's
    estimate of every cell, if the cells are computed in its order.
    """

    done: int
    total: int
    patched: NDArray[np.float64]
    estimate: NDArray[np.float64] | None = None


OnProgress = Callable[[Progress], bool | None]
"""Called after each batch; returning False stops the work and keeps what is finished."""

Item = TypeVar("Item")


def part_progress(progress: OnProgress | None, before: int, total: int) -> OnProgress | None:
    """What reports on one part of a work of `total` cells, `before` of which other parts have done."""
    if progress is None:
        return None
    return lambda now: progress(replace(now, done=before + now.done, total=total))


class ProgressReporter:
    """Tells the caller how far the work is, and remembers whether to stop."""

    def __init__(
        self,
        progress: OnProgress | None,
        values: NDArray[np.float64],
        total: int | None = None,
        estimate: NDArray[np.float64] | None = None,
    ) -> None:
        self._progress = progress
        self._values = values
        self._estimate = estimate
        self.total = values.size if total is None else total
        self.done = 0
        self.stopped = False

    def advance(self, cells: int) -> None:
        """Count `cells` as finished."""
        self.done += cells
        if self._progress is not None and not self.stopped:
            now = Progress(self.done, self.total, self._values, self._estimate)
            self.stopped = self._progress(now) is False


def split_batches(
    items: Sequence[Item], cost: Callable[[Item], tuple[int, int]], budget: int
) -> Iterator[list[Item]]:
    """The items in order, as many at a time as the budget and `BATCH_TOKENS` allow.

    `cost` gives a item's tokens and bytes. Raises MemoryBudgetError where a single
    item exceeds `budget` bytes.
    """
    batch: list[Item] = []
    tokens = size = 0
    for item in items:
        more_tokens, more = cost(item)
        check_budget("One altered run takes", more, budget, "shorten the prompts")
        if batch and (tokens + more_tokens > BATCH_TOKENS or size + more > budget):
            yield batch
            batch, tokens, size = [], 0, 0
        batch.append(item)
        tokens += more_tokens
        size += more
    if batch:
        yield batch


def check_budget(what: str, size: int, budget: int, instead: str) -> None:
    """Raise MemoryBudgetError where `what` ("… takes") comes to more bytes than `budget`."""
    if size > budget:
        raise MemoryBudgetError(
            f"{what} about {size >> 20:,} MiB and the budget is {budget >> 20:,} MiB: "
            f"{instead}, or give a larger budget in Python."
        )


def row_bytes(network: Network, n_positions: int, n_own: int) -> int:
    """Bytes that an altered run takes while a layer computes, at most.

    `n_own` of its `n_positions` are its own; keys and values are laid out for all.
    """
    spec = network.spec
    widest = max(spec.d_model, spec.n_heads * spec.d_head)
    gated = any(layer.mlp_gate is not None for layer in network.layers)
    residual = 14 * widest + (4 if gated else 3) * spec.d_mlp
    pattern = 3 * spec.n_heads * n_positions
    keys_and_values = 2 * widest * n_positions
    return network.embed.element_size() * (n_own * (residual + pattern) + keys_and_values)


def runs_cost(network: Network, runs: Sequence[Run], start: int) -> tuple[int, int]:
    """Tokens and bytes of altered `runs`, whose own positions are those from `start` on."""
    own = [len(run.tokens) - start for run in runs]
    sizes = [row_bytes(network, len(run.tokens), n) for run, n in zip(runs, own, strict=True)]
    return sum(own), sum(sizes)


def read_rows(
    network: Network,
    readers: Sequence[MetricReader],
    rows: Sequence[Sequence[Row]],
    metric: Metric,
    freeze_norms: bool = False,
) -> list[float]:
    """The metric of altered runs: for each, its pair's reader and one row a continuation."""
    return read_finals(readers, run_to_finals(network, rows, freeze_norms), metric)


def run_to_finals(
    network: Network, rows: Sequence[Sequence[Row]], freeze_norms: bool = False
) -> list[list[Tensor]]:
    """Where altered runs end: for each, the final residual stream of every continuation."""
    flat = [row for some in rows for row in some]
    finished = iter(forward(network, flat, freeze_norms=freeze_norms))
    return [[next(finished).final for _ in some] for some in rows]


def read_finals(
    readers: Sequence[MetricReader], finals: Sequence[Sequence[Tensor]], metric: Metric
) -> list[float]:
    """The metric of runs that end so: for each, its pair's reader."""
    by_reader: dict[int, list[int]] = {}
    for i, one in enumerate(readers):
        by_reader.setdefault(id(one), []).append(i)
    members = list(by_reader.values())
    stacked = [
        [torch.stack(some) for some in zip(*(finals[i] for i in own), strict=True)]
        for own in members
    ]
    read = read_each(metric, [readers[own[0]] for own in members], stacked)
    found = torch.cat(read).double().cpu()
    values = torch.empty_like(found)
    values[[i for own in members for i in own]] = found
    return values.tolist()
