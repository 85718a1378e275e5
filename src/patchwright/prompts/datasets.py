"""Many pairs: JSONL and CSV, read as a stream, with every row's error at its line.

JSONL has one object a line, with the fields of a `Pair` and `tags`:
`{"clean": "…", "corrupt": "…", "answer": " Mary", "wrong": [" John"], "tags": ["names"],
"roles": [{"name": "subject", "start": 4, "stop": 8}]}`. CSV has a header with the
columns `clean,corrupt,answer` and, if wanted, `wrong,tags,align`; several answers
or tags in a cell are separated by `|`, and spaces count. An answer that holds a `|`,
token ids and roles need JSONL. Empty lines are passed over.
"""

import csv
import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from patchwright.errors import InputError, quoted, reason
from patchwright.prompts.pair import Pair

Kind = Literal["jsonl", "csv"]

MOST_CHARACTERS = 200_000
"""Of a line: more than any model's context, and little enough for the memory."""

MOST_LINES = 100
"""Of a CSV row whose quoted cells hold line ends: behind them a quote is not closed."""

_COLUMNS = ("clean", "corrupt", "answer", "wrong", "tags", "align")
_FIELDS = (*_COLUMNS, "roles")
_NEEDED = ("clean", "corrupt", "answer")

_ALLOWED = {
    "clean": "a text or a list of token ids",
    "corrupt": "a text or a list of token ids",
    "answer": "a text, a token id, or a list of them",
    "wrong": "a text, a token id, or a list of them",
    "tags": "a text or a list of texts",
    "align": "exact or edges",
    "roles": 'a list of {"name": text, "start": number, "stop": number}',
}


class Item(BaseModel):
    """A pair of a set, its tags, and the line of the file that it was read from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pair: Pair
    tags: tuple[str, ...] = ()
    line: int | None = None


@dataclass(frozen=True)
class RowError:
    """Why a row cannot be used, and the line (from 1) at which it begins."""

    line: int
    message: str


class _Unusable(Exception):
    """What is wrong with a row, as a sentence."""


def read_items(lines: Iterable[str], kind: Kind) -> Iterator[Item | RowError]:
    """The pairs of a set, row by row, or what is wrong with a row.

    `lines` keep their line ends; read them with `lines_of` where a file may be
    anything. Without the columns that it needs a CSV file is a single error.
    """
    rows = _json_rows(lines) if kind == "jsonl" else _csv_rows(lines)
    for line, row in rows:
        try:
            if isinstance(row, _Unusable):
                raise row
            yield _item(row, line)
        except _Unusable as error:
            yield RowError(line, str(error))


def lines_of(stream: TextIO) -> Iterator[str]:
    """The lines of a stream, each cut where it is longer than `read_items` takes."""
    while line := stream.readline(MOST_CHARACTERS + 1):
        yield line
        while len(line) > MOST_CHARACTERS and not line.endswith("\n"):
            line = stream.readline(MOST_CHARACTERS + 1)
            if not line:
                return


def write_items(items: Iterable[Item]) -> Iterator[str]:
    """Each item as a line of JSONL, which `read_items` reads as the same pair and tags."""
    for item in items:
        pair = item.pair
        row: dict[str, Any] = {"clean": pair.clean, "corrupt": pair.corrupt}
        row |= {"answer": _alone(pair.answers), "wrong": _alone(pair.wrongs)}
        if pair.align != "exact":
            row["align"] = pair.align
        if item.tags:
            row["tags"] = item.tags
        if pair.roles:
            row["roles"] = [role.model_dump() for role in pair.roles]
        yield json.dumps(row, ensure_ascii=False) + "\n"


def kind_of(name: str) -> Kind:
    """The kind of a file by its ending. Raises InputError with those there are."""
    for kind in ("jsonl", "csv"):
        if name.lower().endswith(f".{kind}"):
            return kind
    raise InputError(f"'{name}': a set of pairs is a file that ends in .jsonl or .csv.")


def _alone(answers: tuple[Any, ...]) -> Any:
    return answers[0] if len(answers) == 1 else list(answers)


def _json_rows(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        line = line.removeprefix("\ufeff") if number == 1 else line
        if not line.strip():
            continue
        if len(line) > MOST_CHARACTERS:
            yield number, _too_long()
            continue
        try:
            yield number, json.loads(line)
        except RecursionError:
            yield number, _Unusable("The JSON is nested too deeply: write one flat object a line.")
        except ValueError as error:
            what = getattr(error, "msg", str(error))
            yield number, _Unusable(f"This is not JSON ({what}): write one object a line.")


def _too_long() -> _Unusable:
    return _Unusable(f"The line has more than {MOST_CHARACTERS:,} characters: shorten the prompt.")


class _Records:
    """The lines of one CSV record at a time, numbered, which can be taken back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._back: deque[str] = deque()
        self.read = 0
        self.record: list[str] = []

    def __iter__(self) -> "_Records":
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._lines)
        self.read += 1
        self.record.append(line)
        if len(line) > MOST_CHARACTERS:
            raise _too_long()
        if len(self.record) > MOST_LINES:
            raise _Unusable("A quoted cell does not end: close its quote.")
        return line

    def take_back(self) -> None:
        """Read on behind the first line of the record."""
        again = self.record[1:]
        self._back.extendleft(reversed(again))
        self.read -= len(again)


def _csv_records(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | _Unusable]]:
    """The rows of a CSV file as lists of cells, with their first lines' numbers."""
    records = _Records(lines)
    reader = csv.reader(records, strict=True)
    while True:
        records.record = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (_Unusable, csv.Error) as error:
            # A quote that is never closed must not swallow the rows behind it.
            records.take_back()
            message = (
                str(error) if isinstance(error, _Unusable) else f"This is not CSV: {reason(error)}."
            )
            yield records.read, _Unusable(message)
            continue
        if cells:
            yield records.read - len(records.record) + 1, cells


def _csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    lines = iter(lines)
    first = next(lines, "").removeprefix("\ufeff")
    header: list[str] | None = None
    for line, cells in _csv_records(chain([first], lines)):
        if header is None:
            if isinstance(cells, _Unusable):
                yield line, cells
                return
            header = [name.strip() for name in cells]
            if wrong := _bad_header(header):
                yield line, wrong
                return
        elif isinstance(cells, _Unusable):
            yield line, cells
        elif len(cells) != len(header):
            yield (
                line,
                _Unusable(
                    f"The row has {len(cells)} cells and the header {len(header)}: put quotes around "
                    "a text that holds a comma."
                ),
            )
        else:
            yield line, _row_of(dict(zip(header, cells, strict=True)))


def _bad_header(header: list[str]) -> _Unusable | None:
    columns = ", ".join(_COLUMNS)
    for name in header:
        if name not in _COLUMNS or header.count(name) > 1:
            what = "twice" if name in _COLUMNS else "unknown"
            return _Unusable(
                f"The column {quoted(name)} is {what}: the first line names columns out of "
                f"{columns}."
            )
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        return _Unusable(f"The column '{missing[0]}' is missing: the first line names {columns}.")
    return None


def _row_of(cells: dict[str, str]) -> dict[str, Any]:
    """A CSV row as a JSON one: lists at the bars, and nothing for an empty cell."""
    row: dict[str, Any] = dict(cells)
    for name in ("answer", "wrong", "tags"):
        row[name] = row[name].split("|") if row.get(name) else []
    if not row.get("align"):
        row.pop("align", None)
    return row


def _item(row: Any, line: int) -> Item:
    if not isinstance(row, dict):
        raise _Unusable('The line is not an object: write {"clean": …, "corrupt": …, "answer": …}.')
    given: dict[str, Any] = {str(name): value for name, value in row.items()}
    if unknown := [name for name in given if name not in _FIELDS]:
        raise _Unusable(
            f"The field {quoted(unknown[0])} is unknown: a pair has {', '.join(_FIELDS)}."
        )
    for name in _NEEDED:
        if given.get(name) in (None, "", []):
            raise _Unusable(f"'{name}' is missing or empty: give {_ALLOWED[name]}.")
    if any("\ud800" <= letter <= "\udfff" for letter in json.dumps(given, ensure_ascii=False)):
        raise _Unusable("The row has bytes that are not valid UTF-8: save the file as UTF-8.")
    tags = given.pop("tags", None) or []
    if isinstance(tags, str):
        tags = [tags]
    try:
        pair = Pair.model_validate(given)
        item = Item.model_validate({"pair": pair, "tags": tags, "line": line})
    except ValidationError as error:
        raise _Unusable(_what_is_wrong(error)) from error
    _check_pair(pair)
    return item


def _what_is_wrong(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        return f"In the roles: {reason(first['msg'].removeprefix('Value error, '))}."
    name = str(first["loc"][0])
    return f"'{name}' cannot be used: it is {_ALLOWED.get(name, 'not understood')}."


def _check_pair(pair: Pair) -> None:
    """What needs no tokenizer to be seen."""
    if pair.clean == pair.corrupt:
        raise _Unusable("The clean and the corrupted prompt are the same: change one word.")
    if "" in (*pair.answers, *pair.wrongs):
        raise _Unusable("An answer is empty: name the next token, such as ' Mary'.")
    if common := [one for one in pair.answers if one in pair.wrongs]:
        raise _Unusable(
            f"{quoted(str(common[0]))} is both an answer and a wrong answer: name it once."
        )
