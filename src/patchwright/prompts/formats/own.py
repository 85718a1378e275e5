"""Patchwright's own format, as `build` writes it, and tables whose columns a person names."""

from collections.abc import Iterator, Mapping

from patchwright.prompts.datasets import COLUMNS, FIELDS, parse_cells
from patchwright.prompts.formats.format import (
    Convert,
    Format,
    Record,
    Row,
    Source,
    columns_format,
    with_role,
)

PARTS = ("clean", "corrupt", "answer", "wrong", "subject")
"""What a column can be named for."""


def own_pairs(source: Source) -> Convert:
    """Records that have a pair's own fields; a `subject` becomes a role."""

    def convert(record: Record) -> Iterator[Row]:
        fields = COLUMNS if record.table else FIELDS
        row: Row = {name: value for name in fields if (value := record.get(name)) is not None}
        if record.table:
            row = parse_cells(row)
        yield row if "roles" in row else with_role(row, "subject", record.get("subject"))

    return convert


def custom_format(columns: Mapping[str, str]) -> Format:
    """The format whose columns are called as a person says, those not named as a pair's fields."""
    clean, corrupt, answer, wrong, subject = (columns.get(part, part) for part in PARTS)
    four = clean, corrupt, answer, wrong
    return columns_format(
        "columns", "a table with named columns", "any JSONL, JSON, CSV or TSV", four, subject
    )
