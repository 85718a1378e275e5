"""A process that writes to a store, killed at random moments, again and again.

`python killed.py FOLDER KILLS SEED` forks writers (one import serves them all), kills
each without warning, and prints what they had acknowledged by then, as JSON: ids.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from made import made
from patchwright.keep.store import Store

TEMPLATE = made(np.linspace(0, 1, 120).reshape(6, 20))


def write_for_ever(folder: Path, number: tuple[int, int], acknowledged: int) -> None:
    """Runs of one to four, one transaction each; each id is told once it is kept."""
    store = Store(folder)
    for i in range(10**6):
        experiments = [{**TEMPLATE.experiment, "seed": [*number, i, k]} for k in range(1 + i % 4)]
        results = [
            TEMPLATE.__class__(**{**vars(TEMPLATE), "experiment": one}) for one in experiments
        ]
        ids = store.save_all(results)
        os.write(acknowledged, "".join(f"{one}\n" for one in ids).encode())


def killed_once(folder: Path, number: tuple[int, int], moment: float) -> list[str]:
    """Start a writer, kill it after `moment` seconds; the ids that it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            write_for_ever(folder, number, writing)
        finally:
            os._exit(1)
    os.close(writing)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, "the writer ended by itself"
    with os.fdopen(reading, encoding="ascii") as stream:
        return stream.read().split()


def main() -> None:
    """As the module says."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    draw = random.Random(seed)
    ids = [killed_once(folder, (seed, number), draw.uniform(0.0, 0.1)) for number in range(kills)]
    json.dump(ids, sys.stdout)


if __name__ == "__main__":
    main()
