"""Files of pairs however they were saved; what was understood of them, and what is refused."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.errors import FormatError, InputError
from patchwright.prompts.formats import FORMATS
from patchwright.prompts.formats.document import read_document
from patchwright.prompts.formats.format import Format, Reading
from patchwright.prompts.pairs_file import PairSet, read_pairs_file

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]
ROW = {"clean_prefix": "a b", "patch_prefix": "a c", "clean_answer": " x", "patch_answer": " y"}
TABLE = "clean_prefix,patch_prefix,clean_answer,patch_answer\n"


def read(content: bytes | str, name: str = "a.csv", **how: Any) -> PairSet:
    given = content.encode() if isinstance(content, str) else content
    file = read_pairs_file(given, name, Reading(**how))
    return PairSet.of(file, file.rows())


def test_empty_rows_of_a_table_are_passed_over_and_counted() -> None:
    found = read(f"{TABLE}\né b,é c, x, y\n,,,\nd,e, x, y\n")
    assert found.format is not None
    assert found.format.name == "feature-circuits"
    assert [(one.pair.clean, one.line) for one in found.items] == [("é b", 3), ("d", 5)]
    assert found.skipped == ()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.txt", "-"])
def test_a_json_document_is_read_however_it_was_saved(
    encoding: str, indent: int | None, name: str
) -> None:
    bad = ROW | {"clean_answer": ""}
    found = read(json.dumps([ROW, bad, ROW], indent=indent).encode(encoding), name)
    lines = [1, 14] if indent else [1, 3]
    assert [one.line for one in found.items] == ([2, 14] if indent else lines)
    assert [one.line for one in found.skipped] == ([8] if indent else [2])


def test_quotes_hold_what_separates_cells_and_lines() -> None:
    found = read(TABLE + '"a, ""b""\nc","a;d", x, y\n')
    assert found.pairs[0].clean == 'a, "b"\nc'


def test_lines_of_json_may_be_called_json() -> None:
    found = read(f"{json.dumps(ROW)}\n\n{json.dumps(ROW)}\n", "a.json")
    assert [one.line for one in found.items] == [1, 3]
    assert "1 pair repeats an earlier one" in found.summary


def test_a_json_document_is_refused_where_it_breaks_off() -> None:
    found = read('[\n  {"a": 1},\n  {"b"', "a.json")
    assert [one.line for one in found.skipped] == [3]
    assert "not JSON" in found.skipped[0].message


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(), some, max_size=3),
    max_leaves=8,
)


@given(
    some=st.lists(st.dictionaries(st.text(min_size=1), VALUES), max_size=4),
    indent=st.sampled_from([None, 1]),
)
def test_every_record_of_a_json_document_is_read_as_it_is(
    some: list[Any], indent: int | None
) -> None:
    text = json.dumps(some, indent=indent)
    assert [one.fields for one in read_document(text.encode(), "a.json").records] == some
    lists = json.dumps({"tokenizer": 3, "prompts": some}, indent=indent)
    expected = some or [{"tokenizer": 3, "prompts": []}]
    assert [one.fields for one in read_document(lists.encode(), "a.json").records] == expected


@given(
    content=st.binary(max_size=200),
    name=st.sampled_from(["a.csv", "a.json", "a.jsonl", "a.txt", "-"]),
)
def test_any_bytes_are_pairs_or_an_input_error(content: bytes, name: str) -> None:
    with suppress(InputError):
        read(content, name)


TEXTS = st.sampled_from(
    ["a b a", "Mary and John met. John gave it to Mary", "year 1732 to 17", "{}"]
)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
@given(data=st.data())
def test_any_values_are_pairs_of_a_format_or_have_a_reason(
    one: Format, data: st.DataObject
) -> None:
    fields = st.sampled_from([name.partition(".")[0] for name in one.read_fields])
    rows = data.draw(st.lists(st.dictionaries(fields, VALUES | TEXTS), max_size=4))
    rows = [*rows, dict.fromkeys(one.read_fields, "a b a"), {"other": 1}]
    text = json.dumps(rows)
    # Of token ids whose nobody says they are.
    with suppress(InputError):
        found = read(text, "a.json", format=one.name)
        assert {item.line for item in (*found.items, *found.skipped)} == set(
            range(1, len(rows) + 1)
        )
    with suppress(InputError):
        read(text, "a.json")


def test_what_json_has_no_number_for_is_as_if_it_were_not_there() -> None:
    (item,) = read(json.dumps([{**ROW, "loss": float("nan")}]), "a.json").items
    assert item.notes == {}


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("", "a.csv", "has no records"),
        ("\n\n", "a.json", "has no records"),
        ("[]", "a.json", "has no records"),
        (TABLE, "a.csv", "has no records"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "a.csv", "is not a text file"),
        (
            "sentence,label\nx,1\n",
            "a.csv",
            "has the fields 'sentence', 'label', which are those of no",
        ),
        ('{"a": 1}', "a.json", "has the fields 'a'"),
        ("Once upon a time\n", "a.txt", "has the fields 'text'"),
        (
            "clean,corrupted,correct_idx,incorrect_idx\na,b,1,2\n",
            "a.csv",
            "does not say of which",
        ),
        (
            '{"tokenizer": "gpt2", "prompts": [{"clean": [1], "corrupt": [2], "answers": [3]}]}',
            "a.json",
            "token ids of 'gpt2': give the model",
        ),
    ],
)
def test_a_file_that_is_none_of_the_formats_is_refused_with_what_to_do(
    content: str | bytes, name: str, says: str
) -> None:
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        read(content, name)


def test_the_columns_of_an_unknown_file_are_named() -> None:
    with pytest.raises(FormatError) as refused:
        read("one,two\na,b\n")
    assert refused.value.columns == ("one", "two")
    assert "--clean-column" in str(refused.value)


def test_a_column_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        FormatError, match="has no column 'promt': it has 'prompt', 'corrupt', 'answer'"
    ):
        read("prompt,corrupt,answer\na,b, x\n", columns={"clean": "promt"})


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (
            {"format": "blmp"},
            "'blmp' is no format of pairs. They are: auto, patchwright, counterfact",
        ),
        ({"columns": {"prompt": "a"}}, "'prompt' cannot be a column"),
        ({"columns": {"clean": "a"}, "format": "blimp"}, "either a format"),
        ({"shots": 0}, "shots 0: give at least 1"),
        ({"count": 0}, "count 0: give at least 1"),
        ({"align": "loose"}, "choose exact or edges"),
    ],
)
def test_how_a_file_is_read_is_checked(how: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(TABLE + "a,b, x, y\n", **how)


def test_a_subject_of_nothing_but_spaces_is_a_reason() -> None:
    fact = {"prompt": "Rome is in", "subject": " ", "target_true": " Italy", "relation_id": "P1"}
    (skipped,) = read(json.dumps([fact]), "a.json").skipped
    assert "'subject' is missing, empty or no text" in skipped.message


def test_a_missing_space_is_counted_and_put_there_only_where_it_is_asked_for() -> None:
    text = TABLE + "a b,a c,x,y\nto 17,to 18,98,97\n"
    found = read(text)
    assert found.pairs[0].answers == ("x",)
    assert "1 pair has an answer without a space before them" in found.summary
    repaired = read(text, add_space=True)
    assert [one.answers for one in repaired.pairs] == [(" x",), ("98",)]
    assert "space" not in repaired.summary


def test_further_columns_are_notes_which_are_written_and_read_again(tmp_path: Path) -> None:
    (item,) = read(json.dumps([{**ROW, "case": 3, "empty": "", "more": ["a"]}]), "a.json").items
    assert item.notes == {"case": 3, "more": ["a"]}
    path = tmp_path / "again.jsonl"
    path.write_text("".join(pw.write_items([item])), encoding="utf-8")
    assert pw.read_pairs(path).items == (item,)


def test_skipped_records_are_written_with_their_lines_and_reasons() -> None:
    found = read(TABLE + "a b,a b, x, y\na b,a c, x, y\na b,a c, x\n")
    rows = [json.loads(line) for line in found.rejects().splitlines()]
    assert [row["line"] for row in rows] == [2, 4]
    assert "are the same" in rows[0]["reason"]
    assert rows[0]["record"]["clean_prefix"] == "a b"
    assert "3 records, 1 pair, 2 skipped" in found.summary


def test_only_so_many_pairs_are_taken() -> None:
    found = read(TABLE + "a,b, x, y\n" * 4, count=3)
    assert len(found.items) == 3
    assert found.more
    assert not read(TABLE + "a,b, x, y\n" * 3, count=3).more


def test_the_format_is_that_of_most_records() -> None:
    odd = {"clean": "a", "corrupt": "b", "answer": " c"}
    found = read(json.dumps([odd, ROW, ROW]), "a.json")
    assert found.format is not None
    assert found.format.name == "feature-circuits"
    assert [one.line for one in found.skipped] == [1]
