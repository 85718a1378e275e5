"""The run store: every Result once computed, in one SQLite file of the user's.

A run is acknowledged (`save` has returned) once it is on the disk.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from patchwright.atomic_files import home, open_atomic
from patchwright.errors import InputError, StoreError, UnknownRunError, quoted
from patchwright.hashing import canonical_json
from patchwright.storage.archive import read_archive, write_archive
from patchwright.storage.database import BUSY_TIMEOUT, Database
from patchwright.storage.serialization import (
    Origin,
    Record,
    device_kind,
    id_of,
    record_of,
    result_in,
)

if TYPE_CHECKING:
    from patchwright.algorithms.result import Result
    from patchwright.experiment.base import Experiment

MOST_WORDS = 50
"""Words of a search."""

_COLUMNS = (
    "id experiment_hash fingerprint device version method model about search seconds whole created "
    "document arrays digest note numbers origin"
).split()
"""What is kept of a `Record`, by the names that it has there."""

_SELECT_RECORDS = f"SELECT {', '.join(_COLUMNS)} FROM runs"
_SELECT_ENTRIES = (
    "SELECT id, method, model, about, created, seconds, whole, note, deleted, experiment_hash, "
    "fingerprint, device, version, origin, length(document) + length(arrays) AS size FROM runs"
)
CURRENT = "deleted IS NULL AND origin <> 'imported' AND numbers = current_numbers(method)"
"""Runs whose numbers count as this Patchwright's own, as a condition of SQL."""

ANSWERS = f"whole AND {CURRENT}"
"""Runs that answer their experiment, as a condition of SQL."""

_TRUST: tuple[Origin, ...] = ("imported", "trusted", "computed")
"""Where runs come from, the most trusted last."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Entry:
    """A run in a list: everything but its numbers.

    `created` and `deleted` are in UTC, ISO 8601; `whole` is False where it was stopped
    before its end; `origin` tells imported runs; `size` is in bytes.
    """

    id: str
    method: str
    model: str
    about: str
    created: str
    seconds: float
    whole: bool
    note: str
    deleted: str | None
    experiment_hash: str
    fingerprint: str
    device: str
    version: str
    origin: Origin
    size: int


@dataclass(frozen=True)
class Failure:
    """An experiment that could not be done, and the sentence that says why."""

    experiment_hash: str
    experiment: str
    reason: str
    created: str


class Store(Database):
    """Runs in `folder`; without one, the user's own (`home`). Methods raise as `Database` says."""

    def __init__(self, folder: str | Path | None = None, busy: float = BUSY_TIMEOUT) -> None:
        super().__init__(home() if folder is None else Path(folder), busy)

    def save(self, result: "Result") -> str:
        """Keep `result`; its id. Once this returns, the run is on the disk.

        It replaces a run with the same id, but a stopped run never replaces a complete one.
        """
        return self.save_all([result])[0]

    def save_all(self, results: Sequence["Result"]) -> list[str]:
        """Keep all of them or none, as `save` does, with one wait for the disk; their ids."""
        records = [record_of(one, now()) for one in results]
        self._in_transaction(lambda connection: [_insert_run(connection, one) for one in records])
        return [one.id for one in records]

    def find(
        self, experiment: "Experiment", fingerprint: str, device: str | None = None
    ) -> "Result | None":
        """The whole result of this experiment on this model, if there is one.

        It must have the current version of the method's numbers and, if one is named, be from this
        kind of device, because others may differ in the last digits. Imported runs are only
        used if they are trusted.
        """
        return self._look_up(experiment, fingerprint, device, result_in)

    def has(self, experiment: "Experiment", fingerprint: str, device: str | None = None) -> bool:
        """Whether there is what `find` would read, undamaged: nothing is decoded."""
        return self._look_up(experiment, fingerprint, device, lambda record: record) is not None

    def _look_up(
        self,
        experiment: "Experiment",
        fingerprint: str,
        device: str | None,
        read: Callable[[Record], _T],
    ) -> _T | None:
        kind = None if device is None else device_kind(device)
        rows = self._query(
            f"{_SELECT_RECORDS} WHERE experiment_hash = ? AND fingerprint = ? AND "
            f"(? IS NULL OR device = ?) AND {ANSWERS} ORDER BY created DESC LIMIT 1",
            *(experiment.hash, fingerprint, kind, kind),
        )
        try:
            return read(_read_record(rows[0])) if rows else None
        except StoreError as error:
            self.notices.append(str(error))
            return None

    def known(self, fingerprint: str, device: str | None = None) -> set[str]:
        """The hashes of all experiments that `find` would find for this model."""
        kind = None if device is None else device_kind(device)
        rows = self._query(
            "SELECT experiment_hash FROM runs WHERE fingerprint = ? AND "
            f"(? IS NULL OR device = ?) AND {ANSWERS}",
            *(fingerprint, kind, kind),
        )
        return {hash_ for (hash_,) in rows}

    def experiment(self, beginning: str) -> dict[str, Any]:
        """The only experiment whose hash begins with this, as JSON; no numbers are read.

        Raises UnknownRunError where runs of none, or of several, are kept.
        """
        sql = (
            "SELECT experiment_hash, min(json_extract(document, '$.experiment')) FROM runs "
            "WHERE experiment_hash >= ? AND experiment_hash < ? AND deleted IS NULL "
            "GROUP BY experiment_hash LIMIT 2"
        )
        # Behind every hexadecimal digit: the index serves a range, not a pattern.
        rows = self._query(sql, beginning, f"{beginning}g") if beginning else []
        if len(rows) != 1:
            what = "several experiments" if rows else "no experiment"
            raise UnknownRunError(f"The run store has {what} whose hash begins with '{beginning}'.")
        return json.loads(rows[0][1])

    def experiments(self, runs: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The experiments of runs, by their full ids, as JSON; no numbers are read."""
        sql = (
            "SELECT id, json_extract(document, '$.experiment') FROM runs "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        rows = self._query(sql, json.dumps(list(runs)))
        return {one: json.loads(document) for one, document in rows}

    def get(self, run: str) -> "Result":
        """The result of a run by its id, or the beginning of it. Raises UnknownRunError."""
        return result_in(self.record(run))

    def record(self, run: str) -> Record:
        """A run as it is kept. Raises UnknownRunError."""
        (row,) = self._query(f"{_SELECT_RECORDS} WHERE id = ?", self.entry(run).id)
        return _read_record(row)

    def entry(self, run: str) -> Entry:
        """One run's entry, also of a deleted one. Raises UnknownRunError."""
        sql = f"{_SELECT_ENTRIES} WHERE substr(id, 1, ?) = ? LIMIT 2"
        rows = self._query(sql, len(run), run) if run else []
        if not rows:
            raise UnknownRunError(
                f"{quoted(run)}: there is no such run here. `patchwright runs list` has them."
            )
        if len(rows) > 1:
            raise UnknownRunError(f"'{run}': several runs begin like this. Give more of the id.")
        return _read_entry(rows[0])

    def entry_of(self, result: "Result") -> Entry:
        """The entry of a result that is kept here. Raises UnknownRunError."""
        return self.entry(id_of(result))

    def entries(
        self,
        search: str = "",
        limit: int = 100,
        deleted: bool = False,
        experiments: Collection[str] | None = None,
        notes: bool = True,
    ) -> list[Entry]:
        """The newest runs that have every word of `search`; with `deleted`, the deleted ones.

        Only those of `experiments`, by hash, if they are given. The words may be in `notes` too.
        Raises InputError for more than `MOST_WORDS` words.
        """
        words = list(dict.fromkeys(search.casefold().split()))
        if len(words) > MOST_WORDS:
            raise InputError(
                f"The search has {len(words):,} words, and it takes at most {MOST_WORDS}: leave some "
                "out."
            )
        text = "search || ' ' || casefold(note)" if notes else "search"
        sql = (
            f"{_SELECT_ENTRIES} WHERE (deleted IS NOT NULL) = ?"
            + f" AND instr({text}, ?)" * len(words)
            + " AND experiment_hash IN (SELECT value FROM json_each(?))" * (experiments is not None)
            + " ORDER BY created DESC, id LIMIT ?"
        )
        only = [] if experiments is None else [json.dumps(sorted(experiments))]
        return [_read_entry(row) for row in self._query(sql, deleted, *words, *only, limit)]

    def note(self, run: str, text: str) -> None:
        """Set the note of a run to `text`."""
        self._execute_many("UPDATE runs SET note = ? WHERE id = ?", [(text, self.entry(run).id)])

    def delete(self, runs: Iterable[str]) -> list[str]:
        """Delete runs, so that they are not listed or used; `restore` undoes it. Their full ids."""
        ids = [self.entry(run).id for run in runs]
        sql = "UPDATE runs SET deleted = ? WHERE id = ? AND deleted IS NULL"
        moment = now()
        self._execute_many(sql, [(moment, one) for one in ids])
        return ids

    def restore(self, runs: Iterable[str]) -> list[str]:
        """Restore deleted runs. Their full ids."""
        ids = [self.entry(run).id for run in runs]
        self._execute_many("UPDATE runs SET deleted = NULL WHERE id = ?", [(one,) for one in ids])
        return ids

    def prunable(self, older: timedelta | None = None, keep: int | None = None) -> list[Entry]:
        """The runs that `prune` would remove: deleted runs, and runs without a note beyond the limits.

        The limits are the age `older` and the number `keep` of the newest runs.
        """
        entries = [
            _read_entry(row) for row in self._query(f"{_SELECT_ENTRIES} ORDER BY created DESC, id")
        ]
        before = "" if older is None else ago(older)
        there = [one for one in entries if one.deleted is None]
        late = [] if keep is None else there[keep:]
        old = [one for one in there if one.created < before]
        going = {one.id for one in (*late, *old) if not one.note}
        return [one for one in entries if one.deleted is not None or one.id in going]

    def prune(self, entries: Sequence[Entry]) -> None:
        """Remove these runs for good and free their disk space."""
        self._execute_many("DELETE FROM runs WHERE id = ?", [(one.id,) for one in entries])
        with self._connection(writing=True) as connection:
            connection.execute("VACUUM")

    def fail_all(self, reasons: Iterable[tuple["Experiment", str]]) -> None:
        """Keep the reasons why experiments failed, until they succeed."""
        self._execute_many(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)",
            (
                (one.hash, canonical_json(one.model_dump(mode="json")), why, now())
                for one, why in reasons
            ),
        )

    def failures(self, limit: int = 100) -> list[Failure]:
        """The newest experiments that failed."""
        sql = (
            "SELECT experiment_hash, experiment, reason, created FROM failures "
            "ORDER BY created DESC LIMIT ?"
        )
        return [Failure(*row) for row in self._query(sql, limit)]

    def export(self, path: str | Path, ids: Sequence[str] | None = None, notes: bool = True) -> int:
        """Write runs (all that are not deleted) to one archive, with their `notes` or without; how many.

        The bytes depend only on the runs. Raises OutputError for a bad path.
        """
        chosen = None if ids is None else {self.entry(one).id for one in ids}
        with self._connection(writing=False) as connection, open_atomic(path) as stream:
            rows = connection.execute(f"{_SELECT_RECORDS} WHERE deleted IS NULL ORDER BY id")
            records = (_read_record(row) for row in rows if chosen is None or row["id"] in chosen)
            return write_archive(
                stream, records if notes else (replace(one, note="") for one in records)
            )

    def import_archive(self, path: str | Path, trusted: bool = False) -> tuple[int, int]:
        """Take an archive's runs in; how many were new, and how many were here already.

        They say wherever they are shown that they were imported, and answer experiments only
        where they are `trusted`. All or none: raises ArchiveError, and changes nothing,
        where one of them is unsound.
        """
        origin: Origin = "trusted" if trusted else "imported"

        def insert_runs(connection: sqlite3.Connection) -> tuple[int, int]:
            fresh = [
                _insert_run(connection, replace(one, origin=origin)) for one in read_archive(path)
            ]
            return sum(fresh), len(fresh) - sum(fresh)

        return self._in_transaction(insert_runs)


def _insert_run(connection: sqlite3.Connection, record: Record) -> bool:
    """Write a run; whether it was.

    A run that is there and not deleted yields to one that is computed here (a whole one
    only to a whole one), or that is trusted more.
    """
    sql = "SELECT whole, deleted, origin, digest FROM runs WHERE id = ?"
    there = connection.execute(sql, (record.id,)).fetchone()
    if there is not None:
        whole, deleted, origin, digest = there
        new, old = (_TRUST.index(one) for one in (record.origin, origin))
        renewed = record.origin == "computed" and (record.whole or not whole)
        if deleted is None and not (renewed or new > old):
            return False
        if digest == record.digest and old > new:
            record = replace(record, origin=origin)
    # What somebody noted beside a run stays with it when it is computed again.
    changed = [f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("id", "note")]
    connection.execute(
        f"INSERT INTO runs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "
        f"ON CONFLICT (id) DO UPDATE SET {', '.join(changed)}, deleted = NULL, "
        "note = CASE excluded.note WHEN '' THEN note ELSE excluded.note END",
        [getattr(record, name) for name in _COLUMNS],
    )
    connection.execute("DELETE FROM failures WHERE experiment_hash = ?", (record.experiment_hash,))
    return True


def _read_record(row: sqlite3.Row) -> Record:
    """The record in a row. Raises StoreError where it is not what was written."""
    names = ("document", "arrays", "created", "note", "origin")
    record = Record(*(row[name] for name in names))
    if record.digest != row["digest"]:
        raise StoreError(
            f"Run {row['id']} is not what was written: its file is damaged. Delete it (`patchwright "
            f"runs delete {row['id']}`) and compute it again."
        )
    return record


def _read_entry(row: sqlite3.Row) -> Entry:
    return replace(Entry(**row), whole=bool(row["whole"]))


def now() -> str:
    """This moment in UTC, ISO 8601."""
    return ago(timedelta())


def ago(time: timedelta) -> str:
    """The moment that long before this one, as `now` has it."""
    return (datetime.now(UTC) - time).isoformat(timespec="microseconds")
