"""The command line: in this process, or as a user starts it, in a process of its own."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from io import BytesIO, TextIOWrapper
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple
from unittest import mock

import pytest

from patchwright.cli import main
from timeouts import SECONDS

IOI = [
    *("--clean", "When Mary and John went to the store, John gave a drink to"),
    *("--corrupt", "When Mary and John went to the store, Mary gave a drink to"),
    *("--answer", " Mary", "--wrong", " John"),
]

QUIET = {"PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


def patchwright(
    *arguments: str | bytes,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
    encoding: str = "utf-8",
) -> CompletedProcess[str]:
    """Run `patchwright` in this process, which has PyTorch already; never raises.

    Its output streams have `encoding` and refuse characters that it lacks. What a library reads
    when it is imported (HF_ENDPOINT), signals and pipes need `process`.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, "strict") for _ in range(2))
    argv = ["patchwright", *map(os.fsdecode, arguments)]
    with (
        mock.patch.dict(os.environ, QUIET | dict(environment or {})),
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(
            sys, "stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode()), "utf-8")
        ),
        contextlib.chdir(cwd or "."),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            status: object = 0
        except SystemExit as leaving:
            status = leaving.code or 0
    assert isinstance(status, int), status
    return CompletedProcess(argv, status, _read(out), _read(err))


def process(
    *arguments: str | bytes,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> CompletedProcess[str]:
    """Run `patchwright` as a process with UTF-8 streams and `environment` added; never raises."""
    return subprocess.run(
        [sys.executable, "-m", "patchwright.cli", *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        cwd=cwd,
        env=os.environ | QUIET | dict(environment or {}),
        timeout=SECONDS,
        check=False,
    )


def _read(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


Command = Callable[..., "Done"]


class Done(NamedTuple):
    """What a command that ran in the test's own process left."""

    status: int
    out: str
    err: str


def command_in(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`patchwright` without a process of its own: quicker, and the test may look inside."""

    def run(*arguments: str, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["patchwright", *arguments])
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        status = left.value.code
        assert isinstance(status, int), f"exit with {status!r}"
        left_over = capsys.readouterr()
        return Done(status, left_over.out, left_over.err)

    return run
