"""Long work behind a server: queued, watched, shared by those who ask for the same.

A visitor asks for a key's result; the first to ask starts the work, later ones
join it. Who stops it stops it for themselves: it ends when everybody who asked has
stopped or left; a later request for the same starts a new job, as after an error.
The page looks at a `Job` whenever it is drawn, the HTTP interface whenever it is asked.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import monotonic

from patchwright.algorithms.batches import OnProgress, Progress
from patchwright.algorithms.result import Result
from patchwright.errors import PatchwrightError, QueueFullError

Compute = Callable[[OnProgress], Result]

MOST_WAITING = 32
"""Jobs that may wait for their turn, unless told otherwise; one more is turned away."""


class Job:
    """One piece of work: how far it is, and in the end its result or what went wrong.

    It is stopped after so many `seconds` of work, if it tells of its progress; `timed_out` then
    says so.
    """

    def __init__(self, key: str, seconds: float | None = None) -> None:
        self.key = key
        self.seconds = seconds
        self.timed_out = False
        self.progress: Progress | None = None
        self.result: Result | None = None
        self.error: PatchwrightError | None = None
        self.subscribers = 1
        self._started: float | None = None
        self._first: tuple[int, float] | None = None
        self._stop = threading.Event()
        self._over = threading.Event()
        self._beginning = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether its turn has come and it is not over."""
        return self._started is not None and not self.finished

    @property
    def finished(self) -> bool:
        """Whether there is a result or an error, or nobody wanted one."""
        return self._over.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the end; whether it came."""
        return self._over.wait(seconds)

    def stop(self) -> None:
        """Ask for the end after the batch under way; what is finished is kept."""
        self._stop.set()

    def snapshot(self) -> "Job":
        """A finished snapshot for a caller who cancels while others still wait."""
        copy = Job(self.key)
        copy.progress = self.progress
        copy.stop()
        copy._over.set()
        return copy

    @property
    def stopping(self) -> bool:
        """Whether somebody has asked for the end."""
        return self._stop.is_set()

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds remaining at the current rate; None if unknown."""
        now, first = self.progress, self._first
        if now is None or first is None or now.done <= first[0]:
            return None
        done, at = first
        return (monotonic() - at) / (now.done - done) * (now.total - now.done)

    def cancel(self) -> None:
        """Stop it; where its turn has not come, it is over at once and is never begun."""
        self.stop()
        with self._beginning:
            if self._started is None:
                self._over.set()

    def run(self, compute: Compute) -> None:
        """Run `compute` here and now, unless nobody waits for it any more."""
        with self._beginning:
            if self.subscribers <= 0:
                self._over.set()
            if self.finished:
                return
            self._started = monotonic()
        try:
            self.result = compute(self._on_progress)
        except PatchwrightError as error:
            self.error = error
        except BaseException:  # a library in Rust that panics raises no Exception
            logging.getLogger(__name__).exception("A job failed")
            self.error = PatchwrightError(
                "This should not have happened, and there is no result: ask again, or try another "
                "experiment. The server's log has the details."
            )
        finally:
            self._over.set()

    def _on_progress(self, now: Progress) -> bool:
        estimate = None if now.estimate is None else now.estimate.copy()
        self.progress = replace(now, patched=now.patched.copy(), estimate=estimate)
        if self._first is None:
            # The first cells cost nothing: they are the baseline's.
            self._first = (now.done, monotonic())
        so_long = monotonic() - (self._started or 0.0)
        if self.seconds is not None and so_long > self.seconds and not self.stopping:
            self.timed_out = True
            self.stop()
        return not self.stopping


class JobQueue:
    """Hands out jobs: at most `at_once` run, the others wait in the order in which they came.

    Each may work for so many `seconds`, if a number is given.
    """

    def __init__(
        self,
        at_once: int,
        kept: int = 128,
        waiting: int = MOST_WAITING,
        seconds: float | None = None,
    ) -> None:
        self._waiting = waiting
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="sweep")
        self._kept = kept
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def submit(self, key: str, compute: Compute) -> Job:
        """The job of `key`, started if nobody has asked before.

        Raises QueueFullError where too many wait.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and not job.stopping and job.error is None:
                if job.finished:
                    self._jobs.move_to_end(key)
                job.subscribers += 1
                return job
            waiting = self._count_waiting()
            if waiting >= self._waiting:
                raise QueueFullError(
                    f"{waiting} experiments are already waiting, which is the limit: try again in a "
                    "minute."
                )
            self._jobs.pop(key, None)
            job = self._jobs[key] = Job(key, self._seconds)
            self._pool.submit(job.run, compute)
            self._forget_old()
            return job

    def unsubscribe(self, job: Job) -> None:
        """One who asked does not want it any more; with the last one the work stops."""
        with self._lock:
            job.subscribers -= 1
            if job.subscribers <= 0 and not job.finished:
                job.stop()
                self._drop(job)

    def unsubscribe_all(self, jobs: Iterable[Job]) -> None:
        """One who asked for several is gone."""
        for job in list(jobs):
            self.unsubscribe(job)

    def stop(self, job: Job) -> Job:
        """One who asked wants no more of it; the job that they look at from now on.

        The last one ends the work itself, and gets what is finished as its result: nothing where
        its turn had not come. While others wait for it, it goes on, and one who stops has its
        progress alone.
        """
        with self._lock:
            if job.finished or job.subscribers <= 1:
                job.cancel()
                return job
            job.subscribers -= 1
            return job.snapshot()

    def cancel(self, job: Job) -> None:
        """Stop it for everybody who asked; before its turn it is then never begun."""
        with self._lock:
            job.cancel()

    def close(self) -> None:
        """End everything, and wait until what is finished is handed over; nothing begins any more."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            self.cancel(job)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def is_full(self) -> bool:
        """Whether one more would be turned away."""
        with self._lock:
            return self._count_waiting() >= self._waiting

    def _count_waiting(self) -> int:
        return sum(not one.finished and not one.running for one in self._jobs.values())

    def forget(self, job: Job) -> None:
        """Let the next request for the same start a new job."""
        with self._lock:
            self._drop(job)

    def _drop(self, job: Job) -> None:
        # Another one may have its key by now.
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]

    def queue_position(self, job: Job) -> int:
        """How many jobs have their turn before a waiting one."""
        with self._lock:
            before = list(self._jobs.values())
        before = before[: before.index(job)] if job in before else []
        return sum(not one.finished and not one.running for one in before)

    def _forget_old(self) -> None:
        for key in [key for key, job in self._jobs.items() if job.finished]:
            if len(self._jobs) <= self._kept:
                return
            del self._jobs[key]
