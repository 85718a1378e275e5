"""Work behind the page: shared, queued, stopped, forgotten. Events say when; nothing sleeps."""

import threading
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from patchwright import jobs
from patchwright.algorithms.batches import OnProgress, Progress
from patchwright.algorithms.result import Result
from patchwright.errors import InputError, PatchwrightError, QueueFullError
from patchwright.experiment.run import run
from patchwright.jobs import Job, JobQueue
from patchwright.methods.patch import Patch, patch
from patchwright.model.load import Model
from timeouts import SECONDS
from tiny import pair_of

CELLS = 8


class Work:
    """A computation that goes on by one cell for each `step`, as a sweep does by batches."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.values = np.full((1, CELLS), np.nan)
        self.runs = 0
        self.began = threading.Event()
        self.told = threading.Semaphore(0)
        self._steps = threading.Semaphore(0)

    def step(self, count: int = 1) -> None:
        """Compute so many cells, and wait until they are told."""
        for _ in range(count):
            self._steps.release()
            assert self.told.acquire(timeout=SECONDS)

    def finish(self) -> None:
        """Compute all the others."""
        self._steps.release(CELLS)

    def __call__(self, progress: OnProgress) -> Result:
        self.runs += 1
        self.began.set()
        goes_on = progress(Progress(0, CELLS, self.values))
        for done in range(CELLS):
            if goes_on is False:
                break
            assert self._steps.acquire(timeout=SECONDS)
            self.values[0, done] = done
            goes_on = progress(Progress(done + 1, CELLS, self.values))
            self.told.release()
        return replace(self.result, details={"done": int(np.isfinite(self.values).sum())})


@pytest.fixture(scope="module")
def finished(model: Model) -> Result:
    return patch(model, pair_of([1, 2], [3, 2]))


@pytest.fixture
def desk() -> JobQueue:
    return JobQueue(at_once=2)


@pytest.fixture
def work(finished: Result) -> Generator[list[Work]]:
    some = [Work(finished) for _ in range(5)]
    yield some
    for one in some:
        one.finish()


def done(job: Job) -> int:
    assert job.wait(SECONDS)
    assert job.result is not None
    return int(job.result.details["done"])


def test_who_asks_for_the_same_gets_the_same_work(desk: JobQueue, work: list[Work]) -> None:
    first, second = desk.submit("a", work[0]), desk.submit("a", work[1])
    assert first is second
    work[0].finish()
    assert done(first) == CELLS
    assert desk.submit("a", work[1]) is first
    assert (work[0].runs, work[1].runs) == (1, 0)


def test_at_most_so_many_run_and_the_others_keep_their_order(
    desk: JobQueue, work: list[Work]
) -> None:
    asked = [desk.submit(str(i), one) for i, one in enumerate(work)]
    assert all(one.began.wait(SECONDS) for one in work[:2])
    assert [job.running for job in asked] == [True, True, False, False, False]
    assert [desk.queue_position(job) for job in asked] == [0, 0, 0, 1, 2]
    work[1].finish()
    assert work[2].began.wait(SECONDS)
    assert [desk.queue_position(job) for job in asked[2:]] == [0, 0, 1]
    assert not work[3].began.is_set()
    for one in work:
        one.finish()
    assert [done(job) for job in asked] == [CELLS] * 5


def test_stopping_keeps_what_is_finished(desk: JobQueue, work: list[Work]) -> None:
    job = desk.submit("a", work[0])
    work[0].step(3)
    assert not job.stopping
    job.stop()
    assert job.stopping
    work[0].step()
    assert done(job) == 4
    assert job.error is None


def test_who_comes_after_a_stop_gets_work_of_their_own(desk: JobQueue, work: list[Work]) -> None:
    stopped = desk.submit("a", work[0])
    work[0].step()
    stopped.stop()
    fresh = desk.submit("a", work[1])
    assert fresh is not stopped
    work[0].finish()
    assert done(stopped) < CELLS
    desk.unsubscribe(stopped)
    assert desk.submit("a", work[2]) is fresh, (
        "who leaves the old one does not take the new one along"
    )
    work[1].finish()
    assert done(fresh) == CELLS


def test_work_stops_when_the_last_one_leaves_and_not_before(
    desk: JobQueue, work: list[Work]
) -> None:
    job = desk.submit("a", work[0])
    desk.submit("a", work[0])
    work[0].step()
    desk.unsubscribe(job)
    assert not job.stopping
    desk.unsubscribe(job)
    assert job.stopping
    work[0].step()
    assert done(job) == 2
    assert desk.submit("a", work[1]) is not job


def test_who_stops_leaves_the_work_to_the_others_and_keeps_what_was_finished(
    desk: JobQueue, work: list[Work]
) -> None:
    job = desk.submit("a", work[0])
    assert desk.submit("a", work[0]) is job
    work[0].step(3)
    mine = desk.stop(job)
    assert mine is not job
    assert (mine.finished, mine.stopping, mine.result, mine.error) == (True, True, None, None)
    assert mine.progress is not None
    assert mine.progress.done == 3
    assert (job.finished, job.stopping) == (False, False)
    desk.unsubscribe(mine)
    desk.forget(mine)
    assert desk.submit("a", work[1]) is job, "who stopped may join again"
    assert desk.stop(job) is not job
    assert desk.stop(job) is job, "for the last one the work itself ends"
    work[0].finish()
    assert 3 <= done(job) < CELLS
    assert mine.progress.done == 3, "what was kept does not move on"


def test_who_stops_before_their_turn_waits_no_longer(desk: JobQueue, work: list[Work]) -> None:
    for i in range(2):
        desk.submit(str(i), work[i])
        assert work[i].began.wait(SECONDS)
    waiting = desk.submit("waiting", work[2])
    assert desk.stop(waiting) is waiting
    assert (waiting.finished, waiting.stopping, waiting.result) == (True, True, None)
    fresh = desk.submit("waiting", work[3])
    for one in work:
        one.finish()
    assert done(fresh) == CELLS
    assert (work[2].runs, waiting.result) == (0, None)


def test_work_that_began_just_before_it_was_cancelled_is_not_over_before_its_end(
    finished: Result,
) -> None:
    job, seen = Job("a"), list[bool]()

    def compute(_: OnProgress) -> Result:
        job.cancel()
        seen.append(job.finished)
        return finished

    job.run(compute)
    assert seen == [False]
    assert job.result is finished


def test_time_that_is_up_is_told_however_often_the_work_tells_of_itself(finished: Result) -> None:
    job = Job("a", seconds=-1.0)

    def compute(progress: OnProgress) -> Result:
        told = [progress(Progress(i, 2, np.zeros((1, 2)))) for i in range(3)]
        assert told == [False] * 3
        return finished

    job.run(compute)
    assert (job.timed_out, job.stopping) == (True, True)


def test_stopping_what_is_over_changes_nothing(desk: JobQueue, work: list[Work]) -> None:
    job = desk.submit("a", work[0])
    desk.submit("a", work[0])
    work[0].finish()
    assert done(job) == CELLS
    assert desk.stop(job) is job
    assert job.result is not None


def test_who_is_gone_leaves_everything_they_asked_for(desk: JobQueue, work: list[Work]) -> None:
    mine, ours = desk.submit("mine", work[0]), desk.submit("ours", work[1])
    desk.submit("ours", work[1])
    desk.unsubscribe_all([mine, ours])
    assert (mine.stopping, ours.stopping) == (True, False)


def test_work_that_everybody_left_before_its_turn_is_never_begun(
    desk: JobQueue, work: list[Work]
) -> None:
    for i in range(2):
        desk.submit(str(i), work[i])
    left, last = desk.submit("left", work[2]), desk.submit("last", work[3])
    assert desk.queue_position(last) == 1
    desk.unsubscribe(left)
    assert desk.queue_position(last) == 0
    for i in (0, 1, 3):
        work[i].finish()
    assert done(last) == CELLS
    assert left.wait(SECONDS)
    assert work[2].runs == 0


def test_leaving_what_is_finished_keeps_it_for_others(desk: JobQueue, work: list[Work]) -> None:
    job = desk.submit("a", work[0])
    work[0].finish()
    assert done(job) == CELLS
    desk.unsubscribe(job)
    assert desk.submit("a", work[1]) is job


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (InputError("The prompt is empty."), "The prompt is empty."),
        (ZeroDivisionError("a secret path"), "This should not have happened"),
        (MemoryError(), "This should not have happened"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_the_next_try_is_a_new_one(
    desk: JobQueue, work: list[Work], raised: Exception, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: OnProgress) -> Result:
        raise raised

    job = desk.submit("a", fails)
    assert job.wait(SECONDS)
    assert job.result is None
    assert isinstance(job.error, PatchwrightError)
    assert says in str(job.error)
    assert "secret" not in str(job.error)
    unexpected = not isinstance(raised, PatchwrightError)
    assert bool(caplog.records) == unexpected, "the server's owner sees what the visitor does not"
    again = desk.submit("a", work[0])
    assert again is not job
    work[0].finish()
    assert done(again) == CELLS


def test_one_too_many_is_turned_away_and_nothing_else(desk: JobQueue, work: list[Work]) -> None:
    for i in range(2):
        desk.submit(str(i), work[i])
        assert work[i].began.wait(SECONDS)
    waiting = [desk.submit(f"w{i}", work[2]) for i in range(jobs.MOST_WAITING)]
    with pytest.raises(
        QueueFullError, match=f"{jobs.MOST_WAITING} experiments are already waiting"
    ):
        desk.submit("one more", work[3])
    assert desk.submit("w3", work[3]) is waiting[3], "to join is no burden"
    for job in waiting[:-1]:
        desk.unsubscribe(job)
    desk.unsubscribe(waiting[3])
    desk.submit("one more", work[3])


def test_old_results_are_forgotten_and_those_asked_for_again_kept(finished: Result) -> None:
    desk = JobQueue(at_once=1, kept=3)
    runs: list[str] = []

    def ask(key: str) -> Job:
        def compute(_: OnProgress) -> Result:
            runs.append(key)
            return finished

        job = desk.submit(key, compute)
        assert job.wait(SECONDS)
        return job

    for key in "abcadbe":
        ask(key)
    assert runs == ["a", "b", "c", "d", "b", "e"], "a was asked for again, so b and then c went"
    ask("a")
    assert runs[6:] == ["a"]


def test_what_is_forgotten_is_computed_anew(desk: JobQueue, work: list[Work]) -> None:
    job = desk.submit("a", work[0])
    work[0].finish()
    assert done(job) == CELLS
    desk.forget(job)
    fresh = desk.submit("a", work[1])
    assert fresh is not job
    desk.forget(job)
    assert desk.submit("a", work[2]) is fresh, "to forget twice does not forget another"


def test_snapshots_stay_as_they_were(desk: JobQueue, work: list[Work]) -> None:
    job = desk.submit("a", work[0])
    work[0].step(2)
    early = job.progress
    assert early is not None
    work[0].step(3)
    late = job.progress
    assert late is not None
    assert (np.isfinite(early.patched).sum(), np.isfinite(late.patched).sum()) == (2, 5)
    assert (early.done, late.done, late.total) == (2, 5, CELLS)


def test_estimates_in_a_snapshot_are_copies_too() -> None:
    job = Job("a")
    estimate = np.zeros((1, 3))
    job.run(lambda progress: progress(Progress(0, 3, estimate, estimate)) and None)  # pyright: ignore
    assert job.progress is not None
    assert job.progress.estimate is not None
    estimate += 1
    assert job.progress.estimate.sum() == job.progress.patched.sum() == 0


def test_the_time_left_goes_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(jobs, "monotonic", lambda: now[0])
    job, left = Job("a"), list[float | None]()
    values = np.zeros((1, 30))

    def compute(progress: OnProgress) -> Any:
        left.append(job.seconds_left)
        for cells in (10, 10, 15, 30):
            progress(Progress(cells, 30, values))
            left.append(job.seconds_left)
            now[0] += 2

    job.run(compute)
    # The first 10 cost nothing. After 4 seconds 5 are done and 15 are left; at the end none.
    assert left == [None, None, None, pytest.approx(12.0), 0.0]


def test_a_sweep_behind_the_desk_gives_what_it_gives_in_front_of_it(
    desk: JobQueue, model: Model
) -> None:
    experiment = Patch(model="tiny", pairs=pair_of([1, 2, 3], [1, 5, 3]), per="position")
    job = desk.submit("a", lambda progress: run(experiment, model, progress))
    assert job.wait(SECONDS)
    assert job.result is not None
    straight = run(experiment, model)
    np.testing.assert_array_equal(job.result.patched, straight.patched)
    assert job.progress is not None
    np.testing.assert_array_equal(job.progress.patched[0], straight.patched)


def test_many_visitors_who_come_and_go_never_break_the_desk(finished: Result) -> None:
    desk = JobQueue(at_once=3, kept=4)
    running, most, wrong = [0], [0], list[str]()
    lock = threading.Lock()

    def compute(key: str) -> jobs.Compute:
        def work(progress: OnProgress) -> Result:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            values = np.full((1, 20), np.nan)
            for i in range(20):
                if progress(Progress(i, 20, values)) is False:
                    break
            with lock:
                running[0] -= 1
            return replace(finished, details={"key": key})

        return work

    def visit(seed: int) -> None:
        choose = np.random.default_rng(seed)
        for _ in range(60):
            key = str(choose.integers(8))
            try:
                job = desk.submit(key, compute(key))
            except QueueFullError:
                continue
            what = choose.integers(5)
            if what == 0:
                job.stop()
            elif what == 1:
                desk.forget(job)
            if what < 4:
                if not job.wait(SECONDS):
                    wrong.append(f"{key}: never over")
                elif job.result is None or job.result.details["key"] != key:
                    wrong.append(f"{key}: {job.error or job.result}")
            desk.queue_position(job)
            desk.unsubscribe(job)

    visitors = [threading.Thread(target=visit, args=(seed,)) for seed in range(16)]
    for one in visitors:
        one.start()
    for one in visitors:
        one.join(SECONDS * 2)
        assert not one.is_alive()
    assert wrong == []
    assert 1 <= most[0] <= 3
