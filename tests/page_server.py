"""The page as `patchwright app` serves it, in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from local_server import free_port
from timeouts import SECONDS


@contextmanager
def page_served(home: Path, *options: str) -> Generator[str]:
    """The page's address while it is served; `home` has its run store."""
    with page_process(home, *options) as (url, _):
        yield url


@contextmanager
def page_process(
    home: Path, *options: str, at: str = ""
) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """The page's address, and the process that serves it; `at` is its path below the address."""
    port = free_port()
    # Not `python -m` alone, which looks for modules in the current folder; `patchwright` does not.
    command = [sys.executable, "-P", "-m", "patchwright.cli", "app", "--headless"]
    server = subprocess.Popen(
        [*command, "--port", str(port), *options],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PATCHWRIGHT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(f"{url}{at}"):
            assert server.poll() is None, "the server ended"
            time.sleep(0.25)
        yield url, server
    finally:
        server.terminate()
        server.wait(timeout=SECONDS)


def answers(url: str) -> bool:
    """Whether the page is served there."""
    try:
        urlopen(f"{url}/_stcore/health", timeout=5).close()
    except OSError:
        return False
    return True
