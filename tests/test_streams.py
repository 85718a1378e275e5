"""Output streams of any encoding, full ones, closed ones, and readers that leave."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from command import QUIET, patchwright
from patchwright.cli.full import app
from patchwright.streams import encodable_text

ENCODINGS = ["ascii", "cp1252", "latin-1", "koi8-r", "shift_jis", "utf-8"]
FOREIGN = "Mary\n said: 北京 🙂 é → · went"
SENTENCE = "The output cannot be written"


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=st.text(st.characters(codec=None), max_size=60))
def test_any_text_can_be_written_in_any_encoding(encoding: str, text: str) -> None:
    shown = encodable_text(text, encoding)
    assert shown.encode(encoding).decode(encoding) == shown
    if text.isascii():
        assert shown == text


def test_two_texts_that_differ_stay_apart_but_for_the_signs() -> None:
    letters = "北京東éü🙂↵→\udcff"
    shown = [encodable_text(one, "ascii") for one in letters]
    assert len(set(shown)) == len(letters)
    assert encodable_text("·Mary", "ascii") == "_Mary"
    assert encodable_text("·Mary↵", "cp1252") == r"·Mary\n"


PRINTING = [
    ["tokens", FOREIGN, f"{FOREIGN} again"],
    ["places"],
    ["models"],
    ["examples"],
    ["lessons"],
    ["build", "template"],
    ["build", "template", "{A} sah 北京 {B}", "--slot", "A=Mary,John", "--slot", "B=é,ü",
     "--swap", "A={B}", "--answer", " {A}", "--count", "1"],
    ["patch", "--clean", f"{FOREIGN} red", "--corrupt", f"{FOREIGN} blue", "--answer", " Mary",
     "--metric", "logit"],
    ["patch", "--example", "ioi", "--json", "-"],
    ["patch", "--example", "ioi", "--csv", "-"],
    ["patch", "--example", "ioi", "--experiment", "-"],
    ["trace", "--prompt", f"{FOREIGN} the", "--subject-positions", "2", "--answer", " Mary",
     "--samples", "2"],
    ["attention", "--example", "ioi", "--layer", "2", "--head", "1"],
    ["logit-lens", "--example", "ioi"],
    ["logit-attribution", "--example", "ioi"],
    ["difference", "--example", "ioi"],
    ["head-scores", "--example", "ioi"],
    ["explain", "--example", "ioi"],
    ["runs", "list"],
    ["runs", "list", "--json", "-"],
    ["runs", "show", "nicht-北京"],
    ["patch", "--example", "北京·↵"],
    ["patch", "--pairs", "北京.jsonl"],
    [FOREIGN],
]  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("words", PRINTING, ids=lambda words: "-".join(words)[:40])
def test_every_command_prints_to_a_stream_that_lacks_its_characters(
    words: list[str], encoding: str
) -> None:
    usual = patchwright(*words)
    assert "Something went wrong" not in usual.stderr
    assert usual.returncode in (0, 2)
    if "-" not in words:
        done = patchwright(*words, encoding=encoding)
        assert done.returncode == usual.returncode, done.stderr
        assert len(done.stdout) >= len(usual.stdout) > 0 or usual.returncode


@pytest.mark.parametrize("option", ["--json", "--csv", "--experiment"])
def test_a_document_on_standard_output_is_utf_8_as_in_a_file(option: str, tmp_path: Path) -> None:
    words = [
        "patch",
        "--clean",
        "北京 red",
        "--corrupt",
        "北京 blue",
        "--answer",
        " Mary",
        "--metric",
        "logit",
    ]
    written = patchwright(*words, option, str(tmp_path / "document"))
    assert written.returncode == 0, written.stderr
    piped = subprocess.run(
        [sys.executable, "-m", "patchwright.cli", *words, option, "-"],
        capture_output=True,
        env=os.environ | QUIET | {"PYTHONIOENCODING": "ascii"},
    )
    assert piped.stdout == (tmp_path / "document").read_bytes()


def commands(group: typer.Typer = app) -> Iterator[list[str]]:
    """The words of every command and group."""
    tree = typer.main.get_command(group)
    yield []
    for name, command in getattr(tree, "commands", {}).items():
        yield [name]
        yield from ([name, inner] for inner in getattr(command, "commands", {}))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_is_ascii(words: list[str]) -> None:
    """Typer writes UTF-8 to a stream that takes ASCII alone, so that help must need no more."""
    assert patchwright(*words, "--help", encoding="ascii").stdout.isascii()


def run(words: str, **streams: str) -> subprocess.CompletedProcess[str]:
    """`patchwright` started by a shell, with what the shell is to do with its streams."""
    python = f"{sys.executable} -m patchwright.cli"
    return subprocess.run(
        ["bash", "-c", words.replace("patchwright", python)],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | QUIET | streams,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", ["tokens Mary", "--help", "patch --example ioi --json -"])
def test_a_full_disk_behind_standard_output_is_one_sentence(words: str) -> None:
    done = run(f"patchwright {words} > /dev/full")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Error: {SENTENCE}: No space left on device."), done.stderr
    assert done.stderr.count("Error") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_where_nothing_can_be_written_the_exit_status_still_says_why() -> None:
    assert run("patchwright tokens Mary > /dev/full 2> /dev/full").returncode == 1
    assert run("patchwright patch --example x 2> /dev/full").returncode == 2


@pytest.mark.parametrize("words", ["tokens Mary", "--help"])
def test_a_reader_that_leaves_is_not_complained_about(words: str) -> None:
    done = run(f"patchwright {words} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("", "")


def test_closed_streams_are_no_failure() -> None:
    assert run("patchwright tokens Mary >&-").returncode == 0
    assert run("patchwright patch --example x 2>&-").returncode == 2


def test_the_progress_bar_of_an_ascii_terminal_is_ascii() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "patchwright.cli", "patch", "--example", "ioi", "--no-store"],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=os.environ | QUIET | {"PYTHONIOENCODING": "ascii", "TERM": "xterm"},
    )
    os.close(theirs)
    drawn = b"".join(_blocks(ours))
    assert process.wait() == 0
    assert b"cells" in drawn
    assert drawn.isascii()


def _blocks(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal until its writer ends."""
    with open(terminal, "rb", buffering=0) as stream:
        try:
            while block := stream.read(1024):
                yield block
        except OSError:
            return
