"""Every published format is loaded and patched with one command, and by upload."""

import json
from csv import DictReader
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import patchwright as pw
from command import Command, command_in, patchwright
from patchwright.app import pair_sets
from patchwright.cli import options
from patchwright.prompts.formats import FORMATS
from patchwright.prompts.formats.format import Reading
from public_data import FILES, PublicFile

EVERY = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


@pytest.fixture
def command(
    demo: pw.Model, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    def loaded(*_: Any) -> pw.Model:
        return demo

    monkeypatch.setattr(options, "load", loaded)
    return command_in(capsys, monkeypatch)


def written(file: PublicFile, folder: Path, demo: pw.Model) -> str:
    assert demo.tokenizer is not None
    path = folder / file.name
    path.write_bytes(file.content(demo.tokenizer))
    return str(path)


def test_there_is_a_file_of_every_format() -> None:
    assert {file.format for file in FILES} == {"columns", *(one.name for one in FORMATS)}


@EVERY
def test_every_format_is_patched_with_one_command(
    file: PublicFile, command: Command, tmp_path: Path, demo: pw.Model
) -> None:
    path, out = written(file, tmp_path, demo), str(tmp_path / "out.json")
    asked = ["--pairs", path, *file.options, "--site", "z", "--layers", "0", "--json", out]
    metric = ["--metric", "logprob_diff"] if file.format == "docstring" else []
    done = command("patch", *asked, *metric)
    assert done.status == 0, done.err
    assert f"(format {file.format}): " in done.err
    assert f"{file.pairs} pair" in done.err
    document = json.loads(Path(out).read_text(encoding="utf-8"))
    pairs = document["experiment"]["pairs"]
    assert len(pairs if isinstance(pairs, list) else [pairs]) == file.pairs


def test_what_a_file_says_beside_a_pair_is_in_the_csv_of_the_set(
    command: Command, tmp_path: Path, demo: pw.Model
) -> None:
    file = next(one for one in FILES if one.name == "known_1000.json")
    path, out = written(file, tmp_path, demo), tmp_path / "cells.csv"
    given = "--pairs", path, "--site", "z", "--layers", "0", "--csv", str(out)
    assert command("patch", *given).status == 0
    found = pw.read_pairs(path, model=demo)
    notes = {str(i): one.notes["known_id"] for i, one in enumerate(found.items, 1)}
    rows = list(DictReader(StringIO(out.read_text(encoding="utf-8-sig"), newline="")))
    assert {row["pair"]: row["note_known_id"] for row in rows} == {
        pair: str(note) for pair, note in notes.items()
    }


@pytest.mark.parametrize("name", ["templates.json", "pronouns.txt"])
def test_the_pairs_of_templates_are_drawn_with_a_seed(
    command: Command, tmp_path: Path, demo: pw.Model, name: str
) -> None:
    file = next(one for one in FILES if one.name == name)
    given = "--pairs", written(file, tmp_path, demo), "--pairs-count", "6", "--experiment", "-"
    usual, same, other = (
        command("patch", *given, *seed).out
        for seed in ((), ("--pairs-seed", "0"), ("--pairs-seed", "1"))
    )
    assert usual == same != other
    told = command("patch", *given, "--pairs-seed", "-1")
    assert (told.status, "'--pairs-seed'" in told.err) == (2, True)


@EVERY
def test_every_format_becomes_the_pairs_that_it_means_and_keeps_the_rest_as_notes(
    file: PublicFile, tmp_path: Path, demo: pw.Model
) -> None:
    given = dict(zip(file.options[::2], file.options[1::2], strict=True))
    columns = {k[2:-7]: v for k, v in given.items() if k.endswith("-column")}
    found = pw.read_pairs(
        written(file, tmp_path, demo),
        model=demo,
        metric="logprob_diff",
        columns=columns,
        token_ids=given.get("--token-ids", ""),
        shots=int(given.get("--shots", 5)),
        count=int(given.get("--pairs-count", 0)) or None,
    )
    assert found.format is not None
    assert (found.format.name, len(found.items), found.skipped) == (file.format, file.pairs, ())
    assert set(found.items[0].notes) == set(file.notes)
    pair = found.pairs[0]
    first = (
        pair.clean,
        pair.corrupt,
        "|".join(map(str, pair.answers)),
        "|".join(map(str, pair.wrongs)),
    )
    assert first == file.first or not any(file.first)
    assert pair.clean != pair.corrupt


@EVERY
def test_every_format_is_read_by_upload(file: PublicFile, demo: pw.Model) -> None:
    assert demo.tokenizer is not None
    given = dict(zip(file.options[::2], file.options[1::2], strict=True))
    columns = {k[2:-7]: v for k, v in given.items() if k.endswith("-column")}
    how = Reading(columns=columns, token_ids=given.get("--token-ids", ""))
    found = pair_sets.read_file(file.name, file.content(demo.tokenizer), how, demo)
    assert found.skipped == ()
    assert len(found.items) >= file.pairs
    assert f"(format {file.format}): " in found.summary


def test_skipped_records_are_told_and_saved_and_so_many_reasons_are_enough(
    command: Command, tmp_path: Path
) -> None:
    good = {"clean_prefix": "The keys", "patch_prefix": "The key", "clean_answer": " are"}
    rows = [good | {"patch_answer": " is"}]
    rows += [good | {"patch_answer": " is", "clean_answer": f" {'so ' * i}many"} for i in range(2)]
    rows += [good | {"patch_prefix": "The" + " key" * i} for i in range(3, 33)]
    path, rejects = tmp_path / "a.json", tmp_path / "rejects.jsonl"
    path.write_text(json.dumps(rows), encoding="utf-8")
    done = command(
        *("patch", "--pairs", str(path), "--rejects", str(rejects)),
        *("--metric", "probability", "--json", str(tmp_path / "out.json")),
    )
    assert done.status == 0
    told = done.err.splitlines()
    assert sum(line.startswith("Line ") for line in told) == 20
    assert "… and 10 more reasons: --rejects FILE writes all skipped records." in told
    assert len(rejects.read_text(encoding="utf-8").splitlines()) == 30


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only-answered"], "--only-answered says how a file of pairs is read: add --pairs"),
        (["--pairs", "a.txt", "--rejects", "no/folder/a"], "no/folder"),
        (["--pairs", "a.txt"], "'a.txt' has the fields 'text'"),
        (["--pairs", "a.txt", "--pairs-format", "x"], "They are: auto, patchwright, counterfact"),
        (["--pairs", "a.txt", "--pairs-count", "0"], "count 0"),
    ],
)
def test_a_file_that_cannot_be_used_gets_one_message_and_exit_status_2(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("Once upon a time\n", encoding="utf-8")
    done = command("patch", *arguments)
    assert done.status == 2
    assert says in done.err


def test_a_table_comes_from_standard_input() -> None:
    done = patchwright(
        *("patch", "--pairs", "-", "--layers", "0", "--csv", "-"),
        stdin="clean_prefix,patch_prefix,clean_answer,patch_answer\nThe keys,The key, are, is\n",
    )
    assert done.returncode == 0, done.stderr
    assert "format feature-circuits" in done.stderr


def test_a_fact_of_a_file_is_traced_at_its_subject_and_all_are_written_down(
    command: Command, tmp_path: Path, demo: pw.Model
) -> None:
    file = next(one for one in FILES if one.name == "known_1000.json")
    path, out = written(file, tmp_path, demo), str(tmp_path / "out.json")
    few = ("--samples", "2")
    done = command("trace", "--pairs", path, "--pair", "2", *few, "--json", out)
    assert done.status == 0, done.err
    expected = pw.trace(demo, "The capital of Italy is", "Italy", " Rome", samples=2)
    assert pw.load_result(out).patched.equals(expected.patched)
    done = command("trace", "--pairs", path, "--experiment", "-", *few)
    subjects = [json.loads(line)["subject"] for line in done.out.splitlines()]
    assert subjects == ["France", "Italy", "Spain", "Germany"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--pair", "9"], "--pair 9: the file has the pairs 1-2"),
        ([], "have no subject: name it with --subject"),
        (["--prompt", "a"], "either --pairs or one prompt"),
    ],
)
def test_what_a_trace_cannot_take_from_a_file_is_refused(
    command: Command, tmp_path: Path, demo: pw.Model, arguments: list[str], says: str
) -> None:
    file = next(one for one in FILES if one.name == "ioi_sentences.csv")
    subject = ["--subject", "John"] if "--pair" in arguments else []
    done = command("trace", "--pairs", written(file, tmp_path, demo), *subject, *arguments)
    assert done.status == 2
    assert says in done.err
