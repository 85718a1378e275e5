"""The run store's layout, in numbered steps: a store of any older version is brought up to date.

A step never changes once it is published: what comes later is a new step.
SQLite's `user_version` says how many of them a file has had.
"""

import sqlite3
from collections.abc import Sequence

from patchwright.errors import StoreError

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

STEPS: tuple[Sequence[str], ...] = (RUNS, NOTES_AND_FAILURES, JOBS)


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
                for statement in STEPS[version]:
                    connection.execute(statement)
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
