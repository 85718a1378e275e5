"""Where a person's data is, and writing files so that nobody ever finds half of one."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import platformdirs

from patchwright.errors import OutputError

MOST_NAME = 255
"""Bytes of a file's name, on nearly every file system."""


def home() -> Path:
    """The folder of the user's runs and models: $PATCHWRIGHT_HOME, else where the system keeps data."""
    named = os.environ.get("PATCHWRIGHT_HOME")
    return Path(named).expanduser() if named else platformdirs.user_data_path("patchwright", False)


def make_home() -> None:
    """Make that folder, its owner's alone, if it is not there yet. Raises OSError."""
    home().mkdir(mode=0o700, parents=True, exist_ok=True)


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to `path`, whole or not at all.

    Raises OutputError where the folder is missing or cannot be written.
    """
    with open_atomic(path) as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def open_atomic(path: str | Path) -> Generator[BinaryIO]:
    """A stream whose bytes become the file `path` at the end, and nothing after an error.

    Raises OutputError as `write_atomic` does.
    """
    target = _check_path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise OutputError(_unwritable_message(target, error)) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(_unwritable_message(target, error)) from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Raise OutputError now where `write_atomic` would later."""
    target = _check_path(path)
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise OutputError(_unwritable_message(target, PermissionError(13, "permission denied")))


def _check_path(path: str | Path) -> Path:
    """`path`, if it can be a file's. Raises OutputError."""
    target = Path(path)
    room = MOST_NAME - len(f"..{'x' * 8}")  # the name that the file has while it is written
    if "\0" in str(path) or len(os.fsencode(target.name)) > room:
        raise OutputError(
            f"'{target.name[:60]}' cannot be a file's name: give one of at most {room} characters."
        )
    try:
        is_folder = target.is_dir()
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror}.") from error
    if is_folder:
        raise OutputError(f"'{target}' is a folder: name a file in it to write to.")
    return target


def _unwritable_message(target: Path, error: OSError) -> str:
    if not target.parent.is_dir():
        return f"'{target}': there is no folder '{target.parent}'. Make it, or name another."
    return f"'{target}' cannot be written: {error.strerror}. Name a folder that you may write to."


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
