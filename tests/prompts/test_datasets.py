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
    MOST_CHARACTERS,
    MOST_LINES,
    Item,
    Kind,
    RowError,
    kind_of,
    lines_of,
    read_items,
    write_items,
)
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


@given(
    prompts=st.tuples(TEXT, TEXT).filter(lambda both: both[0] != both[1]),
    answers=st.lists(
        st.text(st.characters(exclude_characters="|", exclude_categories=["Cs"]), min_size=1),
        min_size=2,
        max_size=4,
        unique=True,
    ),
)
def test_a_csv_written_by_the_standard_library_is_read_back(
    prompts: tuple[str, str], answers: list[str]
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["clean", "corrupt", "answer", "wrong"])
    writer.writerow([*prompts, "|".join(answers[1:]), answers[0]])
    stream.seek(0)
    (item,) = read_items(lines_of(stream), "csv")
    assert isinstance(item, Item)
    pair = item.pair
    assert (pair.clean, pair.corrupt) == prompts
    assert (pair.answers, pair.wrongs) == (tuple(answers[1:]), (answers[0],))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "not an object"),
        (row(prompt="a"), "The field 'prompt' is unknown"),
        ('{"clean": "a", "corrupt": "b"}', "'answer' is missing"),
        (row(clean=""), "'clean' is missing or empty"),
        (row(clean={"a": 1}), "'clean' cannot be used: it is a text or a list of token ids"),
        (row(answer=[[1]]), "'answer' cannot be used"),
        (row(tags=3), "'tags' cannot be used: it is a text or a list of texts"),
        (row(align="loose"), "exact or edges"),
        (row(clean="a c"), "are the same"),
        (row(answer=" y"), "both an answer and a wrong answer"),
        (row(answer=[" x", ""]), "An answer is empty"),
        (row(clean="\ud800"), "not valid UTF-8"),
        (row(roles=[{"name": "s", "start": 0, "stop": 4}]), "behind the clean prompt's end at 3"),
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
    assert "2 cells and the header 4" in told[0][1]
    assert "not CSV" in told[1][1]


@pytest.mark.parametrize("behind", [1, MOST_LINES + 5])
def test_a_quote_that_is_never_closed_costs_only_its_own_row(behind: int) -> None:
    found = read(HEAD + '"a,b, x, y\n' + "a,b, x, y\n" * behind, "csv")
    assert [one.line for one in found] == list(range(2, behind + 3))
    assert [isinstance(one, RowError) for one in found] == [True] + [False] * behind


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clean,corrupt\na,b\n", "The column 'answer' is missing"),
        ("clean,corrupt,answer,roles\n", "The column 'roles' is unknown"),
        ("clean,clean,corrupt,answer\n", "The column 'clean' is twice"),
        ('"clean,corrupt\n', "not CSV"),
    ],
)
def test_a_csv_without_its_columns_is_one_error(text: str, says: str) -> None:
    (found,) = read(text, "csv")
    assert isinstance(found, RowError)
    assert found.line == 1
    assert says in found.message


def test_an_endless_line_is_not_read_into_memory() -> None:
    stream = io.StringIO("x" * (3 * MOST_CHARACTERS) + "\n" + json.dumps(GOOD))
    lines = list(lines_of(stream))
    assert [len(line) for line in lines[:-1]] == [MOST_CHARACTERS + 1]
    assert [one.line for one in read_items(lines, "jsonl")] == [1, 2]


def test_rows_are_read_as_they_come() -> None:
    def lines():
        yield json.dumps(GOOD)
        raise RuntimeError("the second line was asked for")

    assert isinstance(next(read_items(lines(), "jsonl")), Item)


def test_a_file_is_read_by_its_ending() -> None:
    assert kind_of("a.JSONL") == "jsonl"
    assert kind_of("a.csv") == "csv"
    with pytest.raises(InputError, match=r"ends in \.jsonl or \.csv"):
        kind_of("a.txt")
