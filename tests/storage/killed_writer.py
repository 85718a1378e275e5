"""A process that writes to a store, killed at random moments, again and again.

`python killed_writer.py FOLDER KILLS SEED < DOCUMENT` forks writers (one import serves them
all), kills each without warning, and
prints what they had acknowledged by then, as JSON: ids. DOCUMENT is that of a Result.
Every other writer is killed from its start on, whatever it has done by then; the rest
after a random number of acknowledgements, and then after a random moment.
"""

import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from patchwright.methods import METHODS
from patchwright.storage.store import Store

VALUES = xr.DataArray(
    np.linspace(0, 1, 120).reshape(6, 20),
    dims=("layer", "position"),
    coords={"layer": range(6), "position": range(20)},
    name="patched",
)


@dataclass(frozen=True)
class Written:
    """What the store asks of a Result."""

    experiment: dict[str, Any]
    rest: dict[str, Any]
    arrays: dict[str, xr.DataArray]

    def document(self) -> dict[str, Any]:
        return {**self.rest, "experiment": self.experiment}


def write_for_ever(
    store: Store, rest: dict[str, Any], number: tuple[int, int], acknowledged: int
) -> None:
    """One to four runs in each transaction; their ids are told once they are kept."""
    asked: dict[str, Any] = rest["experiment"]
    for i in range(10**6):
        some = [
            Written(
                {**asked, "pairs": {**asked["pairs"], "clean": f"{number} {i} {k}"}},
                *(rest, {"patched": VALUES}),
            )
            for k in range(1 + i % 4)
        ]
        ids = store.save_all(cast("Any", some))
        os.write(acknowledged, "".join(f"{one}\n" for one in ids).encode())


def killed_once(
    store: Store, rest: dict[str, Any], number: tuple[int, int], least: int, moment: float
) -> list[str]:
    """Start a writer, kill it `moment` seconds after it acknowledged `least` transactions.

    Given back are all the ids that it acknowledged.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            write_for_ever(store, rest, number, writing)
        finally:
            os._exit(1)
    os.close(writing)
    told = b"".join(os.read(reading, 10**5) for _ in range(least))
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, "the writer ended by itself"
    with os.fdopen(reading, encoding="ascii") as stream:
        return (told.decode("ascii") + stream.read()).split()


def main() -> None:
    """As the module says."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    draw, rest = random.Random(seed), json.load(sys.stdin)
    # Loads, before the forks and once for all, what the store needs to name an experiment.
    METHODS.parse(rest["experiment"])
    ids = [
        killed_once(
            Store(folder),
            rest,
            (seed, number),
            least=draw.randint(1, 3) * (number % 2),
            moment=draw.uniform(0.0, 0.02),
        )
        for number in range(kills)
    ]
    json.dump(ids, sys.stdout)


if __name__ == "__main__":
    main()
