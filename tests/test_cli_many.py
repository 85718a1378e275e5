"""`patchwright run`: from a file into a store, ended at any point, and on from there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import patchwright as pw
from command import IOI, Command, command_in, patchwright
from patchwright.methods import METHODS
from patchwright.storage import batch_runner
from patchwright.storage.batch_runner import BatchStatus
from patchwright.storage.store import Store

BAD = [
    ("{", "Invalid JSON"),
    ("[1]", "The experiment: "),
    ('{"model": "demo"}', "Unable to extract tag using discriminator 'method'"),
    ('{"method": "guess"}', "does not match any of the expected tags"),
    ('{"method": "patch", "model": "demo", "per": "layer"}', "field 'pairs': it is missing"),
]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_in(capsys, monkeypatch)


def heads(*layers: int) -> list[str]:
    """Experiments on the demo model that share nothing, one a line."""
    pair = pw.Pair(clean=IOI[1], corrupt=IOI[3], answer=" Mary", wrong=" John")
    asked = {"model": "demo", "pairs": pair, "site": "z", "per": "head"}
    return [pw.Patch.of({**asked, "layers": (layer,)}).model_dump_json() for layer in layers]


def file_of(folder: Path, *lines: str) -> str:
    path = folder / "experiments.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_what_a_command_writes_down_is_run_and_answers_that_command(
    command: Command, tmp_path: Path
) -> None:
    asked = ("patch", *IOI, "--site", "z", "--direction", "noise")
    lines = command(*asked, "--experiment", "-").out
    done = command("run", "-", stdin=lines.encode())
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("1 experiments: 1 done, 0 there before, 0 failed. In ")
    assert command(*asked).err.startswith("From the run store: ")


def test_every_method_can_be_written_down_and_read_again(command: Command) -> None:
    example = ("--example", "ioi")
    eiffel = ("--prompt", "The Eiffel Tower is in", "--subject-positions", "1-2")
    for method, *arguments in (
        ("patch", *example, "--place", "L0.mlp_out@-1"),
        ("trace", *eiffel, "--answer", " Paris"),
        ("ablate", *example, "--ablation", "mean", "--prompt", "A prompt"),
        ("attribute", *example),
        ("path_patch", *example),
        ("edge_attribution", *example),
        ("difference", *example),
        ("head_scores", *example),
        ("logit_lens", *example),
    ):
        name = {
            "path_patch": "paths",
            "edge_attribution": "circuit",
            "difference": "diff",
            "head_scores": "attention",
            "logit_lens": "lens",
        }.get(method, method)
        (line,) = command(name, *arguments, "--experiment", "-").out.splitlines()
        again = METHODS.parse(line)
        assert again.model_dump_json() == line
        assert again.hash == type(again).of(json.loads(line)).hash
        assert again.name().startswith(method)


def test_bad_lines_are_told_by_number_before_the_good_ones_are_done(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[str] = []
    whole = batch_runner.run_many

    def watched(*given: object, **named: object) -> BatchStatus:
        told.append(capsys.readouterr().err)
        return whole(*given, **named)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(batch_runner, "run_many", watched)
    lines = ["\ufeff" + heads(0)[0], "", *(line for line, _ in BAD), heads(1)[0] + "\r"]
    done = command("run", file_of(tmp_path, *lines), "--out", str(tmp_path / "runs"))
    assert done.status == 1
    assert done.out.startswith("2 experiments: 2 done, 0 there before, 0 failed, 5 bad lines. In ")
    (errors,) = [text.splitlines() for text in told]
    assert [line.split(":")[0] for line in errors] == [f"Line {3 + i}" for i in range(5)]
    for line, (_, says) in zip(errors, BAD, strict=True):
        assert says in line
    assert len(Store(tmp_path / "runs").entries()) == 2


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (None, "cannot be read: No such file"),
        (["", " "], "No line of '"),
        (["{"], "No line of '"),
    ],
)
def test_where_nothing_can_be_done_the_exit_status_is_2(
    command: Command, tmp_path: Path, home: Path, lines: list[str] | None, says: str
) -> None:
    file = str(tmp_path / "nothing") if lines is None else file_of(tmp_path, *lines)
    done = command("run", file)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert not home.exists()


def test_a_failure_is_told_with_its_line_and_listed(command: Command, tmp_path: Path) -> None:
    lines = ["", heads(0)[0], heads(77)[0]]
    done = command("run", file_of(tmp_path, *lines))
    assert done.status == 1
    assert done.err.startswith("Line 3 failed: ")
    assert "layers 0-5" in done.err
    assert "1 done, 0 there before, 1 failed" in done.out
    listed = json.loads(command("runs", "list", "--failures", "--json", "-").out)["failures"]
    assert [json.loads(one["experiment"])["layers"] for one in listed] == [[77]]
    assert "Layer 77" in command("runs", "list", "--failures").out


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Store.save_all

    def interrupted(store: Store, results: list[pw.Result]) -> list[str]:
        os.kill(os.getpid(), signal.SIGINT)
        return kept(store, results)

    file = file_of(tmp_path, *heads(0, 1, 2))
    monkeypatch.setattr(
        "patchwright.storage.batch_runner.WAIT", -1.0
    )  # each outcome is kept at once
    calls = iter([kept, interrupted])
    monkeypatch.setattr(Store, "save_all", lambda *given: next(calls)(*given))
    done = command("run", file)
    assert done.status == 130
    assert "Stopping after this batch" in done.err
    assert "the same command goes on from here" in done.err
    assert done.out.startswith("3 experiments: 2 done, 0 there before, 0 failed, 1 left. In ")
    monkeypatch.setattr(Store, "save_all", kept)
    again = command("run", file)
    assert (again.status, again.out[:46]) == (0, "3 experiments: 1 done, 2 there before, 0 faile")


KILLED = """
import os, signal, sys
from patchwright.storage import batch_runner
from patchwright.storage.store import Store

batch_runner.WAIT = -1.0  # each outcome is kept at once
call, moment = int(sys.argv.pop(1)), sys.argv.pop(1)
save_all, calls = Store.save_all, 0

def killed(store, results):
    global calls
    calls += 1
    if calls == call and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    ids = save_all(store, results)
    if calls == call and moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return ids

Store.save_all = killed
from patchwright.cli import main
main()
"""
"""The command line, killed as it keeps results for the n-th time: before, or after they are kept."""


@pytest.mark.parametrize(
    ("call", "moment", "kept"),
    [("1", "before", 0), ("1", "after", 1), ("3", "before", 2), ("5", "after", 5)],
)
def test_a_killed_run_goes_on_and_does_nothing_twice(
    tmp_path: Path, call: str, moment: str, kept: int
) -> None:
    file, folder = file_of(tmp_path, *heads(*range(6))), tmp_path / "runs"
    asked = ("run", file, "--out", str(folder))
    killed = subprocess.run([sys.executable, "-c", KILLED, call, moment, *asked], check=False)
    assert killed.returncode == -signal.SIGKILL
    store = Store(folder)
    before = {one.id: one.created for one in store.entries(limit=100)}
    assert len(before) == kept
    again = patchwright(*asked)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith(f"6 experiments: {6 - kept} done, {kept} there before")
    after = {one.id: one.created for one in store.entries(limit=100)}
    assert len(after) == 6
    assert before.items() <= after.items()
