"""Causal tracing: noise on the subject, then clean activations restored place by place.

Source: Meng et al. 2022, "Locating and Editing Factual Associations in GPT",
section 2. The noise is `noise` times the standard deviation of the subject
tokens' embeddings (theirs: of a list of subjects), drawn once for all places.
`sever` freezes a path at its values in the noisy run, at the restored position
and in all layers, as their section 2.3 does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from patchwright.algorithms.batches import (
    OnProgress,
    ProgressReporter,
    check_budget,
    read_rows,
    row_bytes,
    runs_cost,
    split_batches,
)
from patchwright.algorithms.pair_runs import check_runs, spans_of, stack_finals
from patchwright.algorithms.readout import MetricReader
from patchwright.axes import Metric
from patchwright.errors import ExperimentError
from patchwright.model.base_runs import base_runs
from patchwright.model.edits import Edit
from patchwright.model.forward import forward
from patchwright.model.requests import BASE_SITES, Row, Run, patched_row
from patchwright.model.weights import Network
from patchwright.places import Site
from patchwright.prompts.pair import TokenPair

BASELINE_BYTES = 8192
"""What a result holds of each noisy run, about: its numbers and its likeliest tokens."""


@dataclass(frozen=True)
class TraceValues:
    """What tracing found: the metric [sample, layer, position], and the runs it started from.

    `sigma` is the standard deviation of the subject's embeddings, of which the
    noise's is a multiple. NaN where the work was stopped; `done` counts cells. Of
    the `noisy` runs only the end is kept.
    """

    values: NDArray[np.float64]
    sigma: float
    reader: MetricReader
    clean: tuple[Run, ...]
    noisy: list[tuple[Run, ...]]
    done: int


@dataclass(frozen=True)
class TraceOptions:
    """What is traced, as the fields of `methods.trace.Trace` say it.

    The noise, in standard deviations of the subject's embeddings, is drawn `samples` times by
    `seed`; `site` is restored in `window` layers at once, and `sever` is the path that is frozen.
    """

    site: Site
    metric: Metric
    noise: float
    samples: int
    seed: int
    window: int = 1
    sever: Site | None = None


def check_options(asked: TraceOptions, n_layers: int) -> None:
    """Raise ExperimentError for a choice that cannot be traced."""
    if not asked.noise >= 0:
        raise ExperimentError(f"A noise of {asked.noise}: give a multiple of 0 or more.")
    if asked.samples < 1:
        raise ExperimentError(f"{asked.samples} samples: draw at least 1.")
    if not 1 <= asked.window <= n_layers:
        raise ExperimentError(
            f"A window of {asked.window} layers: the model has {n_layers}. Choose 1-{n_layers}."
        )
    if asked.sever == asked.site:
        raise ExperimentError(
            f"'{asked.site}' cannot be restored and severed at once: sever the other one."
        )


def window_around(layer: int, window: int, n_layers: int) -> range:
    """So many layers around `layer`, centred as in the paper and cut at the ends."""
    half = window // 2
    return range(max(0, layer - half), min(n_layers, layer - half + window))


@dataclass(frozen=True)
class _WorkItem:
    sample: int
    layer: int
    position: int


def trace(
    network: Network,
    prompt: TokenPair,
    asked: TraceOptions,
    subject: tuple[int, ...],
    progress: OnProgress | None,
    budget: int,
) -> TraceValues:
    """Restore the clean activation at each (layer, position), in each noisy run.

    `prompt` is a pair of the same prompt twice, `subject` the positions that get noise. Raises ExperimentError for a
    choice that cannot be traced, MemoryBudgetError where a run does not fit. Noisy runs
    are made and kept as many at one time as fit into `budget` bytes.
    """
    start = TraceStart.from_prompt(network, prompt, asked, subject, budget)
    samples, at_once = asked.samples, max(1, budget // start.sample_bytes)
    values = np.full((samples, network.spec.n_layers, len(prompt.clean)), np.nan)
    report = ProgressReporter(progress, values)
    draw = np.random.default_rng(asked.seed)
    ends: list[tuple[Run, ...]] = []
    for first in range(0, samples, at_once):
        some = range(first, min(first + at_once, samples))
        # Also of samples that are not traced any more the end is known: the baseline is of all.
        noisy = start.noisy_runs(draw, len(some))
        if not report.stopped:
            start.restore(some, noisy, values, report, budget)
        ends += [tuple(run.without_activations() for run in runs) for runs in noisy]
    return TraceValues(values, start.sigma, start.reader, start.clean, ends, report.done)


@dataclass(frozen=True)
class TraceStart:
    """The clean runs that noise is added to, and what all samples share.

    `keep` are the sites that noisy runs keep, as the clean ones have.
    """

    network: Network
    asked: TraceOptions
    subject: tuple[int, ...]
    clean: tuple[Run, ...]
    sigma: float
    reader: MetricReader
    keep: frozenset[Site]

    @classmethod
    def from_prompt(
        cls,
        network: Network,
        prompt: TokenPair,
        asked: TraceOptions,
        subject: tuple[int, ...],
        budget: int,
    ) -> "TraceStart":
        """Run the clean prompt. Raises as `trace`."""
        n_layers, n = network.spec.n_layers, len(prompt.clean)
        check_options(asked, n_layers)
        check_budget(
            f"The values of {asked.samples:,} samples take",
            asked.samples * (8 * n_layers * n + BASELINE_BYTES),
            budget,
            "draw fewer samples",
        )
        keep = BASE_SITES | frozenset[Site]({asked.site, "embed"})
        keep |= frozenset[Site]({asked.sever} if asked.sever else ())
        rows = [Row(prompt.clean + more, n - 1) for more in prompt.continuations]
        clean = tuple(base_runs(network, rows, keep))
        check_runs(clean)
        sigma = float(clean[0].kept["embed"][0][list(subject)].double().std())
        reader = MetricReader(network, prompt, clean[0].final[0])
        return cls(network, asked, subject, clean, sigma, reader, keep)

    @property
    def sample_bytes(self) -> int:
        """What the noisy runs of one sample take: as much is kept as of the clean ones."""
        lengths = [len(run.tokens) for run in self.clean]
        kept = [one.nbytes for run in self.clean for layers in run.kept.values() for one in layers]
        return sum(kept) + sum(row_bytes(self.network, length, length) for length in lengths)

    def noisy_runs(self, draw: np.random.Generator, samples: int) -> list[tuple[Run, ...]]:
        """One run a sample (and continuation): the subject's embeddings plus its noise.

        Raises ExperimentError where so much noise leaves no finite numbers.
        """
        subject, multiple = self.subject, self.asked.noise
        shape = (samples, len(subject), self.network.spec.d_model)
        drawn = draw.standard_normal(shape) * multiple * self.sigma
        noise = torch.from_numpy(drawn).to(self.network.embed)
        rows = [
            patched_row(run, *_noise_edits(subject, one)) for one in noise for run in self.clean
        ]
        runs = forward(self.network, rows, self.keep)
        if not all(bool(torch.isfinite(run.final).all()) for run in runs):
            raise ExperimentError(
                f"A noise of {multiple:g} times the standard deviation leaves no finite logits: "
                "give a smaller multiple."
            )
        ordered = iter(runs)
        return [tuple(next(ordered) for _ in self.clean) for _ in noise]

    def restore(
        self,
        samples: range,
        noisy: Sequence[tuple[Run, ...]],
        values: NDArray[np.float64],
        report: ProgressReporter,
        budget: int,
    ) -> None:
        """Fill in `values` [sample, layer, position] of `samples`, whose noisy runs these are."""
        _, n_layers, n = values.shape
        before, metric = min(self.subject), self.asked.metric
        read = self.reader.read(metric, stack_finals(noisy)).double().cpu().numpy()
        values[samples, :, :before] = read[:, None, None]
        items = [
            _WorkItem(sample, layer, position)
            for layer in range(n_layers)
            for position in range(before, n)
            for sample in samples
        ]
        report.advance(len(samples) * n_layers * before)

        def cost(item: _WorkItem) -> tuple[int, int]:
            return runs_cost(self.network, self.clean, item.position)

        for batch in split_batches(items, cost, budget):
            if report.stopped:
                break
            rows = [
                _restored_rows(item, self.clean, noisy[item.sample - samples.start], self.asked)
                for item in batch
            ]
            found = read_rows(self.network, [self.reader] * len(batch), rows, metric)
            for item, value in zip(batch, found, strict=True):
                values[item.sample, item.layer, item.position] = value
            report.advance(len(batch))


def _noise_edits(subject: tuple[int, ...], noise: torch.Tensor) -> Iterator[Edit]:
    at = 0
    for start, stop in spans_of(subject):
        yield Edit("embed", 0, start, noise[at : at + stop - start], add=True)
        at += stop - start


def _restored_rows(
    item: _WorkItem, clean: Sequence[Run], noisy: Sequence[Run], asked: TraceOptions
) -> list[Row]:
    """The noisy runs of a sample with the clean activations of a window put back."""
    n_layers, at = len(clean[0].kept[asked.site]), item.position
    here = slice(at, at + 1)
    rows: list[Row] = []
    for good, bad in zip(clean, noisy, strict=True):
        edits = [
            Edit(asked.site, layer, at, good.kept[asked.site][layer][here])
            for layer in window_around(item.layer, asked.window, n_layers)
        ]
        if asked.sever is not None:
            frozen = bad.kept[asked.sever]
            edits += [
                Edit(asked.sever, layer, at, frozen[layer][here]) for layer in range(n_layers)
            ]
        rows.append(patched_row(bad, *edits))
    return rows
