"""The file of measurements that several scripts write, each its own section."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

SECTIONS = runpy.run_path(str(Path(__file__).parents[1] / "bench" / "sections.py"))
put_section: Callable[[Path, str, str], None] = SECTIONS["put_section"]
with_section: Callable[[str, str, str], str] = SECTIONS["with_section"]

TITLES = st.sampled_from(["Exact sweeps", "The page", "The page too"])
LINES = st.lists(st.sampled_from(["| a |", "", "### deeper", "text ## not a head"]), max_size=5)


@given(st.lists(st.tuples(TITLES, LINES), max_size=6))
def test_each_section_holds_what_was_put_last_and_no_other_is_touched(
    written: list[tuple[str, list[str]]],
) -> None:
    document, expected = "# Speed\n\nIntroduction.\n", dict[str, str]()
    for title, lines in written:
        text = "\n".join(lines)
        document = with_section(document, title, text)
        expected[title] = text.strip()
    parts = document.split("\n## ")
    assert parts[0].strip() == "# Speed\n\nIntroduction."
    found = {part.split("\n")[0]: "\n".join(part.split("\n")[1:]).strip() for part in parts[1:]}
    assert found == expected


def test_a_file_that_is_not_there_begins_with_a_heading(tmp_path: Path) -> None:
    put_section(tmp_path / "new.md", "The page", "| a |\n")
    assert (tmp_path / "new.md").read_text() == "# Speed\n\n## The page\n\n| a |\n"


def test_no_section_of_the_file_in_the_docs_is_one_that_no_script_replaces() -> None:
    root = Path(__file__).parents[1]
    shapes: dict[str, Any] = runpy.run_path(str(root / "bench" / "cases.py"))["SECTIONS"]
    written = {*shapes}
    for script in ("page", "many_pairs", "sizes"):
        text = (root / "bench" / f"{script}.py").read_text()
        (own,) = re.findall(
            r'(?:put_section\(options.markdown, |^TITLE = )"(.*?)"', text, re.MULTILINE
        )
        written.add(own)
    measured = re.findall(r"^## (.*)$", (root / "docs" / "benchmarks.md").read_text(), re.MULTILINE)
    assert set(measured) == written
    assert len(measured) == len(set(measured))
