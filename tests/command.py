"""The command line: in this process, or as a user starts it, in a process of its own."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from patchwright.cli import main

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
    stdin: str = "",
) -> CompletedProcess[str]:
    """Run `patchwright` in this process, which has PyTorch already; never raises.

    What a library reads when it is imported (HF_ENDPOINT), signals and pipes need `process`.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape") for _ in range(2))
    argv = ["patchwright", *map(os.fsdecode, arguments)]
    with (
        mock.patch.dict(os.environ, QUIET | dict(environment or {})),
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
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
        timeout=120,
        check=False,
    )


def _read(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
