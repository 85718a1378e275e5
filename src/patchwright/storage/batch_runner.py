"""Many experiments into a run store, going on where an earlier attempt was ended."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from patchwright.errors import ClusterError, PatchwrightError, StoreError
from patchwright.experiment.batching import Batch, Outcome, make_batches, run_batch
from patchwright.model.load import load_model
from patchwright.storage.store import Store
from patchwright.warnings import is_stopped

if TYPE_CHECKING:
    from patchwright.experiment.base import Experiment
    from patchwright.model.load import Model

Runner = Callable[[Sequence[Batch], "Model"], Iterable[Outcome]]
"""What runs batches on a model, elsewhere for instance: an outcome for each experiment.

Outcomes come in any order; whoever takes them may stop before all have come."""

WAIT = 0.5
"""Seconds of results that one wait for the disk may cover."""


@dataclass(frozen=True)
class BatchStatus:
    """The progress of many experiments.

    `stored` were in the store already (or equal an earlier one in the list),
    `done` were computed now. `failed` has the reasons of those that failed, by their index
    in the list. `stopped` says whether the work ended before all had their turn.
    """

    total: int
    stored: int = 0
    done: int = 0
    failed: dict[int, str] = field(default_factory=dict[int, str])
    stopped: bool = False


OnBatchStatus = Callable[[BatchStatus], bool | None]
"""Called as the work goes on; returning False stops it and keeps what is finished."""


def run_many(
    experiments: "Sequence[Experiment]",
    model: "Model | None" = None,
    *,
    store: Store,
    progress: OnBatchStatus | None = None,
    runner: Runner | None = None,
    device: str = "auto",
    dtype: str = "float32",
) -> BatchStatus:
    """Run the experiments and keep each result; those in the store are not run again.

    If the call is interrupted, the same call continues from there: a result counts as soon as
    it is in the store. If an experiment fails, the store keeps its reason, and the next call
    tries it again. Experiments on `model` use it; other models are each
    loaded once (to `device`, in `dtype`), in turn. With a `runner`, stored results count
    whatever kind of device they come from. Raises StoreError if nothing can be kept.
    """
    work = _BatchRun(list(experiments), store, progress)
    for (name, revision), indices in _indices_by_model(experiments).items():
        if work.stopped:
            break
        try:
            given = model is not None and (model.name, model.revision) == (name, revision)
            loaded = model if given else load_model(name, device, dtype, revision)
        except PatchwrightError as error:
            work.fail(indices, str(error))
            continue
        assert loaded is not None, "it was given or loaded"
        kind = None if runner else str(loaded.device)
        known = store.known(loaded.fingerprint, kind)
        work.run_missing(indices, runner or work.run_here, loaded, known)
    return work.status()


def _indices_by_model(
    experiments: "Sequence[Experiment]",
) -> dict[tuple[str, str | None], list[int]]:
    """Places in the list, by the model they name; models in the order of their first."""
    found: dict[tuple[str, str | None], list[int]] = {}
    for i, one in enumerate(experiments):
        found.setdefault((one.model, one.revision), []).append(i)
    return found


class _BatchRun:
    """The experiments, what became of them, and the outcomes that the store has not got yet."""

    def __init__(
        self, experiments: "list[Experiment]", store: Store, progress: OnBatchStatus | None
    ) -> None:
        self._experiments = experiments
        self._store = store
        self._progress = progress
        self._waiting: list[Outcome] = []
        self._kept_at = monotonic()
        self._stored = self._done = 0
        self._failed: dict[int, str] = {}
        self.stopped = False

    def status(self) -> BatchStatus:
        """How far it is: of what is in the store, not of what waits for it."""
        total = len(self._experiments)
        return BatchStatus(total, self._stored, self._done, dict(self._failed), self.stopped)

    def run_here(self, batches: Sequence[Batch], model: "Model") -> Iterator[Outcome]:
        """The runner of this process, which may be stopped inside of a batch."""
        for batch in batches:
            if self.stopped:
                return
            outcomes = run_batch(batch, model, lambda _: self._report())
            yield from _every_outcome(batch.indices, outcomes)

    def fail(self, indices: Sequence[int], reason: str) -> None:
        """None of these can be done."""
        self._waiting += [Outcome(i, None, reason) for i in indices]
        self._flush()

    def run_missing(
        self, indices: Sequence[int], runner: Runner, model: "Model", known: set[str]
    ) -> None:
        """Those of the experiments whose hashes are not `known`, of one model, in batches.

        The batches are those of the whole list, so that they are alike however often the
        work was ended.
        """
        missing = self._missing(indices, known)
        self._stored += len(indices) - len(missing)
        self._report()
        batches: list[Batch] = []
        for whole in make_batches([self._experiments[i] for i in indices]):
            chosen = tuple(i for i in (indices[at] for at in whole.indices) if i in missing)
            if chosen:
                batches.append(Batch(chosen, tuple(self._experiments[i] for i in chosen)))
        if batches and not self.stopped:
            self._collect(_every_outcome(missing, runner(batches, model)))

    def _missing(self, indices: Sequence[int], known: set[str]) -> set[int]:
        """The first of each experiment that is not known."""
        seen, missing = set(known), set[int]()
        for i in indices:
            mark = self._experiments[i].hash
            if mark not in seen:
                missing.add(i)
            seen.add(mark)
        return missing

    def _collect(self, outcomes: Iterable[Outcome]) -> None:
        """Put outcomes into the store as they come, until somebody wants it to stop."""
        try:
            for outcome in outcomes:
                self._waiting.append(outcome)
                if monotonic() - self._kept_at > WAIT:
                    self._flush()
                if self.stopped:
                    return
        finally:
            self._flush()

    def _flush(self) -> None:
        """Put what waits into the store, and count it."""
        waiting, self._waiting = self._waiting, []
        found = [one.result for one in waiting if one.result is not None]
        results = [one for one in found if not is_stopped(one.warnings)]
        reasons = {one.index: one.error for one in waiting if one.error is not None}
        if results:
            self._store.save_all(results)
        if reasons:
            self._store.fail_all((self._experiments[i], why) for i, why in reasons.items())
        self._done += len(results)
        self._failed |= reasons
        self._kept_at = monotonic()
        self._report()

    def _report(self) -> bool:
        """Tell how far it is; False, from now on, once somebody wants it to stop."""
        if self._progress is not None and self._progress(self.status()) is False:
            self.stopped = True
        return not self.stopped


def _every_outcome(indices: Iterable[int], outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """The outcomes, also where running raised: that is the reason of all the rest."""
    left = set(indices)
    try:
        for outcome in outcomes:
            left.discard(outcome.index)
            yield outcome
    except (StoreError, ClusterError):
        raise
    except PatchwrightError as error:
        yield from (Outcome(i, None, str(error)) for i in sorted(left))
    except Exception as error:
        # One experiment that nobody foresaw must not cost the others their turn.
        reason = f"This should not have happened: {type(error).__name__}: {error}"
        yield from (Outcome(i, None, reason) for i in sorted(left))
