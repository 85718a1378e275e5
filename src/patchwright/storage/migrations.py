"""The run store's layout, in numbered steps: a store of any older version is brought up to date.

A step never changes once it is published: what comes later is a new step.
SQLite's `user_version` says how many of them a file has had.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from patchwright.errors import ExperimentError, StoreError

RUNS = (
    # `document` is the Result as JSON but for its arrays, which are an .npz in `arrays`;
    # `digest` is over both. The other columns repeat what the document says, to search by.
    """
    CREATE TABLE runs (
        id TEXT NOT NULL PRIMARY KEY,
        experiment_hash TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        device TEXT NOT NULL,
        version TEXT NOT NULL,
        method TEXT NOT NULL,
        model TEXT NOT NULL,
        about TEXT NOT NULL,
        search TEXT NOT NULL,
        seconds REAL NOT NULL,
        whole INTEGER NOT NULL,
        created TEXT NOT NULL,
        document TEXT NOT NULL,
        arrays BLOB NOT NULL,
        digest TEXT NOT NULL
    )
    """,
    "CREATE INDEX runs_by_experiment ON runs (experiment_hash, fingerprint)",
    "CREATE INDEX runs_by_time ON runs (created DESC, id)",
)

NOTES_AND_FAILURES = (
    "ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    # When it was deleted; null: it was not. Deleted runs can be brought back until `prune`.
    "ALTER TABLE runs ADD COLUMN deleted TEXT",
    """
    CREATE TABLE failures (
        experiment_hash TEXT NOT NULL PRIMARY KEY,
        experiment TEXT NOT NULL,
        reason TEXT NOT NULL,
        created TEXT NOT NULL
    )
    """,
)

JOBS = (
    # What a server was asked for; `state` is open, done, stopped, failed or lost.
    """
    CREATE TABLE jobs (
        id TEXT NOT NULL PRIMARY KEY,
        experiment_hash TEXT NOT NULL,
        model TEXT NOT NULL,
        state TEXT NOT NULL,
        message TEXT NOT NULL,
        created TEXT NOT NULL,
        ended TEXT
    )
    """,
)

IDENTITY = (
    # Of the method's numbers; earlier runs are of version 1.
    "ALTER TABLE runs ADD COLUMN numbers INTEGER NOT NULL DEFAULT 1",
    # computed (here), imported (from an archive), or trusted (an imported one that answers).
    "ALTER TABLE runs ADD COLUMN origin TEXT NOT NULL DEFAULT 'computed'",
)


def _rehash_experiments(connection: sqlite3.Connection) -> None:
    """Name experiments by what they ask for, and runs by that, their model and their numbers.

    Before, an experiment's hash had all of its fields, defaults and hints too, and a run's
    id the version of the package. Runs that are now one are made one: the whole before the
    stopped, then the newest; their notes are joined. Jobs and failures follow their experiments.
    """
    for statement in IDENTITY:
        connection.execute(statement)
    hashes = _changed_hashes(connection, "runs", "json_extract(document, '$.experiment')")
    hashes |= _changed_hashes(connection, "failures", "experiment")
    _rename_runs(connection, hashes)
    for old, new in hashes.items():
        connection.execute(
            "UPDATE jobs SET experiment_hash = ? WHERE experiment_hash = ?", (new, old)
        )
        # Of two failures of one experiment the later one stays: they come in the order of time.
        connection.execute(
            "UPDATE OR REPLACE failures SET experiment_hash = ? WHERE experiment_hash = ?",
            (new, old),
        )


def _changed_hashes(connection: sqlite3.Connection, table: str, experiment: str) -> dict[str, str]:
    """Hashes that change: the old ones, and the new."""
    from patchwright.methods import METHODS

    found: dict[str, str] = {}
    sql = f"SELECT experiment_hash, {experiment} FROM {table} ORDER BY created"
    for old, document in connection.execute(sql):
        try:
            found[old] = METHODS.parse(document).hash
        except ExperimentError:
            # No experiment of this Patchwright: it keeps its name, stays listed, answers nothing.
            continue
    return {old: new for old, new in found.items() if new != old}


def _rename_runs(connection: sqlite3.Connection, hashes: dict[str, str]) -> None:
    """Give runs their new hash and id, and make one of those that have the same."""
    from patchwright.storage.serialization import run_id

    sql = (
        "SELECT id, experiment_hash, fingerprint, device, search, note FROM runs "
        "ORDER BY deleted IS NULL DESC, whole DESC, created DESC"
    )
    same: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in connection.execute(sql):
        _, old_hash, fingerprint, device, _, _ = row
        if old_hash in hashes:
            same[run_id(hashes[old_hash], fingerprint, device, 1)].append(row)
    for new_id, (kept, *others) in same.items():
        connection.executemany("DELETE FROM runs WHERE id = ?", [(one[0],) for one in others])
        old_id, old_hash, *_, search, _ = kept
        notes = dict.fromkeys(one[-1] for one in (kept, *others) if one[-1])
        connection.execute(
            "UPDATE runs SET id = ?, experiment_hash = ?, search = ?, note = ? WHERE id = ?",
            (new_id, hashes[old_hash], search.replace(old_id, new_id), "\n".join(notes), old_id),
        )


Step = Sequence[str] | Callable[[sqlite3.Connection], None]

STEPS: tuple[Step, ...] = (RUNS, NOTES_AND_FAILURES, JOBS, _rehash_experiments)


def apply_step(connection: sqlite3.Connection, step: Step) -> None:
    """Take one step: statements, or what statements alone cannot do."""
    if callable(step):
        step(connection)
        return
    for statement in step:
        connection.execute(statement)


def migrate(connection: sqlite3.Connection) -> None:
    """Take the steps that the store has not had, each whole or not at all.

    The connection is in autocommit mode. Raises StoreError for a store of a newer version.
    """
    if _version(connection) == len(STEPS):
        return
    # One process at a time: whoever waited here finds the work done.
    while (version := _version(connection)) < len(STEPS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection) == version:
                apply_step(connection, STEPS[version])
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    if version > len(STEPS):
        raise StoreError(
            f"The run store was written by a newer Patchwright (layout {version}; this one knows "
            f"up to {len(STEPS)}). Update with `pip install -U patchwright`, or name another "
            "folder in PATCHWRIGHT_HOME."
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
