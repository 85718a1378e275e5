"""Lines of a file -> its rows, each with the line where it begins, or why it cannot be read.

What the rows mean is said elsewhere (`datasets`, `formats`).
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from patchwright.errors import RecordError, reason

MOST_CHARACTERS = 200_000
"""Of a line: more than any model's context, and little enough for the memory."""


def json_rows(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """What the lines of a JSONL file say, those that are blank left out."""
    for number, line in enumerate(lines, 1):
        line = line.removeprefix("\ufeff") if number == 1 else line
        if not line.strip():
            continue
        if len(line) > MOST_CHARACTERS:
            yield number, _line_too_long_error()
            continue
        try:
            yield number, json.loads(line, parse_constant=nan_as_none)
        except RecursionError:
            yield (
                number,
                RecordError("The JSON is nested too deeply: write one flat object a line."),
            )
        except ValueError as error:
            what = getattr(error, "msg", str(error))
            yield number, RecordError(f"This is not JSON ({what}): write one object a line.")


def nan_as_none(_: str) -> None:
    """NaN and the infinities, which are no JSON and no value either."""


def _line_too_long_error() -> RecordError:
    return RecordError(
        f"The line has more than {MOST_CHARACTERS:,} characters: shorten the prompt."
    )


def _csv_records(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | RecordError]]:
    """The rows of a CSV file that are not empty, with their first lines' numbers."""
    numbered = enumerate(lines, 1)
    first, header = next(((at, line) for at, line in numbered if _EMPTY.sub("", line)), (1, ""))
    delimiter = re.search("[,;\t]", header)
    read = first - 1

    def check_line(given: tuple[int, str]) -> str:
        nonlocal read
        read, line = given
        if len(line) > MOST_CHARACTERS:
            raise _line_too_long_error()
        return line

    # A `map` goes on behind an error; a generator would not.
    taken = map(check_line, chain([(first, header.removeprefix("\ufeff"))], numbered))
    reader = csv.reader(taken, delimiter=delimiter[0] if delimiter else ",", strict=True)
    while True:
        start = read + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except RecordError as error:
            yield read, error
        except csv.Error as error:
            lost = f", and lines {start}-{read} are not read" if read > start else ""
            yield start, RecordError(f"This is not CSV ({reason(error)}){lost}: check its quotes.")
        else:
            if any(cell.strip() for cell in cells):
                yield start, cells


_EMPTY = re.compile('[,;"\\s\ufeff]')
"""What a row of empty cells is made of."""


Header = Callable[[list[str]], "list[str] | RecordError"]
"""The columns that a first row names, or why they cannot be used."""


def csv_rows(lines: Iterable[str], header_of: Header) -> Iterator[tuple[int, Any]]:
    """The rows of a CSV file by their columns' names; one error where these cannot be used."""
    records = _csv_records(lines)
    line, cells = next(records, (1, []))
    header = cells if isinstance(cells, RecordError) else header_of(trim_empty_cells(cells, 0))
    if isinstance(header, RecordError):
        yield line, header
        return
    for line, cells in records:
        if isinstance(cells, RecordError):
            yield line, cells
            continue
        cells = trim_empty_cells(cells, len(header))
        if len(cells) != len(header):
            advice = (
                "put quotes around a text that holds what separates cells"
                if len(cells) > len(header)
                else "write an empty cell for what a row does not have"
            )
            counts = f"{len(cells)} cells and the header {len(header)}"
            yield line, RecordError(f"The row has {counts}: {advice}.")
        else:
            yield line, dict(zip(header, cells, strict=True))


def trim_empty_cells(cells: list[str], most: int) -> list[str]:
    """The row without empty cells behind its first `most`, as spreadsheets write them."""
    while len(cells) > most and not cells[-1].strip():
        cells = cells[:-1]
    return cells
