"""The run store of a server: with what it was asked to do, so that no job is lost silently."""

import sqlite3
from collections.abc import Collection
from dataclasses import astuple, dataclass
from datetime import timedelta

from patchwright.storage.store import ANSWERS, CURRENT, Store, ago, now

JOB_RETENTION = timedelta(days=30)
"""How long what became of a job can be asked for."""

LOST_MESSAGE = "The server ended before this job did. What it had finished is gone: ask again."


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
        self._query("SELECT 1 FROM jobs LIMIT 1")

    def put_job(self, record: JobRecord) -> None:
        """Keep a job as it is now."""
        sql = "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)"
        self._execute_many(sql, [astuple(record)])

    def job(self, name: str) -> JobRecord | None:
        """The job of that id, if there was one."""
        rows = self._query("SELECT * FROM jobs WHERE id = ?", name)
        return JobRecord(*rows[0]) if rows else None

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

        def close_jobs(connection: sqlite3.Connection) -> int:
            connection.execute(kept, (moment,))
            connection.execute("DELETE FROM jobs WHERE created < ?", (ago(JOB_RETENTION),))
            return connection.execute(lost, (LOST_MESSAGE, moment)).rowcount

        return self._in_transaction(close_jobs)

    def run_id_of(self, experiment_hash: str, fingerprints: Collection[str]) -> str | None:
        """The id of the best run of an experiment on one of these models: a whole one, the newest."""
        marks = ", ".join("?" * len(fingerprints))
        sql = (
            f"SELECT id FROM runs WHERE experiment_hash = ? AND fingerprint IN ({marks}) AND "
            f"{CURRENT} ORDER BY whole DESC, created DESC LIMIT 1"
        )
        rows = self._query(sql, experiment_hash, *fingerprints)
        return str(rows[0]["id"]) if rows else None
