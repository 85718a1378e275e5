"""Many experiments at once: those that differ in their pair alone share their passes.

A batch is planned by the experiments alone, so that the same list gives the same
batches, and the same numbers to the last bit, wherever it runs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from patchwright.algorithms.batches import OnProgress, Progress
from patchwright.algorithms.result import Result
from patchwright.axes import BUDGET
from patchwright.errors import ExperimentError, PatchwrightError
from patchwright.experiment.assembly import RunContext, as_result
from patchwright.experiment.base import Experiment, OnPairs
from patchwright.experiment.run import run, tokens_of
from patchwright.model.load import Model
from patchwright.prompts.pair import TokenPair

BATCH_SIZE = 64
"""Experiments in one batch: enough to fill the matrix products, few enough to wait for."""


@dataclass(frozen=True)
class Batch:
    """Experiments that run together; `indices` are their places in the list that was planned.

    Several experiments differ in nothing but their single pair.
    """

    indices: tuple[int, ...]
    experiments: tuple[Experiment, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one experiment: its result, or the sentence that says why there is none."""

    index: int
    result: Result | None
    error: str | None


@dataclass(frozen=True)
class _BatchItem:
    """An experiment of a batch, and its pair in tokens."""

    index: int
    experiment: Experiment
    tokens: TokenPair

    def output_shape(self) -> tuple[int, int, bool, bool]:
        """Experiments of one kind give arrays of the same names and axes."""
        tokens = self.tokens
        sizes = len(tokens.clean), len(tokens.corrupt)
        return (*sizes, bool(tokens.wrongs), tokens.single_tokens)


def make_batches(experiments: Sequence[Experiment], size: int = BATCH_SIZE) -> list[Batch]:
    """Put experiments that differ in their single pair alone into batches of at most `size`.

    What shares nothing, such as a mean over a list of pairs, is a batch of one. The
    order is kept: of the batches by their first experiment, and inside each. Raises
    ExperimentError for a size below 1.
    """
    if size < 1:
        raise ExperimentError(f"Batches of {size} experiments: give a size of at least 1.")
    batches: list[list[int]] = []
    filling: dict[str, list[int]] = {}
    for index, experiment in enumerate(experiments):
        shared = _shared_key(experiment)
        batch = None if shared is None else filling.get(shared)
        if batch is None or len(batch) == size:
            batch = []
            batches.append(batch)
        if shared is not None:
            filling[shared] = batch
        batch.append(index)
    return [Batch(tuple(some), tuple(experiments[i] for i in some)) for some in batches]


def run_batch(
    batch: Batch, model: Model, progress: OnProgress | None = None, budget: int = BUDGET
) -> Iterator[Outcome]:
    """What `run` gives for each experiment of the batch, in order; a failure ends only its own.

    The experiments' pairs share their passes, those of one length at a time;
    `progress` and `budget` are as for `run`, and `seconds` an equal share of the
    pass. Where `progress` stops the work, what is not finished has no outcome.
    Raises ExperimentError for a batch of experiments that `make_batches` keeps apart.
    """
    shared = {_shared_key(experiment) for experiment in batch.experiments}
    if len(batch.experiments) > 1 and (len(shared) > 1 or None in shared):
        raise ExperimentError(
            "The experiments of a batch differ in more than their single pair: make batches with "
            "`make_batches`."
        )
    watch = _StopWatcher(progress)
    work = RunContext(model, watch, budget)
    found = (
        _run_alone(batch, work)
        if len(batch.experiments) == 1
        else _run_together(batch, work, watch)
    )
    yield from sorted(found, key=lambda outcome: outcome.index)


def _shared_key(experiment: Experiment) -> str | None:
    """All but the single pair, as JSON; None where the experiment shares its passes with none."""
    return experiment.model_dump_json(exclude={"pairs"}) if experiment.batched else None


class _StopWatcher:
    """`progress`, and whether it has stopped the work."""

    def __init__(self, progress: OnProgress | None) -> None:
        self._progress = progress
        self.stopped = False

    def __call__(self, now: Progress) -> bool:
        if self._progress is not None and self._progress(now) is False:
            self.stopped = True
        return not self.stopped


def _run_alone(batch: Batch, work: RunContext) -> Iterator[Outcome]:
    (index,), (experiment,) = batch.indices, batch.experiments
    try:
        result = run(experiment, work.model, work.progress, work.budget)
    except PatchwrightError as error:
        yield Outcome(index, None, str(error))
    else:
        if all(notice["code"] != "stopped" for notice in result.warnings):
            yield Outcome(index, result, None)


def _run_together(batch: Batch, work: RunContext, watch: _StopWatcher) -> Iterator[Outcome]:
    kinds: dict[tuple[int, int, bool, bool], list[_BatchItem]] = {}
    for index, experiment in zip(batch.indices, batch.experiments, strict=True):
        assert isinstance(experiment, OnPairs), "others are alone in their batch"
        try:
            tokens = tokens_of(experiment.pair_list[0], experiment, work.model)
        except PatchwrightError as error:
            yield Outcome(index, None, str(error))
        else:
            one = _BatchItem(index, experiment, tokens)
            kinds.setdefault(one.output_shape(), []).append(one)
    for some in kinds.values():
        yield from _run_same_shape(some, work, watch)


def _run_same_shape(
    some: Sequence[_BatchItem], work: RunContext, watch: _StopWatcher
) -> Iterator[Outcome]:
    """The outcomes of experiments whose arrays are alike."""
    if watch.stopped:
        return
    started = perf_counter()
    asked = some[0].experiment
    assert isinstance(asked, OnPairs), "others are alone in their batch"
    try:
        found = asked.compute(work, [one.tokens for one in some])
    except PatchwrightError as error:
        if len(some) == 1:
            yield Outcome(some[0].index, None, str(error))
            return
        # Halving finds the pair that fails in a few passes, and keeps the others together.
        middle = len(some) // 2
        for half in (some[:middle], some[middle:]):
            yield from _run_same_shape(half, work, watch)
        return
    if not found.is_complete:
        return
    seconds = (perf_counter() - started) / len(some)
    for i, one in enumerate(some):
        result = as_result(one.experiment, work, found.for_pair(i), seconds)
        yield Outcome(one.index, result, None)
