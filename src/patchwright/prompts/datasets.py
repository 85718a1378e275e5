"""Many pairs: JSONL and CSV, read as a stream, with every row's error at its line.

JSONL has one object a line, with the fields of a `Pair` and `tags`:
`{"clean": "…", "corrupt": "…", "answer": " Mary", "wrong": [" John"], "tags": ["names"],
"roles": [{"name": "subject", "start": 4, "stop": 8}]}`; a prompt may be the messages of a chat,
`[{"role": "user", "content": "…"}]`. CSV has a header with the
columns `clean,corrupt,answer` and, if wanted, `wrong,tags,align`, in large or small letters,
between commas, semicolons or tabs; several answers or tags in a cell are separated by `|`,
and spaces count. An answer that holds a `|`, token ids, messages and roles need JSONL. Files are
UTF-8, UTF-16 or UTF-32. Empty lines are skipped, and so are empty cells at a row's end.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from itertools import chain
from typing import Any, BinaryIO, Literal, TextIO, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from patchwright.errors import InputError, quoted, reason
from patchwright.prompts.messages import is_chat
from patchwright.prompts.pair import Pair

Kind = Literal["jsonl", "csv"]

MOST_CHARACTERS = 200_000
"""Of a line: more than any model's context, and little enough for the memory."""

MOST_RANGES = 20
"""Of lines that have the same error, stretches that are named."""

_COLUMNS = ("clean", "corrupt", "answer", "wrong", "tags", "align")
_FIELDS = (*_COLUMNS, "roles")
_NEEDED = ("clean", "corrupt", "answer")


class Item(BaseModel):
    """A pair of a set, its tags, and the line of the file that it was read from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pair: Pair
    tags: tuple[str, ...] = ()
    line: int | None = None


@dataclass(frozen=True)
class RowError:
    """Why a row cannot be used, and the line (from 1) where it begins."""

    line: int
    message: str


class _Unusable(Exception):
    """What is wrong with a row, as a sentence."""


def read_items(lines: Iterable[str], kind: Kind) -> Iterator[Item | RowError]:
    """The pairs of a file, row by row; a faulty row gives a RowError.

    `lines` keep their line ends; read them with `text_of` and `lines_of` where a file may
    be anything. A CSV file with an unusable header gives a single error.
    """
    rows = _json_rows(lines) if kind == "jsonl" else _csv_rows(lines)
    for line, row in rows:
        try:
            if isinstance(row, _Unusable):
                raise row
            yield _item(row, line)
        except _Unusable as error:
            yield RowError(line, str(error))


def text_of(stream: BinaryIO) -> TextIOWrapper:
    """A file's text, in the encoding that its first bytes show.

    In UTF-8 bytes that are no text become surrogates, for which `read_items` refuses their row
    alone.
    """
    read = stream if isinstance(stream, BufferedReader) else BufferedReader(cast("Any", stream))
    encoding = json.detect_encoding(read.peek(4)[:4])
    errors = "surrogateescape" if encoding.startswith("utf-8") else "surrogatepass"
    return TextIOWrapper(read, encoding, errors=errors, newline="")


def lines_of(stream: TextIO) -> Iterator[str]:
    """The lines of a stream, each cut where it is longer than `read_items` takes.

    Raises InputError where the text breaks off inside a character.
    """
    try:
        while line := stream.readline(MOST_CHARACTERS + 1):
            yield line
            while len(line) > MOST_CHARACTERS and not line.endswith("\n"):
                line = stream.readline(MOST_CHARACTERS + 1)
                if not line:
                    return
    except UnicodeDecodeError as error:
        raise InputError(
            f"The file is not valid {error.encoding.upper()}: save it as UTF-8."
        ) from error


def sentences(errors: Iterable[RowError]) -> list[str]:
    """The errors with their lines, in the order of their first ones; equal errors are one sentence."""
    lines: dict[str, list[int]] = {}
    for error in errors:
        lines.setdefault(error.message, []).append(error.line)
    return [
        f"Line{'s' if len(some) > 1 else ''} {ranges(some)}: {message}"
        for message, some in lines.items()
    ]


def ranges(numbers: Iterable[int]) -> str:
    """Rising numbers as in `2-5, 7`; of many stretches the first `MOST_RANGES`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][-1] == number - 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    shown = ["-".join(map(str, one)) for one in found[:MOST_RANGES]]
    return ", ".join([*shown, *(["…"] if len(found) > MOST_RANGES else [])])


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
        yield json.dumps(row, ensure_ascii=False) + "\n"


def kind_of(name: str) -> Kind:
    """The kind of a file by its ending. Raises InputError with those there are."""
    for kind in ("jsonl", "csv"):
        if name.lower().endswith(f".{kind}"):
            return kind
    raise InputError(f"'{name}': a set of pairs is a file that ends in .jsonl or .csv.")


def _plain(prompt: object) -> object:
    return [one.model_dump() for one in prompt] if is_chat(prompt) else prompt


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


def _csv_records(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | _Unusable]]:
    """The rows of a CSV file that are not empty, with their first lines' numbers."""
    numbered = enumerate(lines, 1)
    first, header = next(((at, line) for at, line in numbered if _EMPTY.sub("", line)), (1, ""))
    delimiter = re.search("[,;\t]", header)
    read = first - 1

    def bounded(given: tuple[int, str]) -> str:
        nonlocal read
        read, line = given
        if len(line) > MOST_CHARACTERS:
            raise _too_long()
        return line

    # A `map` goes on behind an error; a generator would not.
    taken = map(bounded, chain([(first, header.removeprefix("\ufeff"))], numbered))
    reader = csv.reader(taken, delimiter=delimiter[0] if delimiter else ",", strict=True)
    while True:
        start = read + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _Unusable as error:
            yield read, error
        except csv.Error as error:
            lost = f", and lines {start}-{read} are not read" if read > start else ""
            yield start, _Unusable(f"This is not CSV ({reason(error)}){lost}: check its quotes.")
        else:
            if any(cell.strip() for cell in cells):
                yield start, cells


_EMPTY = re.compile('[,;"\\s\ufeff]')
"""What a row of empty cells is made of."""


def _csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    records = _csv_records(lines)
    line, cells = next(records, (1, []))
    header = cells if isinstance(cells, _Unusable) else _header(cells)
    if isinstance(header, _Unusable):
        yield line, header
        return
    for line, cells in records:
        if isinstance(cells, _Unusable):
            yield line, cells
            continue
        cells = _without_empty_end(cells, len(header))
        if len(cells) != len(header):
            advice = (
                "put quotes around a text that holds what separates cells"
                if len(cells) > len(header)
                else "write an empty cell for what a row does not have"
            )
            counts = f"{len(cells)} cells and the header {len(header)}"
            yield line, _Unusable(f"The row has {counts}: {advice}.")
        else:
            yield line, _row_of(dict(zip(header, cells, strict=True)))


def _without_empty_end(cells: list[str], most: int) -> list[str]:
    """The row without empty cells behind its first `most`, as spreadsheets write them."""
    while len(cells) > most and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def _header(cells: list[str]) -> list[str] | _Unusable:
    """The columns that a header names, or why they cannot be used."""
    header = [name.strip().casefold() for name in _without_empty_end(cells, 0)]
    return _bad_header(header) or header


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
            raise _Unusable(f"'{name}' is missing or empty: a pair needs {', '.join(_NEEDED)}.")
    if any("\ud800" <= letter <= "\udfff" for letter in json.dumps(given, ensure_ascii=False)):
        raise _Unusable("The row has bytes that are not valid UTF-8: save the file as UTF-8.")
    tags: Any = given.pop("tags", None) or ()
    if isinstance(tags, str):
        tags = (tags,)
    try:
        pair = Pair(**given)
        item = Item(pair=pair, tags=tags, line=line)
    except ValidationError:
        raise _Unusable("'tags' cannot be used: give a text or a list of texts.") from None
    except InputError as error:
        raise _Unusable(str(error)) from error
    _check_pair(pair)
    return item


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
