"""Stores of every version: from blank, from each older layout, from a newer one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from made import made
from patchwright.errors import StoreError
from patchwright.keep import migrations
from patchwright.keep.record import record_of
from patchwright.keep.store import FILE, Store

LATEST = len(migrations.STEPS)


def layout(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()


def store_of_version(folder: Path, version: int) -> Path:
    """A store as an older Patchwright left it, with a run where it could hold one."""
    path = folder / FILE
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for step in migrations.STEPS[:version]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
        if version:
            insert_run(connection)
    return path


def insert_run(connection: sqlite3.Connection) -> None:
    one = record_of(made([[0.25, 0.5]]), "2026-01-02T03:04:05.000006+00:00")
    values = {
        **{name: getattr(one, name) for name in ("id", "experiment_hash", "fingerprint", "device")},
        **{name: getattr(one, name) for name in ("version", "about", "search", "created")},
        **{name: getattr(one, name) for name in ("document", "arrays", "digest")},
        "method": "patch",
        "model": "m",
        "seconds": 1.0,
        "whole": 1,
    }
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", (*values.values(),))


@pytest.mark.parametrize("version", range(LATEST + 1))
def test_a_store_of_any_older_version_becomes_the_latest_and_keeps_its_runs(
    tmp_path: Path, version: int
) -> None:
    path = store_of_version(tmp_path, version)
    store = Store(tmp_path)
    kept = store.entries()
    assert [one.created for one in kept] == ["2026-01-02T03:04:05.000006+00:00"] * bool(version)
    for one in kept:
        assert store.get(one.id).effect.values.tolist() == [[0.25, 0.5]]
        store.note(one.id, "still here")
        assert store.entry(one.id).note == "still here"
    (tmp_path / "blank").mkdir()
    Store(tmp_path / "blank").save(made([[0.5]]))
    assert layout(path) == layout(tmp_path / "blank" / FILE)


def test_a_step_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store_of_version(tmp_path, LATEST)
    before = layout(path)
    bad = ("CREATE TABLE more (id TEXT)", "CREATE TABLE runs (id TEXT)")
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, bad))
    with pytest.raises(StoreError, match="already exists"):
        Store(tmp_path).entries()
    monkeypatch.undo()
    assert layout(path) == before
    assert len(Store(tmp_path).entries()) == 1


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = store_of_version(tmp_path, LATEST)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {LATEST + 3}")
    with pytest.raises(StoreError, match=rf"newer Patchwright \(layout {LATEST + 3}.*pip install"):
        Store(tmp_path).save(made([[0.5]]))
    assert [file.name for file in tmp_path.iterdir()] == [FILE]
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (LATEST + 3,)
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
