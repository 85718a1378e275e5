"""The page of public data has the table of the formats that there are."""

import runpy
from pathlib import Path

from patchwright.prompts.formats import FORMATS
from patchwright.prompts.formats.document import SUFFIXES

PAGE = Path(__file__).parents[1] / "docs" / "data.md"


def test_the_table_of_formats_is_that_of_the_program() -> None:
    current = runpy.run_path(str(PAGE.with_name("write_data.py")))["page"]()
    assert PAGE.read_text(encoding="utf-8") == current


def test_every_format_has_a_row_and_every_kind_of_file_is_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{one.name}` | {one.source}" in text for one in FORMATS)
    assert all(
        ending.upper() in text or ending == "ndjson" for ending in SUFFIXES if ending != "txt"
    )
