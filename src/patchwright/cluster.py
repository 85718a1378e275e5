"""Many experiments on a Ray cluster, their results in the run store of whoever asked.

One actor a worker (a GPU, or else a CPU) holds the model. The driver loads it and puts
its weights into Ray's object store once; Ray copies them to each node once, and all
workers of a node lay their network over the same shared memory (a GPU gets a copy).
Batches are planned by the experiments, never by the number of workers, so that a
worker computes what one process would. Only the driver writes to the run store: what it
has is safe whatever becomes of a worker. A batch whose worker is lost goes to a new one.
"""

import logging
import os
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from patchwright.errors import ClusterError, InputError
from patchwright.experiment.batching import Batch, Outcome, run_batch
from patchwright.storage.batch_runner import BatchStatus, OnBatchStatus, run_many

if TYPE_CHECKING:
    from patchwright.experiment.base import Experiment
    from patchwright.model.load import Model
    from patchwright.model.shared_weights import SharedWeights
    from patchwright.storage.store import Store

ATTEMPTS = 3
"""Workers that may be lost over one batch before it counts as failed."""


def run_on_ray(
    experiments: "Sequence[Experiment]",
    model: "Model | None" = None,
    *,
    store: "Store",
    address: str | None = None,
    workers: int | None = None,
    progress: OnBatchStatus | None = None,
    dtype: str = "float32",
) -> BatchStatus:
    """`run_many` with its batches spread over the workers of a Ray cluster.

    `address` is a running cluster's, such as `auto` or `ray://host:10001`; without one
    (and without RAY_ADDRESS) a cluster is started here and ended afterwards, one that
    this process is connected to already is used. `workers` is how many at most: by
    default one a GPU, in a cluster without GPUs one a CPU. Ended at any point, the same
    call goes on from there. Raises ClusterError where Ray is missing, the cluster cannot
    be reached or a worker's model is not the driver's, InputError for a number of
    workers that it does not have.
    """
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers: give at least 1.")
    ray = import_ray()
    with _connect(ray, address, workers):
        crew = _plan_workers(ray, workers)
        return run_many(
            experiments,
            model,
            store=store,
            progress=progress,
            runner=lambda batches, loaded: _outcomes(ray, crew, batches, loaded),
            device="cpu",
            dtype=dtype,
        )


def import_ray() -> ModuleType:
    """Ray, told to keep to itself. Raises ClusterError where it is not installed."""
    # Nobody asked for reports to Ray's makers, nor for workers to be told which GPUs they lack.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "Ray is not installed here: `pip install 'patchwright[cluster]'` brings it."
        ) from error
    return ray


@contextmanager
def _connect(ray: Any, address: str | None, workers: int | None) -> Generator[None]:
    """Connected to a cluster, which is left again unless it was connected to before."""
    if ray.is_initialized():
        yield
        return
    here = address is None and not os.environ.get("RAY_ADDRESS")
    settings = {"include_dashboard": False, "num_cpus": workers} if here else {"address": address}
    try:
        # Workers look for code where this is called from, which may be anybody's folder: they look
        # where this package is, as they do anyway.
        with chdir(Path(__file__).parents[1]):
            ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        where = "No Ray cluster could be started here" if here else f"No Ray cluster at '{address}'"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClusterError(
            f"{where} ({reason}). Start one with `ray start --head`, and give its address."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class _WorkerPlan:
    """How many workers, and what each takes of the cluster."""

    workers: int
    gpu: bool


def _plan_workers(ray: Any, workers: int | None) -> _WorkerPlan:
    there = ray.cluster_resources()
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    most, kind = (gpus, "GPUs") if gpus else (cpus, "CPUs")
    if most < 1 or (workers or 1) > most:
        raise InputError(
            f"{workers or 1} workers: the cluster has {most} {kind}, one for each worker. Ask for "
            "fewer, or add machines with `ray start --address`."
        )
    return _WorkerPlan(workers or most, gpus > 0)


class Worker:
    """Holds a model in a process of its own, and runs batches on it."""

    def open(self, shared: "SharedWeights", device: str) -> str:
        """Make the model of its weights; the fingerprint of what is there now."""
        self._model = shared.attach(device)
        return self._model.fingerprint

    def run(self, batch: Batch) -> list[Outcome]:
        """What became of each experiment of a batch."""
        return list(run_batch(batch, self._model))


def _outcomes(
    ray: Any, crew: _WorkerPlan, batches: Sequence[Batch], model: "Model"
) -> Iterator[Outcome]:
    """The outcomes of all batches, as workers finish them; workers end with it."""
    from patchwright.model.shared_weights import share

    pool = _WorkerPool(ray, crew, ray.put(share(model)), model.fingerprint)
    waiting, lost = deque(batches), Counter[int]()
    try:
        pool.start(min(crew.workers, len(batches)))
        while waiting or pool.working:
            batch, found = pool.next_finished(waiting)
            if found is not None:
                yield from found
                continue
            lost[batch.indices[0]] += 1
            if lost[batch.indices[0]] < ATTEMPTS:
                waiting.appendleft(batch)
                continue
            reason = (
                f"{ATTEMPTS} workers were lost while they computed this: perhaps their memory is "
                "too small. Shorten the prompts, or run it alone."
            )
            yield from (Outcome(index, None, reason) for index in batch.indices)
    finally:
        pool.shut_down()


class _WorkerPool:
    """The workers: those that wait for a batch, and what the others are at."""

    def __init__(self, ray: Any, crew: _WorkerPlan, shared: Any, fingerprint: str) -> None:
        self._ray = ray
        self._device = "cuda" if crew.gpu else "cpu"
        self._made = ray.remote(num_cpus=1, num_gpus=1 if crew.gpu else 0)(Worker)
        self._shared = shared
        self._fingerprint = fingerprint
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Batch | None]] = {}
        self._never_opened = 0

    @property
    def working(self) -> bool:
        """Whether any batch is under way."""
        return any(batch is not None for _, batch in self._busy.values())

    def start(self, count: int) -> None:
        """Let so many workers more open the model."""
        for _ in range(count):
            worker = self._made.remote()
            opening = worker.open.remote(self._shared, self._device)
            self._busy[opening] = worker, None

    def next_finished(self, waiting: deque[Batch]) -> tuple[Batch, list[Outcome] | None]:
        """The next batch that ends, and its outcomes; None where its worker was lost.

        Workers that are free take batches from `waiting`. Raises ClusterError where a
        worker's model is another one, or workers are lost before they have any.
        """
        while True:
            while self._idle and waiting:
                worker, batch = self._idle.pop(), waiting.popleft()
                self._busy[worker.run.remote(batch)] = worker, batch
            ended = self._ray.wait(list(self._busy), num_returns=1)[0][0]
            worker, batch = self._busy.pop(ended)
            found = self._result(ended, worker, batch)
            if batch is not None:
                return batch, found

    def _result(self, ended: Any, worker: Any, batch: Batch | None) -> Any:
        """What a worker hands back; None, and another worker, where it is lost."""
        errors = self._ray.exceptions
        try:
            found = self._ray.get(ended)
        except errors.RayTaskError as error:
            reason = f"{type(error.cause).__name__}: {error.cause}"
            if batch is None:
                raise ClusterError(f"A worker could not open the model ({reason}).") from error
            sentence = f"This should not have happened: {reason}"
            found = [Outcome(index, None, sentence) for index in batch.indices]
        except errors.RayError as error:
            self._ray.kill(worker)
            self._count_lost(batch, error)
            self.start(1)
            return None
        if batch is None:
            self._never_opened = 0
            self._check_fingerprint(str(found))
        self._idle.append(worker)
        return found

    def _count_lost(self, batch: Batch | None, error: Exception) -> None:
        self._never_opened += batch is None
        if self._never_opened == ATTEMPTS:
            reason = str(error).strip().splitlines()[0]
            raise ClusterError(
                f"{ATTEMPTS} workers in a row were lost before they had the model ({reason}): "
                "perhaps their memory is too small for it. Ask for fewer workers."
            ) from error

    def _check_fingerprint(self, fingerprint: str) -> None:
        if fingerprint != self._fingerprint:
            raise ClusterError(
                f"A worker's model ({fingerprint[:19]}…) is not the driver's "
                f"({self._fingerprint[:19]}…): install the same versions of Patchwright, PyTorch "
                "and Transformers on every machine."
            )

    def shut_down(self) -> None:
        """End every worker."""
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            self._ray.kill(worker)
