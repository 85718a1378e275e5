"""Many pairs: JSONL and CSV, read as a stream, with every row's error at its line.

JSONL has one object a line, with the fields of a `Pair` and `tags`:
`{"clean": "…", "corrupt": "…", "answer": " Mary", "wrong": [" John"], "tags": ["names"],
"roles": [{"name": "subject", "start": 4, "stop": 8}], "notes": {"source": "…"}}`; a prompt may be the messages of a chat,
`[{"role": "user", "content": "…"}]`. CSV has a header with the
columns `clean,corrupt,answer` and, if wanted, `wrong,tags,align`, in large or small letters,
between commas, semicolons or tabs; several answers or tags in a cell are separated by `|`,
and spaces count. An answer that holds a `|`, token ids, messages and roles need JSONL. Files are
UTF-8, UTF-16 or UTF-32. Empty lines are skipped, and so are empty cells at a row's end.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from patchwright.errors import InputError, RecordError, quoted
from patchwright.prompts.messages import is_chat
from patchwright.prompts.pair import Pair
from patchwright.prompts.records import csv_rows, json_rows
from patchwright.spelling import stretches

Kind = Literal["jsonl", "csv"]

MOST_RANGES = 20
"""Of lines that have the same error, stretches that are named."""

_COLUMNS = ("clean", "corrupt", "answer", "wrong", "tags", "align")
_FIELDS = (*_COLUMNS, "roles", "notes")
_NEEDED = ("clean", "corrupt", "answer")


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

    `lines` keep their line ends; read them with `text_of` and `lines_of` where a file may
    be anything. A CSV file with an unusable header gives a single error.
    """
    rows = json_rows(lines) if kind == "jsonl" else csv_rows(lines, _header)
    for line, row in rows:
        try:
            if isinstance(row, RecordError):
                raise row
            yield item_of(row_of(row) if kind == "csv" else row, line)
        except RecordError as error:
            yield RowError(line, str(error))


def sentences(errors: Iterable[RowError]) -> list[str]:
    """The errors with their lines, in the order of their first ones; equal errors are one sentence."""
    lines: dict[str, list[int]] = {}
    for error in errors:
        lines.setdefault(error.message, []).append(error.line)
    return [
        f"Line{'s' if len(some) > 1 else ''} {ranges(some)}{_in_all(some)}: {message}"
        for message, some in lines.items()
    ]


def _in_all(lines: list[int]) -> str:
    """How many there are, where not all are named."""
    return f" ({len(lines):,} in all)" if ranges(lines).endswith("…") else ""


def ranges(numbers: Iterable[int]) -> str:
    """Rising numbers as in `2-5, 7`; of many stretches the first `MOST_RANGES`."""
    found = stretches(numbers)
    return ", ".join([*found[:MOST_RANGES], *(["…"] if len(found) > MOST_RANGES else [])])


def write_items(items: Iterable[Item]) -> Iterator[str]:
    """Each item as a line of JSONL, which `read_items` reads as the same pair and tags."""
    for item in items:
        pair = item.pair
        row: dict[str, Any] = {"clean": _plain(pair.clean), "corrupt": _plain(pair.corrupt)}
        row |= {"answer": _alone(pair.answers), "wrong": _alone(pair.wrongs)}
        if pair.align != "exact":
            row["align"] = pair.align
        if item.tags:
            row["tags"] = item.tags
        if pair.roles:
            row["roles"] = [role.model_dump() for role in pair.roles]
        if item.notes:
            row["notes"] = item.notes
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _plain(prompt: object) -> object:
    return [one.model_dump() for one in prompt] if is_chat(prompt) else prompt


def _alone(answers: tuple[Any, ...]) -> Any:
    return answers[0] if len(answers) == 1 else list(answers)


def _header(cells: list[str]) -> list[str] | RecordError:
    """The columns that a header names, or why they cannot be used."""
    header = [name.strip().casefold() for name in cells]
    return _bad_header(header) or header


def _bad_header(header: list[str]) -> RecordError | None:
    columns = ", ".join(_COLUMNS)
    for name in header:
        if name not in _COLUMNS or header.count(name) > 1:
            what = "twice" if name in _COLUMNS else "unknown"
            return RecordError(
                f"The column {quoted(name)} is {what}: the first line names columns out of "
                f"{columns}."
            )
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        return RecordError(f"The column '{missing[0]}' is missing: the first line names {columns}.")
    return None


def row_of(cells: dict[str, str]) -> dict[str, Any]:
    """A CSV row as a JSON one: lists at the bars, and nothing for an empty cell."""
    row: dict[str, Any] = dict(cells)
    for name in ("answer", "wrong", "tags"):
        row[name] = row[name].split("|") if row.get(name) else []
    if not row.get("align"):
        row.pop("align", None)
    return row


def item_of(row: Any, line: int) -> Item:
    """The pair of a row's fields. Raises RecordError with what is wrong with them."""
    if not isinstance(row, dict):
        raise RecordError(
            'The line is not an object: write {"clean": …, "corrupt": …, "answer": …}.'
        )
    given: dict[str, Any] = {str(name): value for name, value in row.items()}
    if unknown := [name for name in given if name not in _FIELDS]:
        raise RecordError(
            f"The field {quoted(unknown[0])} is unknown: a pair has {', '.join(_FIELDS)}."
        )
    for name in _NEEDED:
        if given.get(name) in (None, "", []):
            raise RecordError(f"'{name}' is missing or empty: a pair needs {', '.join(_NEEDED)}.")
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
