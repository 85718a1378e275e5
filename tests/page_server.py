"""The page as `patchwright app` serves it, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen


@contextmanager
def page_served(home: Path, *options: str) -> Generator[str]:
    """The page's address while it is served; `home` has its run store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "patchwright.cli", "app", "--headless", "--port", str(port)]
    server = subprocess.Popen(
        [*command, *options],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PATCHWRIGHT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=20)
