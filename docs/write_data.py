"""Write the table of formats into `docs/data.md`; with `--check`, say if it is out of date."""

import sys
from pathlib import Path

from patchwright.prompts.formats import FORMATS
from patchwright.prompts.formats.format import TEXT, Format

PAGE = Path(__file__).parent / "data.md"
MARKS = "<!-- table -->\n", "<!-- end -->"

HEAD = """| format | published by | recognised by | clean | corrupted | answer | wrong answer |
| --- | --- | --- | --- | --- | --- | --- |
"""


def fields_of(one: Format) -> str:
    """What a record must have, each of its ways."""
    ways = [", ".join(_written(name) for name in some) for some in one.fields]
    return " ".join(["; or ".join(ways), *([one.text] if one.text else [])])


def _written(name: str) -> str:
    return "a line or a text" if name == TEXT else f"`{name}`"


def table() -> str:
    """One row a format."""
    rows = (
        (
            f"**{one.title}**, `{one.name}`",
            *(one.source, fields_of(one), one.becomes.clean, one.becomes.corrupt),
            *(one.becomes.answer, one.becomes.wrong),
        )
        for one in FORMATS
    )
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def page() -> str:
    """The page as it must be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
    return before + MARKS[0] + table() + MARKS[1] + rest.partition(MARKS[1])[2]


def main() -> None:
    """Exit status 1 where `--check` finds the page out of date."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE} differs from the formats that there are: run `make figures`.")


if __name__ == "__main__":
    main()
