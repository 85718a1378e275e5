"""The command line as a user starts it: a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

IOI = [
    *("--clean", "When Mary and John went to the store, John gave a drink to"),
    *("--corrupt", "When Mary and John went to the store, Mary gave a drink to"),
    *("--answer", " Mary", "--wrong", " John"),
]


def patchwright(
    *arguments: str | bytes,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `patchwright` with UTF-8 streams and `environment` added; never raises."""
    quiet = {"PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "patchwright.cli", *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        cwd=cwd,
        env=os.environ | quiet | dict(environment or {}),
        timeout=120,
        check=False,
    )
