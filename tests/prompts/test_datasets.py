import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.errors import InputError
from patchwright.prompts.align import Align
from patchwright.prompts.datasets import (
    MOST_RANGES,
    Item,
    Kind,
    RowError,
    error_sentences,
    ranges_text,
    read_items,
    write_items,
)
from patchwright.prompts.pairs_file import read_pairs_file
from patchwright.prompts.records import MOST_CHARACTERS
from patchwright.prompts.roles import Role

GOOD = {"clean": "a b", "corrupt": "a c", "answer": " x", "wrong": [" y", " z"]}
ALIGNS: list[Align] = ["exact", "edges"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@st.composite
def items(draw: st.DrawFn) -> Item:
    clean = draw(TEXT)
    corrupt, answer = draw(TEXT.filter(lambda text: text != clean)), draw(TEXT)
    wrong = draw(st.lists(TEXT.filter(lambda text: text != answer), max_size=2))
    stop = draw(st.integers(1, len(clean)))
    roles = draw(st.sampled_from([(), (Role(name="subject", start=0, stop=stop),)]))
    align: Align = draw(st.sampled_from(ALIGNS))
    pair = pw.Pair(
        clean=clean, corrupt=corrupt, answer=answer, wrong=wrong, align=align, roles=roles
    )
    return Item(pair=pair, tags=tuple(draw(st.lists(TEXT, max_size=2))))


def read(text: str, kind: Kind = "jsonl") -> list[Item | RowError]:
    return list(read_items(text.splitlines(keepends=True), kind))


def read_bytes(content: bytes, kind: Kind) -> list[Item | RowError]:
    return list(read_pairs_file(content, f"pairs.{kind}").rows())


def errors(text: str, kind: Kind = "jsonl") -> list[tuple[int, str]]:
    return [(one.line, one.message) for one in read(text, kind) if isinstance(one, RowError)]


def row(**changes: Any) -> str:
    return json.dumps(GOOD | changes)


@given(some=st.lists(items(), max_size=4))
def test_what_is_written_is_read_as_the_same_pairs_and_tags(some: list[Item]) -> None:
    # One line an item: whatever a prompt holds, it is on no second line.
    lines = list(write_items(some))
    again = list(read_items(io.StringIO("".join(lines), newline="\n"), "jsonl"))
    assert again == [one.model_copy(update={"line": i}) for i, one in enumerate(again_of(some), 1)]


def again_of(some: list[Item]) -> list[Item]:
    return [Item(pair=one.pair, tags=one.tags) for one in some]


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
CELL = st.text(st.characters(exclude_characters="|\0", exclude_categories=["Cs"]), min_size=1)


@given(some=st.lists(items(), min_size=1, max_size=3), encoding=st.sampled_from(ENCODINGS))
def test_jsonl_is_read_in_every_encoding_of_unicode(some: list[Item], encoding: str) -> None:
    content = "".join(write_items(some)).encode(encoding)
    found = read_bytes(content, "jsonl")
    assert [one.pair for one in found if isinstance(one, Item)] == [one.pair for one in some]
    assert len(found) == len(some)


@given(
    rows=st.lists(
        st.tuples(
            st.tuples(CELL, CELL).filter(lambda both: both[0] != both[1]),
            st.lists(CELL, min_size=2, max_size=4, unique=True),
        ).filter(lambda row: "".join((*row[0], *row[1])).strip()),
        min_size=1,
        max_size=4,
    ),
    encoding=st.sampled_from(ENCODINGS),
    delimiter=st.sampled_from(",;\t"),
    named=st.sampled_from([str.lower, str.upper, str.title]),
    more=st.integers(0, 2),
    blank=st.booleans(),
    style=st.sampled_from(
        [("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL)]
    ),
)
def test_a_csv_is_read_back_however_a_spreadsheet_wrote_it(
    rows: list[tuple[tuple[str, str], list[str]]],
    encoding: str,
    delimiter: str,
    named: Any,
    more: int,
    blank: bool,
    style: tuple[str, Any],
) -> None:
    stream = io.StringIO(newline="")
    ending, quoting = style
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=ending, quoting=quoting)
    empty = [[""] * 4] if blank else []
    writer.writerows(empty)
    writer.writerow([*map(named, ("clean", "corrupt", "answer", "wrong")), *[""] * more])
    for prompts, answers in rows:
        writer.writerows(empty)
        writer.writerow([*prompts, "|".join(answers[1:]), answers[0], *[""] * more])
    found = [
        (one.pair.clean, one.pair.corrupt, one.pair.answers, one.pair.wrongs)
        for one in read_bytes(stream.getvalue().encode(encoding), "csv")
        if isinstance(one, Item)
    ]
    assert found == [(*both, tuple(rest), (first,)) for both, (first, *rest) in rows]


def test_text_that_breaks_off_inside_a_character_is_one_refusal() -> None:
    content = (HEAD + "a,b, x, y\n").encode("utf-16")
    with pytest.raises(InputError, match="not valid UTF-16"):
        read_bytes(content[:-1], "csv")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "not an object"),
        (row(prompt="a"), "The field 'prompt' is unknown"),
        ('{"clean": "a", "corrupt": "b"}', "'answer' is missing"),
        (row(clean=""), "'clean' is missing or empty"),
        (row(clean={"a": 1}), "'clean': give a text, or the token ids"),
        (row(clean=1969), "'clean': give a text, or the token ids"),
        (row(clean=[True, 2]), "'[True, 2]' was given"),
        (row(answer=[[1]]), "'answer': give a text or a list of texts, or a token id"),
        (row(answer=7), "'answer' has a number, which would be a token id"),
        (row(answer=[1969, 1970]), "write it as text too, with its leading space"),
        (row(answer=True), "'True' was given"),
        (row(answer=[" x", 7]), "'answer': give a text or a list of texts, or a token id"),
        (row(wrong=7), "'wrong' has a number"),
        (row(tags=3), "'tags' cannot be used: give a text or a list of texts"),
        (row(align="loose"), "'exact' or 'edges'"),
        (row(clean="a c"), "are the same"),
        (row(answer=" y"), "both an answer and a wrong answer"),
        (row(answer=[" x", ""]), "An answer is empty"),
        (row(clean="\ud800"), "not valid UTF-8"),
        (row(roles=[{"name": "s", "start": 0, "stop": 4}]), "after the clean prompt's end at 3"),
        (row(roles=[{"name": "s", "start": 1, "stop": 1}]), "at least one character"),
        (row(roles=[{"name": "last", "start": 0, "stop": 1}]), "choose another name"),
        (row(roles=[{"name": "a,b", "start": 0, "stop": 1}]), "cannot name a role"),
        (row(roles=[{"name": "s", "start": 0, "stop": 1}] * 2), "two roles are named 's'"),
        (row(clean="x" * MOST_CHARACTERS), "more than 200,000 characters"),
    ],
    ids=lambda value: value[:30],
)
def test_a_bad_row_is_named_by_its_line_and_the_others_go_on(line: str, says: str) -> None:
    good = json.dumps(GOOD)
    found = read(f"\ufeff{good}\n\n{line}\n{good}\n")
    assert [one.line for one in found] == [1, 3, 4]
    assert isinstance(found[0], Item)
    assert isinstance(found[2], Item)
    assert isinstance(found[1], RowError)
    assert says in found[1].message


HEAD = "clean,corrupt,answer,wrong\n"


def test_every_bad_row_of_a_csv_is_told_and_the_good_ones_go_on() -> None:
    text = HEAD + 'a,b, x, y\na,b\n"a"b,c, x, y\n"two\nlines",c, x,\na,a, x, y\na,c, x, y\n'
    found = read(text, "csv")
    assert [one.line for one in found if isinstance(one, Item)] == [2, 5, 8]
    told = errors(text, "csv")
    assert [line for line, _ in told] == [3, 4, 7]
    assert "2 cells and the header 4: write an empty cell" in told[0][1]
    assert "not CSV" in told[1][1]


@pytest.mark.parametrize("behind", [1, 200])
def test_a_quote_that_is_never_closed_is_one_error_that_says_what_it_cost(behind: int) -> None:
    text = HEAD + "a,b, x, y\n" + '"a,b, x, y\n' + "a,b, x, y\n" * behind
    good, error = read(text, "csv")
    assert isinstance(good, Item)
    assert isinstance(error, RowError)
    assert error.line == 3
    assert f"lines 3-{behind + 3} are not read" in error.message


def test_a_quote_that_a_later_one_closes_costs_the_rows_between_and_says_so() -> None:
    text = HEAD + '"a,b, x, y\n' + "a,b, x, y\n" * 3 + '"c",d, x, y\n' + "a,b, x, y\n"
    assert [one.line for one in read(text, "csv") if isinstance(one, Item)] == [7]
    ((line, message),) = errors(text, "csv")
    assert line == 2
    assert "lines 2-6 are not read" in message


def test_a_line_that_is_too_long_costs_only_its_own_row() -> None:
    text = HEAD + "x" * MOST_CHARACTERS + ",b, x, y\na,b, x, y\n"
    found = read(text, "csv")
    assert [one.line for one in found] == [2, 3]
    assert isinstance(found[1], Item)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a,b, x, y,z\n", "put quotes around"),
        ("a,b, x\n", "write an empty cell"),
        ("a,a, x, y\n", "are the same"),
    ],
)
def test_what_is_wrong_with_every_row_in_the_same_way_is_told_once(rows: str, says: str) -> None:
    found = read(HEAD + rows * 30, "csv")
    (sentence,) = error_sentences(one for one in found if isinstance(one, RowError))
    assert sentence.startswith("Lines 2-31: ")
    assert says in sentence


def test_years_in_a_csv_are_text() -> None:
    (item,) = read("clean,corrupt,answer\nIn,On,1969\n", "csv")
    assert isinstance(item, Item)
    assert item.pair.answers == ("1969",)


def test_token_ids_are_read_beside_token_ids() -> None:
    (item,) = read(row(clean=[1, 2], corrupt=[1, 3], answer=7, wrong=[8, 9]))
    assert isinstance(item, Item)
    assert (item.pair.answers, item.pair.wrongs) == ((7,), (8, 9))


@given(numbers=st.sets(st.integers(1, 60), min_size=1))
def test_ranges_name_every_number_once(numbers: set[int]) -> None:
    parts = ranges_text(sorted(numbers)).removesuffix(", …").split(", ")
    bounds = [[int(end) for end in part.split("-")] for part in parts]
    named = [one for some in bounds for one in range(some[0], some[-1] + 1)]
    assert len(parts) <= MOST_RANGES
    assert named == sorted(numbers)[: len(named)]
    assert len(named) == len(numbers) or len(parts) == MOST_RANGES


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clean,corrupt\na,b\n", "The column 'answer' is missing"),
        ("clean,corrupt,answer,roles\n", "The column 'roles' is unknown"),
        ("clean,clean,corrupt,answer\n", "The column 'clean' is twice"),
        ('"clean,corrupt\n', "not CSV"),
        ("clean,corrupt,answer,notes\n" + "a,b, x,z\n" * 30, "The column 'notes' is unknown"),
        ("clean;corrupt,answer\n" + "a;b, x\n" * 30, "The column 'corrupt,answer' is unknown"),
        ("clean,corrupt,,answer\na,b,, x\n", "The column '' is unknown"),
        ("", "The column 'clean' is missing"),
    ],
)
def test_a_csv_without_its_columns_is_one_error(text: str, says: str) -> None:
    (found,) = read(text, "csv")
    assert isinstance(found, RowError)
    assert found.line == 1
    assert says in found.message


def test_rows_are_read_as_they_come() -> None:
    def lines():
        yield json.dumps(GOOD)
        raise RuntimeError("the second line was asked for")

    assert isinstance(next(read_items(lines(), "jsonl")), Item)
