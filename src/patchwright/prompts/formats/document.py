"""The bytes of a file -> its records: a table, lines of JSON, one JSON document, or lines of text."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

from patchwright.errors import InputError, RecordError, quoted
from patchwright.prompts.datasets import RowError
from patchwright.prompts.formats.format import TEXT, Record
from patchwright.prompts.records import csv_rows, json_rows, nan_as_none

Rows = Iterable[tuple[int, Any]]
"""What a file has, each with its line."""

TABLES = ("csv", "tsv")
JSON = ("json", "jsonl", "ndjson")
SUFFIXES = (*TABLES, *JSON, "txt")
"""Of files of pairs; what has another ending, or none, is taken for what it looks like."""

_CONTAINERS = ("prompts", "data", "examples", "records")
"""Fields of a JSON document that have its records."""

_HEADER = re.compile(r"[\w.\-]*([,;\t][\w.\- ]*)+\s*")
"""A first line of names, between what separates cells."""

_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class Document:
    """A file's records, and the rows that cannot be read."""

    records: tuple[Record, ...]
    errors: tuple[RowError, ...]


def read_document(content: bytes, name: str) -> Document:
    """What a file called `name` has. Raises InputError where it is no text."""
    text = _decode(content, name)
    table = _is_table(text, name)
    records: list[Record] = []
    errors: list[RowError] = []
    for line, row in (
        csv_rows(_lines(text), _parse_header) if table else _json_or_text_rows(text, name)
    ):
        if isinstance(row, RecordError):
            errors.append(RowError(line, str(row)))
        elif isinstance(row, dict):
            fields: dict[str, Any] = {str(key): value for key, value in row.items() if key != ""}
            records.append(Record(line, fields, table))
        elif isinstance(row, str):
            records.append(Record(line, {TEXT: row}))
        else:
            what = 'The line is not an object: write {"clean": …, "corrupt": …, "answer": …}.'
            errors.append(RowError(line, what, row))
    return Document(tuple(records), tuple(errors))


def _decode(content: bytes, name: str) -> str:
    """A file's text, in UTF-8, UTF-16 or UTF-32, with or without a mark of its byte order.

    In UTF-8 bytes that are no text become surrogates, for which their row alone is refused.
    """
    encoding = json.detect_encoding(content)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "surrogatepass"
    try:
        text = content.decode(encoding, errors).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(
            f"The file is not valid {error.encoding.upper()}: save it as UTF-8."
        ) from error
    if "\0" in text:
        raise InputError(
            f"{quoted(name)} is not a text file: give a file of pairs that ends in "
            f"{', '.join(f'.{one}' for one in SUFFIXES)}."
        )
    return text


def _suffix(name: str) -> str:
    return name.lower().rpartition(".")[2]


def _is_table(text: str, name: str) -> bool:
    first = text.lstrip().partition("\n")[0].rstrip("\r")
    return _suffix(name) in TABLES or (
        _suffix(name) not in JSON and _HEADER.fullmatch(first) is not None
    )


def _lines(text: str) -> Iterable[str]:
    """The lines of a text, which may end as on any system."""
    return StringIO(text, newline="")


def _parse_header(cells: list[str]) -> list[str] | RecordError:
    names = [cell.strip() for cell in cells]
    if twice := [name for name in names if name and names.count(name) > 1]:
        return RecordError(f"The column {quoted(twice[0])} is there twice: give each its own name.")
    return names


def _json_or_text_rows(text: str, name: str) -> Rows:
    """The rows of JSON, or of text where it is none."""
    if not text.strip():
        return []
    if _suffix(name) not in JSON and not _begins_as_json(text):
        return ((i, line.strip()) for i, line in enumerate(_lines(text), 1) if line.strip())
    try:
        whole = json.loads(text, parse_constant=nan_as_none)
    except RecursionError:
        return json_rows(_lines(text))
    except ValueError as error:
        if _suffix(name) == "json" and not _begins_as_json(text):
            line = getattr(error, "lineno", 1)
            return [(line, RecordError(f"This is not JSON ({getattr(error, 'msg', error)})."))]
        return json_rows(_lines(text))
    if isinstance(whole, list):
        return _list_rows(text, _skip_space(text, 0))
    return _object_rows(text, whole)


def _begins_as_json(text: str) -> bool:
    """Whether the first value is an object or a list of JSON."""
    start = _skip_space(text, 0)
    if text[start : start + 1] not in ("{", "["):
        return False
    try:
        json.JSONDecoder(parse_constant=nan_as_none).raw_decode(text, start)
    except (ValueError, RecursionError):
        return False
    return True


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None, "no space is a match too"
    return found.end()


def _list_rows(text: str, at: int) -> Iterator[tuple[int, Any]]:
    """The elements of the list that begins at a character of valid JSON, with their lines.

    Where all are on one line, which would tell nothing, it is their number.
    """
    one_line = "\n" not in text.strip()
    line, counted = 1, 0
    for number, (_, start, value) in enumerate(_members(text, at), 1):
        line, counted = line + text.count("\n", counted, start), start
        yield number if one_line else line, value


def _members(text: str, at: int) -> Iterator[tuple[str, int, Any]]:
    """What is in the list or object that begins at a character of valid JSON.

    Each has its name, which is empty in a list, the character where it begins, and its value.
    """
    decoder = json.JSONDecoder(parse_constant=nan_as_none)
    named = text[at] == "{"
    at = _skip_space(text, at + 1)
    while text[at] not in "]}":
        name = ""
        if named:
            name, at = decoder.raw_decode(text, at)
            at = _skip_space(text, _skip_space(text, at) + 1)
        start = at
        value, at = decoder.raw_decode(text, at)
        yield name, start, value
        at = _skip_space(text, at)
        at = _skip_space(text, at + 1) if text[at] == "," else at


def _object_rows(text: str, whole: Any) -> Rows:
    """The records in an object's lists, or the object as the only record."""
    if not isinstance(whole, dict):
        return [(1, whole)]
    lists = [
        name for name in whole if isinstance(whole[name], list) and _holds_records(whole[name])
    ]
    held = [name for name in _CONTAINERS if name in lists]
    parts = held or (lists if len(lists) == len(whole) else [])
    if not parts:
        return [(1 + text[: _skip_space(text, 0)].count("\n"), whole)]
    shared = {"tokenizer": whole["tokenizer"]} if isinstance(whole.get("tokenizer"), str) else {}
    return _part_rows(text, parts, shared)


def _holds_records(some: list[Any]) -> bool:
    return bool(some) and all(isinstance(one, dict | str) for one in some)


def _part_rows(text: str, parts: list[str], shared: dict[str, str]) -> Iterator[tuple[int, Any]]:
    for name, at, _ in _members(text, _skip_space(text, 0)):
        if name not in parts:
            continue
        part = {"part": name} if len(parts) > 1 else {}
        for line, value in _list_rows(text, at):
            fields = {TEXT: value} if isinstance(value, str) else value
            yield line, {**shared, **part, **fields}
