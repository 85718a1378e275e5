"""Many pairs: JSONL and CSV, read as a stream, with every row's error at its line.

JSONL has one object a line, with the fields of a `Pair` and `tags`:
`{"clean": "…", "corrupt": "…", "answer": " Mary", "wrong": [" John"], "tags": ["names"],
"roles": [{"name": "subject", "start": 4, "stop": 8}], "notes": {"source": "…"}}`; a prompt may be the messages of a chat,
`[{"role": "user", "content": "…"}]`. CSV has a header with the
columns `clean,corrupt,answer` and, if wanted, `wrong,tags,align`, in large or small letters,
between commas, semicolons or tabs; several answers or tags in a cell are separated by `|`,
and spaces count. An answer that holds a `|`, token ids, messages and roles need JSONL. Empty
lines are skipped, and so are empty cells at a row's end.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from patchwright.errors import InputError, RecordError, quoted
from patchwright.prompts.pair import Pair
from patchwright.prompts.records import csv_rows, json_rows
from patchwright.spelling import number_ranges

Kind = Literal["jsonl", "csv"]

MOST_RANGES = 20
"""Of lines that have the same error, stretches that are named."""

COLUMNS = ("clean", "corrupt", "answer", "wrong", "tags", "align")
FIELDS = (*COLUMNS, "roles", "notes")
_REQUIRED = ("clean", "corrupt", "answer")


class Item(BaseModel):
    """A pair of a set, its tags, the line of the file that it was read from, and what else stood there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pair: Pair
    tags: tuple[str, ...] = ()
    line: int | None = None
    notes: dict[str, Any] = {}


@dataclass(frozen=True)
class RowError:
    """Why a row cannot be used, the line (from 1) where it begins, and the row where it is known."""

    line: int
    message: str
    row: Any = field(default=None, compare=False)


def read_items(lines: Iterable[str], kind: Kind) -> Iterator[Item | RowError]:
    """The pairs of a file, row by row; a faulty row gives a RowError.

    `lines` keep their line ends. A CSV file with an unusable header gives a single error.
    """
    rows = json_rows(lines) if kind == "jsonl" else csv_rows(lines, _parse_header)
    for line, row in rows:
        try:
            if isinstance(row, RecordError):
                raise row
            yield parse_item(parse_cells(row) if kind == "csv" else row, line)
        except RecordError as error:
            yield RowError(line, str(error))


def error_sentences(errors: Iterable[RowError]) -> list[str]:
    """The errors with their lines, in the order of their first ones; equal errors are one sentence."""
    lines: dict[str, list[int]] = {}
    for error in errors:
        lines.setdefault(error.message, []).append(error.line)
    return [f"{_lines_label(some)}: {message}" for message, some in lines.items()]


def _lines_label(lines: list[int]) -> str:
    """`Lines 2-5, 7`, and how many there are where not all are named."""
    named = ranges_text(lines)
    more = f" ({len(lines):,} in all)" if named.endswith("…") else ""
    return f"Line{'s' if len(lines) > 1 else ''} {named}{more}"


def ranges_text(numbers: Iterable[int]) -> str:
    """Rising numbers as in `2-5, 7`; of many stretches the first `MOST_RANGES`."""
    found = number_ranges(numbers)
    return ", ".join([*found[:MOST_RANGES], *(["…"] if len(found) > MOST_RANGES else [])])


def write_items(items: Iterable[Item]) -> Iterator[str]:
    """Each item as a line of JSONL, which `read_items` reads as the same pair and tags."""
    for item in items:
        row = item.pair.model_dump(exclude_defaults=True)
        row |= {
            "answer": _single_or_list(item.pair.answers),
            "wrong": _single_or_list(item.pair.wrongs),
        }
        row |= item.model_dump(include={"tags", "notes"}, exclude_defaults=True)
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _single_or_list(answers: tuple[Any, ...]) -> Any:
    return answers[0] if len(answers) == 1 else list(answers)


def _parse_header(cells: list[str]) -> list[str] | RecordError:
    """The columns that a header names, or why they cannot be used."""
    header = [name.strip().casefold() for name in cells]
    columns = ", ".join(COLUMNS)
    for name in header:
        if name not in COLUMNS or header.count(name) > 1:
            what = "twice" if name in COLUMNS else "unknown"
            return RecordError(
                f"The column {quoted(name)} is {what}: the first line names columns out of "
                f"{columns}."
            )
    if missing := [name for name in _REQUIRED if name not in header]:
        return RecordError(f"The column '{missing[0]}' is missing: the first line names {columns}.")
    return header


def parse_cells(cells: dict[str, str]) -> dict[str, Any]:
    """A CSV row as a JSON one: lists at the bars, and nothing for an empty cell."""
    row: dict[str, Any] = dict(cells)
    for name in ("answer", "wrong", "tags"):
        row[name] = row[name].split("|") if row.get(name) else []
    if not row.get("align"):
        row.pop("align", None)
    return row


def parse_item(row: Any, line: int) -> Item:
    """The pair of a row's fields. Raises RecordError with what is wrong with them."""
    if not isinstance(row, dict):
        raise RecordError(
            'The line is not an object: write {"clean": …, "corrupt": …, "answer": …}.'
        )
    given: dict[str, Any] = {str(name): value for name, value in row.items()}
    if unknown := [name for name in given if name not in FIELDS]:
        raise RecordError(
            f"The field {quoted(unknown[0])} is unknown: a pair has {', '.join(FIELDS)}."
        )
    for name in _REQUIRED:
        if given.get(name) in (None, "", []):
            raise RecordError(f"'{name}' is missing or empty: a pair needs {', '.join(_REQUIRED)}.")
    if any("\ud800" <= letter <= "\udfff" for letter in json.dumps(given, ensure_ascii=False)):
        raise RecordError("The row has bytes that are not valid UTF-8: save the file as UTF-8.")
    tags: Any = given.pop("tags", None) or ()
    if isinstance(tags, str):
        tags = (tags,)
    notes = given.pop("notes", None) or {}
    if not isinstance(notes, dict):
        raise RecordError("'notes' cannot be used: give an object, whose fields are the notes.")
    try:
        pair = Pair(**given)
        item = Item(pair=pair, tags=tags, line=line, notes=notes)
    except ValidationError:
        raise RecordError("'tags' cannot be used: give a text or a list of texts.") from None
    except InputError as error:
        raise RecordError(str(error)) from error
    _check_pair(pair)
    return item


def _check_pair(pair: Pair) -> None:
    """What needs no tokenizer to be seen."""
    if pair.clean == pair.corrupt:
        raise RecordError("The clean and the corrupted prompt are the same: change one word.")
    if "" in (*pair.answers, *pair.wrongs):
        raise RecordError("An answer is empty: name the next token, such as ' Mary'.")
    if common := [one for one in pair.answers if one in pair.wrongs]:
        raise RecordError(
            f"{quoted(str(common[0]))} is both an answer and a wrong answer: name it once."
        )
