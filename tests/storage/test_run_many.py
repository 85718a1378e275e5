"""Many experiments: nothing done twice, nothing lost, a failure ends only its own."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import patchwright as pw
from patchwright.errors import StoreError
from patchwright.experiment.base import Experiment
from patchwright.experiment.batching import Batch, Outcome, run_batch
from patchwright.experiment.run import run
from patchwright.storage import batch_runner
from patchwright.storage.batch_runner import BatchStatus, run_many
from patchwright.storage.store import Store
from tiny import pair_of


def asked(number: int, **changes: Any) -> pw.Patch:
    """An experiment on a pair of its own, on the model `tiny`."""
    pair = pair_of([number, 2, 3], [number, 4, 3])
    return pw.Patch.of({"model": "tiny", "pairs": pair, "per": "position"} | changes)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes of the experiments that have been run, in turn."""
    found: list[str] = []

    def watched(batch: Batch, *given: Any) -> Iterator[Outcome]:
        for outcome in run_batch(batch, *given):
            found.append(batch.experiments[batch.indices.index(outcome.index)].hash)
            yield outcome

    monkeypatch.setattr(batch_runner, "run_batch", watched)
    return found


def hashes(experiments: list[pw.Patch]) -> list[str]:
    return [one.hash for one in experiments]


def test_every_result_is_in_the_store_with_the_numbers_of_run(model: pw.Model) -> None:
    store = Store()
    experiments = [asked(i) for i in range(5)]
    trace = pw.Trace(model="tiny", prompt=(1, 2, 3), subject=(1,), answer=(7,), samples=2)
    every: list[Experiment] = [*experiments, trace]
    status = run_many(every, model, store=store)
    assert status == BatchStatus(total=6, done=6)
    for one in every:
        found = store.find(one, model.fingerprint, "cpu")
        assert found is not None
        straight = run(one, model)
        np.testing.assert_allclose(found.patched, straight.patched, rtol=1e-12, atol=1e-12)
        assert found.experiment == straight.experiment


def test_the_second_time_nothing_is_done(model: pw.Model, ran: list[str]) -> None:
    store, experiments = Store(), [asked(i) for i in range(4)]
    run_many(experiments[:2], model, store=store)
    assert run_many(experiments, model, store=store) == BatchStatus(total=4, stored=2, done=2)
    assert run_many(experiments, model, store=store) == BatchStatus(total=4, stored=4)
    assert sorted(ran) == sorted(hashes(experiments))


def test_an_experiment_that_is_listed_twice_is_done_once(model: pw.Model, ran: list[str]) -> None:
    status = run_many([asked(1), asked(2), asked(1)], model, store=Store())
    assert status == BatchStatus(total=3, stored=1, done=2)
    assert ran == hashes([asked(1), asked(2)])


def test_a_failing_experiment_is_noted_with_its_reason_and_ends_nothing(model: pw.Model) -> None:
    store = Store()
    bad = [asked(1, pairs=pair_of([1, 2], [1, 2])), asked(2, positions=(9,))]
    status = run_many([bad[0], asked(3), bad[1], asked(4)], model, store=store)
    assert (status.done, set(status.failed)) == (2, {0, 2})
    assert "are the same tokens" in status.failed[0]
    reasons = {one.experiment_hash: one.reason for one in store.failures()}
    assert reasons == {bad[0].hash: status.failed[0], bad[1].hash: status.failed[2]}
    again = run_many([bad[0], asked(3)], model, store=store)
    assert (again.stored, set(again.failed)) == (1, {0})


def test_what_nobody_foresaw_is_a_reason_too(model: pw.Model) -> None:
    def broken(batches: Sequence[Batch], model: pw.Model) -> Iterator[Outcome]:
        yield Outcome(batches[0].indices[0], run(batches[0].experiments[0], model), None)
        raise ZeroDivisionError("by what?")

    status = run_many([asked(1), asked(2)], model, store=Store(), runner=broken)
    assert status.done == 1
    assert status.failed == {1: "This should not have happened: ZeroDivisionError: by what?"}


def test_stopping_keeps_what_is_finished_and_the_same_call_goes_on(
    model: pw.Model, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_runner, "WAIT", -1.0)
    store, experiments = Store(), [asked(i, layers=(i % 3,)) for i in range(9)]
    first = run_many(experiments, model, store=store, progress=lambda now: now.done < 4)
    assert first.stopped
    assert 4 <= first.done < 9
    assert len(store.entries()) == first.done
    second = run_many(experiments, model, store=store)
    assert second == BatchStatus(total=9, stored=first.done, done=9 - first.done)
    assert len(store.entries()) == 9


@pytest.mark.parametrize("after", range(5))
def test_dying_at_any_result_loses_none_that_is_counted(
    model: pw.Model, ran: list[str], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(batch_runner, "WAIT", -1.0)
    store, experiments = Store(), [asked(i) for i in range(5)]
    counted = 0

    def watch(now: BatchStatus) -> None:
        nonlocal counted
        counted = now.done
        if now.done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_many(experiments, model, store=store, progress=watch)
    assert counted == after
    assert len(store.entries()) >= after
    run_many(experiments, model, store=store)
    assert {one.experiment_hash for one in store.entries()} == set(hashes(experiments))


def test_models_are_loaded_once_each_in_turn(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    loaded: list[tuple[str, str, str, str | None]] = []

    def load(name: str, device: str, dtype: str, revision: str | None) -> pw.Model:
        loaded.append((name, device, dtype, revision))
        if name == "missing":
            raise pw.PatchwrightError("There is no such model.")
        return replace(model, name=name, revision=revision)

    monkeypatch.setattr(batch_runner, "load_model", load)
    names = ["a", "tiny", "missing", "a", "b"]
    experiments = [asked(i, model=name) for i, name in enumerate(names)]
    experiments.append(asked(9, model="a", revision="r"))
    status = run_many(experiments, model, store=Store(), device="cpu", dtype="float64")
    assert loaded == [
        *(("a", "cpu", "float64", None), ("missing", "cpu", "float64", None)),
        *(("b", "cpu", "float64", None), ("a", "cpu", "float64", "r")),
    ]
    assert (status.done, status.failed) == (5, {2: "There is no such model."})


def test_progress_tells_of_what_is_kept_and_ends_at_the_total(model: pw.Model) -> None:
    store = Store()
    seen: list[tuple[int, int]] = []

    def watch(now: BatchStatus) -> None:
        seen.append((now.done, len(store.entries())))

    run_many([asked(i, layers=(i,)) for i in range(3)], model, store=store, progress=watch)
    assert all(done == kept for done, kept in seen)
    assert seen[-1] == (3, 3)


def test_a_store_that_cannot_be_written_ends_the_run(model: pw.Model, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(StoreError, match="PATCHWRIGHT_HOME"):
        run_many([asked(1)], model, store=Store(tmp_path / "file"))


def test_nothing_to_do_is_done(model: pw.Model) -> None:
    assert run_many([], model, store=Store()) == BatchStatus(total=0)
