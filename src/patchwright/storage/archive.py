"""Runs as one portable file: a zip whose bytes depend on nothing but the runs.

`runs.json` lists them; `runs/ID.json` and `runs/ID.npz` hold each. Nothing is compressed
again (the arrays are already), so that every machine writes the same bytes, and so that
no small file can unpack into a large one.
"""

import json
import re
import zipfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from patchwright.errors import ArchiveError, ExperimentError, StoreError, convert_errors, reason
from patchwright.hashing import canonical_json, hash_of
from patchwright.storage.serialization import READ_ERRORS, Record, result_in
from patchwright.storage.soundness import check_sound
from patchwright.upgrade import upgrade_result

SCHEMA = 2
"""Number of the archive's layout: since 2 runs are named as `Record.id` has it today."""

RUN_SCHEMA = 1
"""Number of a run's layout: that of `Result.document`."""

_LIST_FILE = "runs.json"
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)


def write_archive(stream: BinaryIO, records: Iterable[Record]) -> int:
    """Write the runs in the order given; how many they were."""
    listed: list[dict[str, str]] = []
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for one in records:
            archive.writestr(_member(f"runs/{one.id}.json"), one.document)
            archive.writestr(_member(f"runs/{one.id}.npz"), one.arrays)
            about = {"created": one.created, "note": one.note, "digest": one.digest}
            listed.append({"id": one.id, **about})
        archive.writestr(_member(_LIST_FILE), canonical_json({"archive": SCHEMA, "runs": listed}))
    return len(listed)


def read_archive(path: str | Path) -> Iterator[Record]:
    """The runs of an archive, each checked against its name and digest.

    Raises ArchiveError: no archive, of a newer version, or contents that do not fit.
    """
    with _open_archive(path) as archive:
        schema, listed = _read_list(archive, path)
        _check_members(archive, [one["id"] for one in listed], path)
        for one in listed:
            yield _read_record(archive, schema, one, path)


def unpacked_size(path: str | Path) -> int:
    """Bytes that the arrays of an archive's runs would take, as their headers have it.

    No more than that is ever unpacked of them. Raises ArchiveError where it is no archive.
    """
    with _open_archive(path) as archive:
        runs = [name for name in archive.namelist() if name.endswith(".npz")]
        return sum(_npz_size(archive.read(name)) for name in runs)


@contextmanager
def _open_archive(path: str | Path) -> Generator[zipfile.ZipFile]:
    """An archive that may be read; whatever a wrong one raises meanwhile is an ArchiveError."""
    with convert_errors(lambda why: _archive_error(path, why)):
        try:
            with zipfile.ZipFile(path) as archive:
                if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                    raise _archive_error(path, "it is compressed, which no archive of runs is")
                yield archive
        except OSError as error:
            raise ArchiveError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def _npz_size(packed: bytes) -> int:
    with zipfile.ZipFile(BytesIO(packed)) as arrays:
        return sum(info.file_size for info in arrays.infolist())


def _read_list(archive: zipfile.ZipFile, path: str | Path) -> tuple[int, list[dict[str, str]]]:
    """The archive's layout, and what it says that it holds."""
    try:
        listed: Any = json.loads(archive.read(_LIST_FILE))
        schema, runs = listed["archive"], listed["runs"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _archive_error(path, f"it has no list of runs ({_LIST_FILE})") from None
    if not isinstance(schema, int) or schema > SCHEMA:
        raise _newer_version_error(path)
    fields = {"id", "created", "note", "digest"}
    for one in runs if isinstance(runs, list) else [None]:
        if not isinstance(one, dict) or set(one) != fields:
            raise _archive_error(path, f"its list of runs ({_LIST_FILE}) has other fields")
        if not all(isinstance(value, str) for value in one.values()):
            raise _archive_error(path, f"its list of runs ({_LIST_FILE}) has other kinds of values")
        if any("\ud800" <= sign <= "\udfff" for sign in one["note"]):
            raise _archive_error(
                path, f"its list of runs ({_LIST_FILE}) has a note that is no text"
            )
        if not re.fullmatch("[0-9a-f]{16}", one["id"]) or not _is_moment(one["created"]):
            raise _archive_error(
                path, f"its list of runs ({_LIST_FILE}) has an id or a date that is none"
            )
    return schema, runs


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        return False


def _check_members(archive: zipfile.ZipFile, ids: list[str], path: str | Path) -> None:
    """Refuse files that the list does not account for, whatever they are called."""
    expected = sorted(
        [_LIST_FILE, *(f"runs/{one}.{kind}" for one in ids for kind in ("json", "npz"))]
    )
    if sorted(archive.namelist()) != expected:
        raise _archive_error(path, "it holds other files than it lists")


def _read_record(
    archive: zipfile.ZipFile, schema: int, listed: dict[str, str], path: str | Path
) -> Record:
    name = listed["id"]
    try:
        document = archive.read(f"runs/{name}.json").decode("utf-8")
        arrays = archive.read(f"runs/{name}.npz")
        record = Record(document, arrays, listed["created"], listed["note"])
        if record.content["schema"] > RUN_SCHEMA:
            raise _newer_version_error(path)
        named = record.id if schema >= SCHEMA else _earlier_id(record)
        if (named, record.digest) == (name, listed["digest"]):
            check_sound(upgrade_result(record.content), result_in(record))
            return record
    except (*READ_ERRORS, StoreError, ExperimentError) as error:
        if isinstance(error, ArchiveError):
            raise
        raise _archive_error(path, f"run {name} holds no result ({reason(error)})") from error
    raise _archive_error(path, f"the contents of run {name} do not fit its hash")


def _earlier_id(record: Record) -> str:
    """The id that archives of layout 1 have: over all the experiment's fields, and the version."""
    experiment = hash_of(record.content["experiment"])
    return hash_of([experiment, record.fingerprint, record.device, record.version])[:16]


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _FIXED_DATE)
    member.create_system = 3
    member.external_attr = 0o600 << 16
    return member


def _archive_error(path: str | Path, why: str) -> ArchiveError:
    return ArchiveError(
        f"'{path}' is not a sound archive of runs: {why}. Nothing was taken in; give a file that "
        "`patchwright runs export` wrote."
    )


def _newer_version_error(path: str | Path) -> ArchiveError:
    return ArchiveError(
        f"'{path}' was written by a newer Patchwright: update with `pip install -U patchwright`."
    )
