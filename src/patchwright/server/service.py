"""Models, the run store and the job queue: an experiment in, a job or a result out."""

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from patchwright.algorithms.batches import OnProgress
from patchwright.algorithms.result import Result
from patchwright.errors import (
    ApiError,
    ExperimentError,
    PatchwrightError,
    QueueFullError,
    StoreError,
)
from patchwright.experiment.base import Experiment
from patchwright.experiment.registry import Methods
from patchwright.jobs import Job, JobQueue
from patchwright.methods import METHODS
from patchwright.model.load import Model
from patchwright.server.errors import RETRY_HEADERS, error_code
from patchwright.server.limits import Limits
from patchwright.server.schemas import ErrorBody, JobView, State
from patchwright.server.turns import Turns
from patchwright.storage.job_store import JobRecord, JobStore, now
from patchwright.storage.run_cached import run_cached
from patchwright.warnings import is_stopped

MOST_JOBS_IN_MEMORY = 256
"""Jobs that are held in memory; the store has the others."""

NO_RESULT = "Cancelled before it started; there is no result."

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(eq=False)
class Submission:
    """What somebody asked for, and the job that does it."""

    experiment: Experiment
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    created: str = field(default_factory=now)
    ended: str | None = None
    told: threading.Event = field(default_factory=threading.Event)

    def record(self, state: str, message: str) -> JobRecord:
        """The job as the store keeps it."""
        asked = self.experiment
        return JobRecord(self.id, asked.hash, asked.model, state, message, self.created, self.ended)


class ExperimentService:
    """Answers experiments on `models` from `store`, or has them done."""

    def __init__(
        self,
        models: Sequence[Model],
        store: JobStore,
        limits: Limits,
        at_once: int,
        methods: Methods = METHODS,
    ) -> None:
        self.methods = methods
        self.models = {one.name: one for one in models}
        self.limits = limits
        self.queue = JobQueue(at_once, MOST_JOBS_IN_MEMORY, limits.queue, limits.seconds)
        self.closing = False
        # One: Matplotlib's settings are the whole process's.
        self.drawing = Turns(1, limits.drawings, "figures")
        self.analysing = Turns(8, limits.analyses, "sentences")
        self._store = store
        self._submissions: OrderedDict[str, tuple[Submission, Job]] = OrderedDict()
        self._lock = threading.Lock()
        self._streams = 0

    def open(self) -> None:
        """Close what an earlier server left open."""
        try:
            if lost := self._store.recover_jobs():
                _log.warning("%d jobs of an earlier server were not finished", lost)
        except StoreError as error:
            _log.warning("%s", error)
        self._log_notices()

    def close(self) -> None:
        """Stop all work; what is finished is kept."""
        self.closing = True
        self.queue.close()
        for submission, job in list(self._submissions.values()):
            if submission.ended is None:
                self._end_job(submission, "stopped", _stop_reason(job))

    def check_ready(self) -> None:
        """Raise where an experiment that came now could not be taken on and kept."""
        self._store.check()
        if self.queue.is_full():
            raise ApiError(503, "busy", "The queue is full.", RETRY_HEADERS)

    def find_model(self, name: str | None, revision: str | None = None) -> Model:
        """The served model of that name, or the first. Raises ExperimentError."""
        found = next(iter(self.models.values())) if name is None else self.models.get(name)
        if found is None or revision not in (None, found.revision):
            asked = f"{name!r} (revision {revision!r})" if revision else f"{name!r}"
            raise ExperimentError(
                f"{asked[:200]} is not served here. This server has {', '.join(self.models)}: its "
                "owner names others with --model when it is started."
            )
        return found

    def is_stored(self, experiment: Experiment) -> bool:
        """Whether the run store answers the experiment."""
        return bool(self._look_up(experiment, self._store.has))

    def submit(self, experiment: Experiment) -> str:
        """The id of the job that does the experiment: one for all who ask meanwhile.

        Raises QueueFullError, and what `Limits.check` does.
        """
        model = self.find_model(experiment.model, experiment.revision)
        self.limits.check(experiment, model)
        fresh = Submission(experiment)
        with self._lock:
            key = f"{experiment.hash} {model.fingerprint}"
            job = self.queue.submit(key, partial(self._run_job, fresh, model))
            for submission, known in self._submissions.values():
                if known is job:
                    return submission.id
            self._submissions[fresh.id] = fresh, job
            self._forget_old()
        try:
            self._store_job(fresh, "open", "")
        finally:
            fresh.told.set()
        return fresh.id

    def run_and_wait(self, experiment: Experiment) -> Result:
        """The experiment's result, waited for. Raises what `submit` and its job raise."""
        found = self._look_up(experiment, self._store.find)
        if found is not None:
            return found
        _, job = self._submissions[self.submit(experiment)]
        while not job.wait(1.0):
            pass
        if job.error is not None:
            raise job.error
        if job.result is None or is_stopped(job.result.warnings):
            raise ApiError(503, "stopped", _stop_reason(job), RETRY_HEADERS)
        return job.result

    def view(self, name: str) -> JobView:
        """The job of that id as it stands. Raises ApiError for an unknown id."""
        if name in self._submissions:
            return self._live_view(*self._submissions[name])
        record = self._store.job(name)
        if record is None:
            raise ApiError(404, "unknown_job", f"There is no job '{name[:80]}' here.")
        return self._stored_view(record)

    def job(self, name: str) -> Job | None:
        """The job itself, where it is held in memory."""
        return self._submissions[name][1] if name in self._submissions else None

    @contextmanager
    def follow_job(self, name: str) -> Generator[JobView]:
        """The job of that id while its events are read. Raises as `view`, and QueueFullError."""
        view = self.view(name)
        with self._lock:
            if self._streams >= self.limits.streams:
                raise QueueFullError(
                    f"{self._streams} streams of events are open, which is the limit: ask for "
                    f"/v1/jobs/{name} from time to time instead, or follow it in 10 seconds."
                )
            self._streams += 1
        try:
            yield view
        finally:
            with self._lock:
                self._streams -= 1

    def stop(self, name: str) -> JobView:
        """End a job for everybody who asked for it; what is finished is kept. As `view` raises."""
        self.view(name)
        if name in self._submissions:
            submission, job = self._submissions[name]
            self.queue.cancel(job)
            if job.finished and submission.ended is None:
                self._end_job(submission, "stopped", NO_RESULT)
        return self.view(name)

    def result(self, experiment_hash: str) -> Result:
        """The result of an experiment: the whole one, else what is finished of it.

        Raises ApiError where there is none.
        """
        run = self._run_id_of(experiment_hash)
        if run is not None:
            return self._store.get(run)
        for submission, job in reversed(list(self._submissions.values())):
            if job.result is not None and submission.experiment.hash == experiment_hash:
                return job.result
        raise ApiError(
            404,
            "unknown_result",
            f"There is no result of '{experiment_hash[:80]}' here: ask for its experiment at "
            "/v1/experiments.",
        )

    def _look_up(
        self, experiment: Experiment, look: Callable[[Experiment, str, str], _T]
    ) -> _T | None:
        """What the run store has of the experiment; None where it cannot be read."""
        model = self.find_model(experiment.model, experiment.revision)
        try:
            return look(experiment, model.fingerprint, str(model.device))
        except StoreError as error:
            _log.warning("%s", error)
            return None

    def _run_job(self, submission: Submission, model: Model, progress: OnProgress) -> Result:
        """What a job does: answer, keep, and write down how it ended."""
        state, message = "failed", "This should not have happened."
        try:
            result, _ = run_cached(submission.experiment, model, self._store, progress)
            state = "stopped" if is_stopped(result.warnings) else "done"
            message = _stopped_message(result)
        except PatchwrightError as error:
            message = error.public
            raise
        finally:
            self._log_notices()
            submission.told.wait()
            self._end_job(submission, state, message)
        return result

    def _end_job(self, submission: Submission, state: str, message: str) -> None:
        submission.ended = now()
        self._store_job(submission, state, message)

    def _store_job(self, submission: Submission, state: str, message: str) -> None:
        try:
            self._store.put_job(submission.record(state, message))
        except StoreError as error:
            _log.warning("Job %s is not written down: %s", submission.id, error)

    def _live_view(self, submission: Submission, job: Job) -> JobView:
        over, progress = job.finished, job.progress
        if not over:
            state = "stopping" if job.stopping else "running" if job.running else "waiting"
        elif job.error is not None:
            state = "failed"
        else:
            whole = job.result is not None and not is_stopped(job.result.warnings)
            state = "done" if whole else "stopped"
        error = job.error if over else None
        message = _stop_reason(job) if state == "stopped" else "" if error is None else error.public
        return _job_view(
            submission.record(state, message),
            state,
            over and job.result is not None,
            ended=submission.ended if over else None,
            ahead=self.queue.queue_position(job) if state == "waiting" else 0,
            done=0 if progress is None else progress.done,
            total=None if progress is None else progress.total,
            seconds_left=None if over else job.seconds_left,
            error=None if error is None else ErrorBody(code=error_code(error), message=message),
        )

    def _stored_view(self, record: JobRecord) -> JobView:
        """A job of which only the store knows."""
        state = record.state if record.state in ("done", "stopped", "failed") else "lost"
        there = state in ("done", "stopped") and self._run_id_of(record.experiment_hash) is not None
        failed = ErrorBody(code="failed", message=record.message) if state == "failed" else None
        return _job_view(record, state, there, error=failed)

    def _run_id_of(self, experiment_hash: str) -> str | None:
        marks = {one.fingerprint for one in self.models.values()}
        try:
            return self._store.run_id_of(experiment_hash, marks)
        except StoreError as error:
            _log.warning("%s", error)
            return None

    def _forget_old(self) -> None:
        over = [
            name
            for name, (submission, job) in self._submissions.items()
            if job.finished and submission.ended
        ]
        for name in over[: max(0, len(self._submissions) - MOST_JOBS_IN_MEMORY)]:
            del self._submissions[name]

    def _log_notices(self) -> None:
        while self._store.notices:
            _log.warning("%s", self._store.notices.pop())


def address_of(experiment_hash: str) -> str:
    """Where the result of an experiment is."""
    return f"/v1/results/{experiment_hash}"


def _job_view(record: JobRecord, state: State, has_result: bool, **of_job: Any) -> JobView:
    """A job as it is shown; what is not said of it is as of a job that is over."""
    shown: dict[str, Any] = {
        "ended": record.ended,
        "ahead": 0,
        "done": 0,
        "total": None,
        "seconds_left": None,
        **of_job,
    }
    return JobView(
        id=record.id,
        state=state,
        hash=record.experiment_hash,
        model=record.model,
        created=record.created,
        result=address_of(record.experiment_hash) if has_result else None,
        events=f"/v1/jobs/{record.id}/events",
        message=record.message or None,
        **shown,
    )


def _stopped_message(result: Result) -> str:
    """What is finished of a stopped result; nothing of a whole one."""
    return " ".join(one["message"] for one in result.warnings if one["code"] == "stopped")


def _stop_reason(job: Job) -> str:
    """Why a job was stopped, and what is left of it."""
    if job.result is None:
        return NO_RESULT
    late = f"A job may take {job.seconds:g} seconds here. " if job.timed_out else ""
    return f"{late}{_stopped_message(job.result)} What is finished is kept."
