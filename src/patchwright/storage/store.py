"""The run store: every Result once computed, in one SQLite file of the user's.

Each operation opens the file for itself, so that threads, processes and forks may
share a store. A run is acknowledged (`save` has returned) once it is on the disk.
"""

import json
import os
import sqlite3
import stat
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from patchwright.atomic_files import atomic, home
from patchwright.errors import InputError, StoreError, UnknownRunError, quoted
from patchwright.hashing import canonical_json
from patchwright.storage.archive import read_archive, write_archive
from patchwright.storage.migrations import STEPS, migrate
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

FILE = "runs.sqlite3"
BUSY = 30.0
"""Seconds to wait for another process that writes."""

MOST_WORDS = 50
"""Words of a search."""

_COLUMNS = (
    "id, experiment_hash, fingerprint, device, version, method, model, about, search, seconds, "
    "whole, created, document, arrays, digest, note, numbers, origin"
)
_LISTED = (
    "id, method, model, about, created, seconds, whole, note, deleted, experiment_hash, "
    "fingerprint, device, version, origin, length(document) + length(arrays)"
)
CURRENT = "deleted IS NULL AND origin <> 'imported' AND numbers = current_numbers(method)"
"""Runs whose numbers count as this Patchwright's own, as a condition of SQL."""

ANSWERS = f"whole AND {CURRENT}"
"""Runs that answer their experiment, as a condition of SQL."""

_TRUST: tuple[Origin, ...] = ("imported", "trusted", "computed")
"""Where runs come from, the most trusted last."""

_Found = TypeVar("_Found")


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


class Store:
    """Runs in `folder`; without one, the user's own (`home`).

    `busy` is how many seconds to wait while another process writes. `notices` collects
    warnings for the user that do not stop the work. All methods raise StoreError, which says
    what to do, if the file cannot be read or written.
    """

    def __init__(self, folder: str | Path | None = None, busy: float = BUSY) -> None:
        self.busy = busy
        self.folder = home() if folder is None else Path(folder)
        self.path = self.folder / FILE
        self.notices: list[str] = []

    def save(self, result: "Result") -> str:
        """Keep `result`; its id. Once this returns, the run is on the disk.

        It replaces a run with the same id, but a stopped run never replaces a complete one.
        """
        return self.save_all([result])[0]

    def save_all(self, results: Sequence["Result"]) -> list[str]:
        """Keep all of them or none, as `save` does, with one wait for the disk; their ids."""
        records = [record_of(one, _now()) for one in results]

        def put(connection: sqlite3.Connection) -> list[str]:
            for one in records:
                _put(connection, one)
            return [one.id for one in records]

        return self._write(put)

    def find(
        self, experiment: "Experiment", fingerprint: str, device: str | None = None
    ) -> "Result | None":
        """The whole result of this experiment on this model, if there is one.

        It must have the current version of the method's numbers and, if one is named, be from this
        kind of device, because others may differ in the last digits. Imported runs are only
        used if they are trusted.
        """
        found = self._found(experiment, fingerprint, device)
        try:
            return None if found is None else result_in(found)
        except StoreError as error:
            self.notices.append(str(error))
            return None

    def has(self, experiment: "Experiment", fingerprint: str, device: str | None = None) -> bool:
        """Whether there is what `find` would read, undamaged: nothing is decoded."""
        return self._found(experiment, fingerprint, device) is not None

    def _found(
        self, experiment: "Experiment", fingerprint: str, device: str | None
    ) -> Record | None:
        kind = None if device is None else device_kind(device)
        asked = (experiment.hash, fingerprint, kind, kind)
        sql = (
            f"SELECT {_COLUMNS} FROM runs WHERE experiment_hash = ? AND fingerprint = ? AND "
            f"(? IS NULL OR device = ?) AND {ANSWERS} ORDER BY created DESC LIMIT 1"
        )
        row = self._read(lambda connection: connection.execute(sql, asked).fetchone(), None)
        try:
            return None if row is None else _checked(row)
        except StoreError as error:
            self.notices.append(str(error))
            return None

    def known(self, fingerprint: str, device: str | None = None) -> set[str]:
        """The hashes of all experiments that `find` would find for this model."""
        kind = None if device is None else device_kind(device)
        sql = (
            "SELECT experiment_hash FROM runs WHERE fingerprint = ? AND "
            f"(? IS NULL OR device = ?) AND {ANSWERS}"
        )
        asked = (fingerprint, kind, kind)
        return {hash_ for (hash_,) in self._read(lambda c: c.execute(sql, asked).fetchall(), [])}

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
        asked = (beginning, f"{beginning}g")
        rows = self._read(lambda c: c.execute(sql, asked).fetchall(), []) if beginning else []
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
        asked = (json.dumps(list(runs)),)
        return {
            one: json.loads(document)
            for one, document in self._read(lambda c: c.execute(sql, asked).fetchall(), [])
        }

    def get(self, run: str) -> "Result":
        """The result of a run by its id, or the beginning of it. Raises UnknownRunError."""
        return result_in(self.record(run))

    def record(self, run: str) -> Record:
        """A run as it is kept. Raises UnknownRunError."""
        whole = self.entry(run).id
        sql = f"SELECT {_COLUMNS} FROM runs WHERE id = ?"
        return _checked(self._read(lambda c: c.execute(sql, (whole,)).fetchone(), None))

    def entry(self, run: str) -> Entry:
        """One run's entry, also of a deleted one. Raises UnknownRunError."""
        sql = f"SELECT {_LISTED} FROM runs WHERE substr(id, 1, ?) = ? LIMIT 2"
        asked = (len(run), run)
        rows = self._read(lambda c: c.execute(sql, asked).fetchall(), []) if run else []
        if not rows:
            raise UnknownRunError(
                f"{quoted(run)}: there is no such run here. `patchwright runs list` has them."
            )
        if len(rows) > 1:
            raise UnknownRunError(f"'{run}': several runs begin like this. Give more of the id.")
        return _entry(rows[0])

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
            f"SELECT {_LISTED} FROM runs WHERE (deleted IS NOT NULL) = ?"
            + f" AND instr({text}, ?)" * len(words)
            + " AND experiment_hash IN (SELECT value FROM json_each(?))" * (experiments is not None)
            + " ORDER BY created DESC, id LIMIT ?"
        )
        only = [] if experiments is None else [json.dumps(sorted(experiments))]
        asked = (deleted, *words, *only, limit)
        return [_entry(row) for row in self._read(lambda c: c.execute(sql, asked).fetchall(), [])]

    def note(self, run: str, text: str) -> None:
        """Set the note of a run to `text`."""
        self._write(_change("UPDATE runs SET note = ? WHERE id = ?", text, self.entry(run).id))

    def delete(self, runs: Iterable[str]) -> list[str]:
        """Delete runs, so that they are not listed or used; `restore` undoes it. Their full ids."""
        ids = [self.entry(run).id for run in runs]
        sql = "UPDATE runs SET deleted = ? WHERE id = ? AND deleted IS NULL"
        now = _now()
        self._write(lambda c: c.executemany(sql, [(now, one) for one in ids]))
        return ids

    def restore(self, runs: Iterable[str]) -> list[str]:
        """Restore deleted runs. Their full ids."""
        ids = [self.entry(run).id for run in runs]
        sql = "UPDATE runs SET deleted = NULL WHERE id = ?"
        self._write(lambda c: c.executemany(sql, [(one,) for one in ids]))
        return ids

    def prunable(self, older: timedelta | None = None, keep: int | None = None) -> list[Entry]:
        """The runs that `prune` would remove: deleted runs, and runs without a note beyond the limits.

        The limits are the age `older` and the number `keep` of the newest runs.
        """
        sql = f"SELECT {_LISTED} FROM runs ORDER BY created DESC, id"
        rows = self._read(lambda c: c.execute(sql).fetchall(), [])
        entries = [_entry(row) for row in rows]
        before = "" if older is None else _written(datetime.now(UTC) - older)
        there = [one for one in entries if one.deleted is None]
        late = [] if keep is None else there[keep:]
        old = [one for one in there if one.created < before]
        going = {one.id for one in (*late, *old) if not one.note}
        return [one for one in entries if one.deleted is not None or one.id in going]

    def prune(self, entries: Sequence[Entry]) -> None:
        """Remove these runs for good and free their disk space."""
        ids = [(one.id,) for one in entries]
        self._write(lambda c: c.executemany("DELETE FROM runs WHERE id = ?", ids))
        with self._opened(writing=True) as connection:
            connection.execute("VACUUM")

    def fail_all(self, reasons: Iterable[tuple["Experiment", str]]) -> None:
        """Keep the reasons why experiments failed, until they succeed."""
        rows = [
            (one.hash, canonical_json(one.model_dump(mode="json")), why, _now())
            for one, why in reasons
        ]
        sql = "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)"
        self._write(lambda c: c.executemany(sql, rows))

    def failures(self, limit: int = 100) -> list[Failure]:
        """The newest experiments that failed."""
        sql = (
            "SELECT experiment_hash, experiment, reason, created FROM failures "
            "ORDER BY created DESC LIMIT ?"
        )
        return [
            Failure(*row) for row in self._read(lambda c: c.execute(sql, (limit,)).fetchall(), [])
        ]

    def export(self, path: str | Path, ids: Sequence[str] | None = None, notes: bool = True) -> int:
        """Write runs (all that are not deleted) to one archive, with their `notes` or without; how many.

        The bytes depend only on the runs. Raises OutputError for a bad path.
        """
        chosen = None if ids is None else {self.entry(one).id for one in ids}
        sql = f"SELECT {_COLUMNS} FROM runs WHERE deleted IS NULL ORDER BY id"

        def written(connection: sqlite3.Connection) -> int:
            rows = connection.execute(sql)
            asked = (row for row in rows if chosen is None or row[0] in chosen)
            records = map(_checked, asked)
            with atomic(path) as stream:
                return write_archive(
                    stream, records if notes else (replace(one, note="") for one in records)
                )

        with self._opened(writing=False) as connection:
            return written(connection)

    def import_archive(self, path: str | Path, trusted: bool = False) -> tuple[int, int]:
        """Take an archive's runs in; how many were new, and how many were here already.

        They say wherever they are shown that they were imported, and answer experiments only
        where they are `trusted`. All or none: raises ArchiveError, and changes nothing,
        where one of them is unsound.
        """
        origin: Origin = "trusted" if trusted else "imported"

        def taken(connection: sqlite3.Connection) -> tuple[int, int]:
            fresh = [_put(connection, replace(one, origin=origin)) for one in read_archive(path)]
            return sum(fresh), len(fresh) - sum(fresh)

        return self._write(taken)

    def _read(self, work: Callable[[sqlite3.Connection], _Found], otherwise: _Found) -> _Found:
        """`work`'s answer; `otherwise` where nothing has been kept yet."""
        return self._twice(work, writing=False) if self.path.exists() else otherwise

    def _write(self, work: Callable[[sqlite3.Connection], _Found]) -> _Found:
        """`work` in a transaction of its own."""

        def whole(connection: sqlite3.Connection) -> _Found:
            connection.execute("BEGIN IMMEDIATE")
            found = work(connection)
            connection.execute("COMMIT")
            return found

        return self._twice(whole, writing=True)

    def _twice(self, work: Callable[[sqlite3.Connection], _Found], writing: bool) -> _Found:
        """`work`, and once more on a new store where the old one turned out to be damaged."""
        file = _inode(self.path)
        try:
            with self._opened(writing) as connection:
                return work(connection)
        except _DamagedError as error:
            self._quarantine(file, error)
        with self._opened(writing) as connection:
            return work(connection)

    @contextmanager
    def _opened(self, writing: bool) -> Generator[sqlite3.Connection]:
        """A connection in autocommit mode; what goes wrong becomes a sentence."""
        try:
            with closing(self._connect(writing)) as connection:
                yield connection
        except UnicodeEncodeError as error:
            raise InputError(
                "The text has bytes that are not valid UTF-8: type it as UTF-8."
            ) from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None) or 0
            if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise _DamagedError(f"The run store {self.path} is damaged: {error}.") from error
            raise StoreError(self._refusal(code & 0xFF, str(error))) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(self._refusal(sqlite3.SQLITE_CANTOPEN, reason)) from error

    def _connect(self, writing: bool) -> sqlite3.Connection:
        if not self.path.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives the files beside this one its mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        elif os.name == "posix" and _others_may(self.path):
            self._close_to_others()
        connection = sqlite3.connect(self.path, timeout=self.busy, isolation_level=None)
        try:
            _write_ahead(connection, self.busy)
            migrate(connection)
        except sqlite3.Error as error:
            connection.close()
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if writing or code not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                raise
            connection = self._connect_unchanging()
        except StoreError:
            connection.close()
            raise
        connection.create_function("casefold", 1, str.casefold, deterministic=True)
        connection.create_function("current_numbers", 1, _current_numbers, deterministic=True)
        return connection

    def _connect_unchanging(self) -> sqlite3.Connection:
        """Read where nothing may be written, not even SQLite's own files beside the store."""
        address = f"{self.path.absolute().as_uri()}?immutable=1"
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found != len(STEPS):
            connection.close()
            raise StoreError(
                f"{self.path} has layout {found}, which must be brought to {len(STEPS)}, and its "
                "folder cannot be written. Copy it to one that can, and name that in "
                "PATCHWRIGHT_HOME."
            )
        return connection

    def _close_to_others(self) -> None:
        """Let the owner alone read a store that was made, or copied, so that others may."""
        try:
            for file in (self.path, *self.folder.glob("runs.*sqlite3*")):
                if _others_may(file):
                    file.chmod(file.stat().st_mode & 0o700)
        except OSError:
            return  # it is on a disk without modes, or not to be changed
        self.notices.append(
            f"Other users of this machine could read the run store {self.path}: from now on you alone "
            "can."
        )

    def _quarantine(self, file: int | None, error: StoreError) -> None:
        """Rename a damaged store, which is never overwritten; the next use starts a new one."""
        if file is None or _inode(self.path) != file:
            return  # somebody else has done it
        day = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        kept = self.folder / f"runs.damaged-{day}-{file}.sqlite3"
        try:
            # SQLite's own files first: a new store must not find those of the old one.
            for suffix in ("-wal", "-shm", ""):
                beside = Path(f"{self.path}{suffix}")
                if beside.exists():
                    beside.rename(f"{kept}{suffix}")
        except OSError as reason:
            raise StoreError(f"{error} It cannot be set aside: {reason.strerror}.") from reason
        self.notices.append(
            f"{error} It is kept as {kept.name}, and a new store was begun. What can be read of "
            f"the old one, `sqlite3 {kept.name} .recover` writes out."
        )

    def _refusal(self, code: int, reason: str) -> str:
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return (
                f"The run store {self.path} cannot be written ({reason}): is the disk full? Make "
                "room (`patchwright runs prune`), or name another folder in PATCHWRIGHT_HOME."
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return (
                f"The run store {self.path} has been in use by another process for {self.busy:g} "
                "seconds: try again when that is done."
            )
        return (
            f"The run store {self.path} cannot be opened or written ({reason}): name a folder that "
            "you may write to in PATCHWRIGHT_HOME."
        )


class _DamagedError(StoreError):
    """SQLite finds that the file is not what it wrote."""


def _others_may(file: Path) -> bool:
    """Whether it is a file of this user's that others may read or write."""
    try:
        found = file.stat()
    except OSError:
        return False  # another process has just renamed it
    ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    return ours and bool(found.st_mode & 0o077)


def _write_ahead(connection: sqlite3.Connection, busy: float) -> None:
    """WAL, and every commit on the disk before it returns.

    Changing to WAL does not wait for others by itself as writes do.
    """
    until = monotonic() + busy
    connection.execute("PRAGMA synchronous = FULL")
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > until:
                raise
            sleep(0.02)


def _current_numbers(method: str) -> int:
    from patchwright.methods import METHODS

    return METHODS.numbers_of(method)


def _put(connection: sqlite3.Connection, record: Record) -> bool:
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
    content = record.content
    values: tuple[Any, ...] = (
        record.id,
        record.experiment_hash,
        record.fingerprint,
        record.device,
        record.version,
        content["method"],
        content["model"].get("name", ""),
        record.about,
        record.search,
        content["seconds"],
        record.whole,
        record.created,
        record.document,
        record.arrays,
        record.digest,
        record.note,
        record.numbers,
        record.origin,
    )
    # What somebody noted beside a run stays with it when it is computed again.
    changed = [name for name in _COLUMNS.split(", ") if name not in ("id", "note")]
    renewed = ", ".join(f"{name} = excluded.{name}" for name in changed)
    connection.execute(
        f"INSERT INTO runs ({_COLUMNS}) VALUES ({', '.join('?' * len(values))}) "
        f"ON CONFLICT (id) DO UPDATE SET {renewed}, deleted = NULL, "
        "note = CASE excluded.note WHEN '' THEN note ELSE excluded.note END",
        values,
    )
    connection.execute("DELETE FROM failures WHERE experiment_hash = ?", (record.experiment_hash,))
    return True


def _checked(row: tuple[Any, ...]) -> Record:
    """The record in a row. Raises StoreError where it is not what was written."""
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    names = ("document", "arrays", "created", "note", "origin")
    record = Record(*(values[name] for name in names))
    if record.digest != values["digest"]:
        raise StoreError(
            f"Run {values['id']} is not what was written: its file is damaged. Delete it (`patchwright "
            f"runs delete {values['id']}`) and compute it again."
        )
    return record


def _entry(row: tuple[Any, ...]) -> Entry:
    values: dict[str, Any] = dict(zip(Entry.__dataclass_fields__, row, strict=True))
    values["whole"] = bool(values["whole"])
    return Entry(**values)


def _change(sql: str, *values: object) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(sql, values)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _now() -> str:
    return _written(datetime.now(UTC))


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
