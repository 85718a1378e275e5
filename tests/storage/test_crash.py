"""What was acknowledged is there, whatever became of the process, and of how many."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from handmade_results import made
from patchwright.storage.store import Store
from storage import killed_writer
from timeouts import SECONDS

TESTS = Path(__file__).parents[1]


def started(*arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(TESTS / "storage" / "killed_writer.py"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )


def acknowledged(process: subprocess.Popen[str]) -> list[list[str]]:
    document = replace(made([[0.5]]), arrays={}).document()
    out, err = process.communicate(json.dumps(document), timeout=SECONDS)
    assert (process.returncode, err) == (0, "")
    return json.loads(out)


def check_whole(folder: Path, ids: list[str]) -> None:
    store = Store(folder)
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    there = {one.id for one in store.entries(limit=10**6)}
    assert set(ids) <= there
    # Each run is read against its digest, those of which nobody was told, too.
    assert store.export(folder / "all.zip") == len(there)
    values = killed_writer.VALUES.values.tobytes()
    for one in ids[:: max(1, len(ids) // 50)]:
        assert store.get(one).patched.values.tobytes() == values
    assert store.notices == []


def test_every_acknowledged_run_survives_200_kills_at_random_moments(tmp_path: Path) -> None:
    found = acknowledged(started(str(tmp_path), "200", "0"))
    assert len(found) == 200
    assert all(found[1::2]), "every other writer is killed only after it has acknowledged something"
    check_whole(tmp_path, [one for ids in found for one in ids])


def test_processes_that_write_at_once_lose_nothing_though_killed(tmp_path: Path) -> None:
    writers = [started(str(tmp_path), "10", str(seed)) for seed in (1, 2)]
    found = [acknowledged(writer) for writer in writers]
    assert all(all(one[1::2]) for one in found)
    ids = [one for some in found for kill in some for one in kill]
    check_whole(tmp_path, ids)
