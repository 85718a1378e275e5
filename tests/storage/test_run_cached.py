"""Experiments answered from the run store."""

from pathlib import Path

import pytest

import patchwright as pw
from patchwright.experiment.run import run
from patchwright.storage.run_cached import run_cached
from patchwright.storage.store import Store
from tiny import pair_of

ASKED = pw.Patch(model="tiny", pairs=pair_of([1, 2, 3], [1, 4, 3]), per="position")


def test_the_second_answer_is_the_first_ones_letter_by_letter(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, stored = run_cached(ASKED, model, Store())
    assert not stored
    monkeypatch.delattr("patchwright.storage.run_cached.run")
    second, stored = run_cached(ASKED, model, Store())
    assert stored
    assert second.to_json() == first.to_json()


def test_without_a_store_nothing_is_kept(model: pw.Model, home: Path) -> None:
    result, stored = run_cached(ASKED, model, None)
    assert (stored, home.exists()) == (False, False)
    assert result.patched.identical(run(ASKED, model).patched)


def test_a_stopped_run_is_computed_again(model: pw.Model) -> None:
    neurons = ASKED.model_copy(update={"site": "mlp_act", "per": "neuron", "layers": (0, 1)})
    stopped, _ = run_cached(neurons, model, Store(), lambda _: False)
    assert "stopped" in [notice["code"] for notice in stopped.warnings]
    whole, stored = run_cached(neurons, model, Store())
    assert (stored, bool(whole.patched.isnull().any())) == (False, False)
    assert run_cached(neurons, model, Store())[1]


@pytest.mark.parametrize("there", ["file", "newer"])
def test_a_store_that_fails_costs_no_result(model: pw.Model, tmp_path: Path, there: str) -> None:
    folder = tmp_path / "store"
    if there == "file":
        folder.write_text("mine", encoding="utf-8")
    else:
        import sqlite3

        folder.mkdir()
        with sqlite3.connect(folder / "runs.sqlite3") as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        (folder / "runs.sqlite3").chmod(0o600)
    store = Store(folder)
    result, stored = run_cached(ASKED, model, store)
    assert not stored
    assert result.patched.identical(run(ASKED, model).patched)
    (said,) = store.notices
    assert "PATCHWRIGHT_HOME" in said
