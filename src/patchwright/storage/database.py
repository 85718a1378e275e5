"""The file of a run store: an SQLite database that threads, processes and forks may share.

Each operation opens it for itself. A file that is damaged is set aside and never overwritten, and
whatever SQLite refuses becomes a sentence.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

from patchwright.errors import InputError, StoreError
from patchwright.storage.migrations import STEPS, migrate

FILE_NAME = "runs.sqlite3"
BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process that writes."""

_T = TypeVar("_T")


class Database:
    """The database in `folder`, which is made when something is kept.

    `busy` is how many seconds to wait while another process writes. `notices` collects
    warnings for the user that do not stop the work. All methods raise StoreError, which says
    what to do, if the file cannot be read or written.
    """

    def __init__(self, folder: Path, busy: float) -> None:
        self.busy = busy
        self.folder = folder
        self.path = folder / FILE_NAME
        self.notices: list[str] = []

    def _query(self, sql: str, *values: object) -> list[Any]:
        """What a query finds; nothing where nothing has been kept yet."""
        if not self.path.exists():
            return []
        return self._retry_if_damaged(lambda c: c.execute(sql, values).fetchall(), writing=False)

    def _execute_many(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        """One statement for each of `rows`, all in one transaction."""
        values = list(rows)
        self._in_transaction(lambda c: c.executemany(sql, values))

    def _in_transaction(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """`work` in a transaction of its own."""

        def transaction(connection: sqlite3.Connection) -> _T:
            connection.execute("BEGIN IMMEDIATE")
            found = work(connection)
            connection.execute("COMMIT")
            return found

        return self._retry_if_damaged(transaction, writing=True)

    def _retry_if_damaged(self, work: Callable[[sqlite3.Connection], _T], writing: bool) -> _T:
        """`work`, and once more on a new store where the old one turned out to be damaged."""
        file = _inode(self.path)
        try:
            with self._connection(writing) as connection:
                return work(connection)
        except _DamagedError as error:
            self._quarantine(file, error)
        with self._connection(writing) as connection:
            return work(connection)

    @contextmanager
    def _connection(self, writing: bool) -> Generator[sqlite3.Connection]:
        """A connection in autocommit mode; what goes wrong becomes a sentence."""
        try:
            with closing(self._connect(writing)) as connection:
                yield connection
        except UnicodeEncodeError as error:
            raise InputError(
                "The text has bytes that are not valid UTF-8: type it as UTF-8."
            ) from error
        except sqlite3.Error as error:
            if _sqlite_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise _DamagedError(f"The run store {self.path} is damaged: {error}.") from error
            raise StoreError(self._error_message(_sqlite_code(error), str(error))) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(self._error_message(sqlite3.SQLITE_CANTOPEN, reason)) from error

    def _connect(self, writing: bool) -> sqlite3.Connection:
        if not self.path.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives the files beside this one its mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        elif os.name == "posix" and _is_open_to_others(self.path):
            self._restrict_permissions()
        connection = sqlite3.connect(self.path, timeout=self.busy, isolation_level=None)
        try:
            _enable_wal(connection, self.busy)
            migrate(connection)
        except sqlite3.Error as error:
            connection.close()
            if writing or _sqlite_code(error) not in (
                sqlite3.SQLITE_READONLY,
                sqlite3.SQLITE_CANTOPEN,
            ):
                raise
            connection = self._connect_read_only()
        except StoreError:
            connection.close()
            raise
        connection.row_factory = sqlite3.Row
        connection.create_function("casefold", 1, str.casefold, deterministic=True)
        connection.create_function("current_numbers", 1, _current_numbers, deterministic=True)
        return connection

    def _connect_read_only(self) -> sqlite3.Connection:
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

    def _restrict_permissions(self) -> None:
        """Let the owner alone read a store that was made, or copied, so that others may."""
        try:
            for file in (self.path, *self.folder.glob("runs.*sqlite3*")):
                if _is_open_to_others(file):
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

    def _error_message(self, code: int, reason: str) -> str:
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


def _is_open_to_others(file: Path) -> bool:
    """Whether it is a file of this user's that others may read or write."""
    try:
        found = file.stat()
    except OSError:
        return False  # another process has just renamed it
    ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    return ours and bool(found.st_mode & 0o077)


def _enable_wal(connection: sqlite3.Connection, busy: float) -> None:
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
            if _sqlite_code(error) != sqlite3.SQLITE_BUSY or monotonic() > until:
                raise
            sleep(0.02)


def _current_numbers(method: str) -> int:
    from patchwright.methods import METHODS

    return METHODS.numbers_of(method)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _sqlite_code(error: sqlite3.Error) -> int:
    """SQLite's own code of an error, without what it adds to it; 0 for one of the module's."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
