"""Stores of every version: from blank, from each older layout, from a newer one."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from handmade_results import made
from patchwright.errors import StoreError
from patchwright.hashing import canonical_json, hash_of
from patchwright.methods.patch import Patch
from patchwright.storage import migrations
from patchwright.storage.database import FILE_NAME
from patchwright.storage.job_store import JobStore
from patchwright.storage.serialization import Record, record_of
from patchwright.storage.store import Store
from patchwright.warnings import Notice

LATEST = len(migrations.STEPS)
IDENTIFIED = 4
"""The first layout whose hashes cover what differs from the defaults alone."""


def layout(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()


def store_of_version(folder: Path, version: int) -> Path:
    """A store as an older Patchwright left it, with a run where it could hold one."""
    path = folder / FILE_NAME
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for step in migrations.STEPS[:version]:
            migrations.apply_step(connection, step)
        connection.execute(f"PRAGMA user_version = {version}")
        if version:
            one = record_of(made([[0.25, 0.5]]), "2026-01-02T03:04:05.000006+00:00")
            insert_run(connection, version < IDENTIFIED, one)
    return path


def earlier_names(one: Record) -> dict[str, str]:
    """The hash and the id that layouts before `IDENTIFIED` give a run."""
    experiment = hash_of(one.content["experiment"])
    names = [experiment, one.fingerprint, one.device, one.version]
    return {"experiment_hash": experiment, "id": hash_of(names)[:16]}


def insert_run(
    connection: sqlite3.Connection,
    earlier: bool,
    one: Record,
    **more: str,
) -> dict[str, str]:
    names = {"experiment_hash": one.experiment_hash, "id": one.id}
    names = earlier_names(one) if earlier else names
    values = {
        **{
            name: getattr(one, name)
            for name in (
                "fingerprint device version method model about search seconds whole created document "
                "arrays digest"
            ).split()
        },
        **names,
        **more,
    }
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO runs ({columns}) VALUES ({marks})", (*values.values(),))
    return names


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
    assert layout(path) == layout(tmp_path / "blank" / FILE_NAME)


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
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (LATEST + 3,)
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_runs_that_are_one_under_todays_names_become_one_with_its_jobs_and_notes(
    tmp_path: Path,
) -> None:
    """The same sweep in two orders and of two releases; a server's jobs; what could not be done."""
    plain = replace(made([[0.25, 0.5]]), numbers=1)
    ordered = replace(made([[0.25, 0.5]], order="attribution"), numbers=1)
    stopped: Notice = {"code": "stopped", "message": "The sweep was stopped."}
    other = made([[0.75, 0.5]], site="mlp_out")
    records = [
        (record_of(plain, "2026-01-01T00:00:00+00:00"), "from the command line"),
        (record_of(ordered, "2026-01-02T00:00:00+00:00"), "from the page"),
        (record_of(replace(ordered, warnings=[stopped]), "2026-01-03T00:00:00+00:00"), ""),
        (record_of(replace(other, numbers=1), "2026-01-04T00:00:00+00:00"), "another"),
    ]
    path = store_of_version(tmp_path, IDENTIFIED - 1)
    unknown = {"method": "telepathy", "model": "m"}
    failed = records[1][0].content["experiment"]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM runs")
        for number, (one, note) in enumerate(records):
            id_ = {} if number != 2 else {"id": "00112233445566aa"}  # of another release
            names = insert_run(connection, True, one, note=note, **id_)
            job = (f"job{number}", names["experiment_hash"], "m", "done", "", "2026", None)
            connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)", job)
        for moment, experiment in (("1", plain.experiment), ("2", failed), ("3", unknown)):
            row = (hash_of(experiment), canonical_json(experiment), f"reason {moment}", moment)
            connection.execute("INSERT INTO failures VALUES (?, ?, ?, ?)", row)
    store = JobStore(tmp_path)
    apart, one = store.entries()
    assert (apart.id, one.id) == (records[3][0].id, records[0][0].id)
    assert (one.created[:10], one.whole) == ("2026-01-02", True)
    assert one.note == "from the page\nfrom the command line"
    assert [entry.id for entry in store.entries(one.id)] == [one.id]
    assert one.experiment_hash == Patch.of(plain.experiment).hash
    for number in range(4):
        job = store.job(f"job{number}")
        assert job is not None
        assert job.experiment_hash == (apart if number == 3 else one).experiment_hash
    reasons = {failure.experiment_hash: failure.reason for failure in store.failures()}
    assert reasons == {one.experiment_hash: "reason 2", hash_of(unknown): "reason 3"}
