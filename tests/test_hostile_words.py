"""What was typed, or stands in a file, is data: in messages, in the store, in a terminal, on the page."""

import json
import sqlite3
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command import patchwright
from handmade_results import made
from patchwright.app.text import BREAK, escape, escape_typed
from patchwright.atomic_files import check_writable, write_atomic
from patchwright.errors import (
    MOST_QUOTED,
    MOST_REASON,
    ArchiveError,
    InputError,
    LessonError,
    OutputError,
    PatchwrightError,
    UnknownPlaceError,
    printable_text,
    quoted,
    reason,
)
from patchwright.lessons.schema import read_lesson
from patchwright.methods import METHODS
from patchwright.places import parse_place
from patchwright.prompts.datasets import RowError, read_items
from patchwright.storage.archive import read_archive, write_archive
from patchwright.storage.database import FILE_NAME
from patchwright.storage.serialization import Record, record_of
from patchwright.storage.store import Store

HOSTILE = [
    "'; DROP TABLE runs; --",
    '" OR 1=1; --',
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1)) ![y](//evil) :smile: $x^2$ **b** `c`",
    "[red]x[/red]",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe",
    "%s {0} ${HOME} $(id) `id`",
    "../../etc/passwd",
]
LONG = "y" * 100_000
WHEN = "2026-01-01T00:00:00+00:00"


@given(text=st.text(st.characters(codec=None), max_size=600))
def test_any_text_is_quoted_in_a_few_printable_characters(text: str) -> None:
    for said, most in ((quoted(text), MOST_QUOTED), (reason(text), MOST_REASON)):
        assert said.isprintable()
        assert len(said) <= 12 * most
    assert printable_text(text).replace("\n", "").isprintable()
    assert printable_text("plain é 🙂 text\n") == "plain é 🙂 text\n"


def said(error: PatchwrightError) -> str:
    text = str(error)
    assert len(text) < 1500
    return text


def test_a_message_repeats_little_of_what_was_given() -> None:
    with pytest.raises(UnknownPlaceError, match="is not a place") as place:
        parse_place(LONG.upper())
    asked = {"method": "attention", "model": "demo", "pairs": [], "layer": 0, "head": 0}
    with pytest.raises(InputError, match="no such field") as field:
        METHODS.parse(json.dumps({**asked, LONG: 1}))
    with pytest.raises(InputError, match="Input tag") as method:
        METHODS.parse(json.dumps({"method": LONG}))
    with pytest.raises(LessonError, match="line 1") as lesson:
        read_lesson(f"{LONG[:9000]}: 1", "long")
    for caught in (place, field, method, lesson):
        assert "\u001b" not in said(caught.value)
    rows = [*read_items([json.dumps({LONG: 1})], "jsonl"), *read_items([f"{LONG},a\n"], "csv")]
    for row in rows:
        assert isinstance(row, RowError)
        assert len(row.message) < 500


def test_of_a_lesson_full_of_faults_twenty_are_told() -> None:
    faults = "\n".join(f"x{i}: 1" for i in range(300))
    with pytest.raises(LessonError) as caught:
        read_lesson(f"title: a\n{faults}", "faulty")
    assert len(str(caught.value).splitlines()) == 20


@pytest.mark.parametrize(
    "spoil",
    [
        {"effect": None}, {"method": 7}, {"experiment": []}, {"tokens": {}}, {"tokens": []},
        {"tokens": {"clean": 1, "corrupt": []}}, {"arrays": []}, {"arrays": {"x": {}}},
        {"warnings": [{}]}, {"warnings": [{"code": 1, "message": 2}]}, {"seconds": "x"},
        {"details": 1}, {"model": 1}, {"clean": {}}, {"clean": []}, {"altered": 7},
        {"patched": {"a": 1}}, {"dims": ["a"]}, {"coords": []}, {"patched": [[[[]]]]},
    ],
    ids=str,
)  # fmt: skip
def test_a_result_with_a_part_that_is_none_is_refused(
    tmp_path: Path, spoil: dict[str, Any]
) -> None:
    document = made([[1.0, 0.5]]).document()
    for name, value in spoil.items():
        if value is None:
            del document[name]
        else:
            document[name] = value
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(OutputError, match="is not a Patchwright result"):
        METHODS.load_result(path)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"7", b'{"schema": 1}', b""])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(OutputError) as caught:
        METHODS.load_result(tmp_path / "x.json")
    assert said(caught.value).isprintable()


def test_an_archives_raw_bytes_do_not_come_into_the_message(tmp_path: Path) -> None:
    path = tmp_path / "runs.zip"
    with path.open("wb") as stream:
        write_archive(stream, [record_of(made([[1.0, 0.5]]), WHEN)])
    data = bytearray(path.read_bytes())
    # The name that stands before a member's bytes becomes as long as the file lets it.
    data[26:28] = (2000).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(ArchiveError) as caught:
        list(read_archive(path))
    assert said(caught.value).isprintable()


def test_an_archives_note_that_is_no_text_is_refused(tmp_path: Path) -> None:
    record = record_of(made([[1.0, 0.5]]), WHEN)
    path = tmp_path / "runs.zip"
    with path.open("wb") as stream:
        write_archive(stream, [Record(record.document, record.arrays, WHEN, "NOTE")])
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["runs.json"] = parts["runs.json"].replace(b"NOTE", rb"\udcff")
    with ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ArchiveError, match="a note that is no text"):
        Store(tmp_path / "store").import_archive(path)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_stored_is_text_to_the_store_the_terminal_and_the_page(
    home: Path, text: str
) -> None:
    store = Store()
    texts = ("<|endoftext|>", text, " a", " b"), ("<|endoftext|>", " c", text, " b")
    result = made([[1.0, 0.5, 0.1, 0.2]], tokens=texts, pairs={
        "clean": text, "corrupt": f"{text} b", "answer": [text], "wrong": [" x"]
    })  # fmt: skip
    store.save(result)
    one = store.entries()[0]
    store.note(one.id, text)
    assert store.entry(one.id).note == text
    assert store.get(one.id).tokens["clean"][1] == text
    assert text.split()[0].casefold() in store.entries(text)[0].note.casefold()
    with sqlite3.connect(home / FILE_NAME) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    connection.close()
    for words in (["runs", "list"], ["runs", "show", one.id], ["runs", "list", "--", text]):
        done = patchwright(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.replace("\n", "").isprintable()
    shown = escape(text).replace(BREAK, "")
    for mark in "<>[]*`$!":
        assert shown.count(mark) == shown.count(f"\\{mark}")


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202e", "\x07", "\udcff"])
def test_what_acts_on_a_terminal_is_shown_in_errors_as_its_number(
    text: str, tmp_path: Path
) -> None:
    (tmp_path / "set.jsonl").write_bytes(json.dumps({text: 1}).encode() + b"\n")
    for words in (
        ["patch", "--example", text],
        ["patch", "--example=ioi", f"--site={text}"],
        ["patch", "--pairs", "set.jsonl"],
        ["runs", "show", f"x{text}"],
        ["runs", "note", f"x{text}", "a"],
        ["build", "template", f"{text}.json"],
    ):
        done = patchwright(*words, cwd=tmp_path)
        assert done.returncode == 2, (words, done.stderr)
        assert done.stderr.replace("\n", "").isprintable(), words
        assert f"<U+{ord(text[0]):04X}>" in done.stderr or text == "\udcff", words


@pytest.mark.parametrize("text", ["0-99999999999999", "0-9,5-1", "10000000", "9" * 5000, "1-2-3"])
def test_lists_of_numbers_that_no_model_has_are_refused(text: str) -> None:
    done = patchwright("patch", "--example", "ioi", "--layers", text)
    assert done.returncode == 2
    assert "--layers" in done.stderr
    assert len(done.stderr) < 300


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300 + ".png", "x" * 5000, ".", ".."])
def test_names_that_no_file_can_have_are_refused_before_the_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError):
        check_writable(tmp_path / name)
    with pytest.raises(OutputError):
        write_atomic(tmp_path / name, "x")
    assert list(tmp_path.iterdir()) == []


def test_signs_for_spaces_are_spaces_in_our_sentences_and_themselves_in_what_was_typed() -> None:
    assert escape("after the prompt is '·Mary'") == r"after the prompt is \' Mary\'"
    assert escape_typed("1 · 2 → 3") == "1 · 2 → 3"
    assert "\t" not in escape_typed("a\tb")
    assert "\x1b" not in escape_typed("a\x1bb")
