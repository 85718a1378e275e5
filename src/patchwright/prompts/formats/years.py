"""Greater-than: a span of years whose end is asked for (Hanna et al. 2023)."""

import re
from collections.abc import Iterator

from patchwright.errors import RecordError
from patchwright.prompts.formats.format import Convert, Record, Row, Source

_SPAN = re.compile(r"(\d\d)(\d\d)\D+\1$")
"""A year of four digits, and at the end its first two again."""


def is_year_span(record: Record) -> bool:
    """Whether the prompt asks for a later number."""
    return _SPAN.search(_prompt(record)) is not None


def _prompt(record: Record) -> str:
    found = (record.get(name) for name in ("clean", "prefix", "text"))
    return next((one.rstrip() for one in found if isinstance(one, str)), "")


def year_spans(source: Source) -> Convert:
    """The later numbers are the answers; the corrupted span starts with 01, as the paper has it."""

    def convert(record: Record) -> Iterator[Row]:
        clean = _prompt(record)
        found = _SPAN.search(clean)
        if found is None:
            raise RecordError(
                "The prompt does not end in the first two digits of its year, as in 'from the year "
                "1732 to the year 17'."
            )
        start, stop = found.span(2)
        given = record.get("corrupted") or record.get("corr_prefix")
        corrupt = given if isinstance(given, str) else f"{clean[:start]}01{clean[stop:]}"
        year = int(found[2])
        yield {
            "clean": clean,
            "corrupt": corrupt.rstrip(),
            "answer": [f"{later:02d}" for later in range(year + 1, 100)],
            "wrong": [f"{until:02d}" for until in range(year + 1)],
            "roles": [{"name": "year", "start": start, "stop": stop}],
        }

    return convert
