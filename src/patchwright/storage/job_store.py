"""The run store of a server: with what it was asked to do, so that no job is lost silently."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from patchwright.storage.store import ANSWERS, CURRENT, Store

REMEMBERED = timedelta(days=30)
"""How long what became of a job can be asked for."""

LOST = "The server ended before this job did. What it had finished is gone: ask again."


@dataclass(frozen=True)
class JobRecord:
    """A job: `state` is open, done, stopped, failed or lost; moments in UTC, ISO 8601."""

    id: str
    experiment_hash: str
    model: str
    state: str
    message: str
    created: str
    ended: str | None


class JobStore(Store):
    """A run store that keeps a server's jobs too. Raises StoreError as `Store` does."""

    def check(self) -> None:
        """Raise StoreError where nothing can be looked up."""
        self._read(lambda c: c.execute("SELECT 1 FROM jobs LIMIT 1").fetchone(), None)

    def put_job(self, record: JobRecord) -> None:
        """Keep a job as it is now."""
        values = tuple(getattr(record, name) for name in JobRecord.__dataclass_fields__)
        self._write(
            lambda c: c.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        )

    def job(self, name: str) -> JobRecord | None:
        """The job of that id, if there was one."""
        sql = "SELECT * FROM jobs WHERE id = ?"
        row = self._read(lambda c: c.execute(sql, (name,)).fetchone(), None)
        return None if row is None else JobRecord(*row)

    def recover_jobs(self) -> int:
        """Close the jobs that an earlier server left open; how many are lost.

        Those whose result was kept are done. Jobs of long ago are forgotten.
        """
        moment = now()
        kept = (
            "UPDATE jobs SET state = 'done', ended = ? WHERE state = 'open' AND EXISTS (SELECT 1 "
            "FROM runs WHERE runs.experiment_hash = jobs.experiment_hash "
            f"AND runs.created >= jobs.created AND {ANSWERS})"
        )
        lost = "UPDATE jobs SET state = 'lost', message = ?, ended = ? WHERE state = 'open'"
        old = (datetime.now(UTC) - REMEMBERED).isoformat(timespec="microseconds")

        def closed(connection: sqlite3.Connection) -> int:
            connection.execute(kept, (moment,))
            connection.execute("DELETE FROM jobs WHERE created < ?", (old,))
            return connection.execute(lost, (LOST, moment)).rowcount

        return self._write(closed)

    def run_of(self, experiment_hash: str, fingerprints: Collection[str]) -> str | None:
        """The id of the best run of an experiment on one of these models: a whole one, the newest."""
        marks = ", ".join("?" * len(fingerprints))
        sql = (
            f"SELECT id FROM runs WHERE experiment_hash = ? AND fingerprint IN ({marks}) AND "
            f"{CURRENT} ORDER BY whole DESC, created DESC LIMIT 1"
        )
        asked = (experiment_hash, *fingerprints)
        row = self._read(lambda c: c.execute(sql, asked).fetchone(), None)
        return None if row is None else str(row[0])


def now() -> str:
    """This moment in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
