"""One file of measurements that several scripts write, each its own section."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Outputs(Protocol):
    """Where measurements go: files, or None."""

    json: Path | None
    markdown: Path | None


def finish(
    outputs: Outputs, document: Any, sections: Mapping[str, str], complaints: Sequence[str]
) -> int:
    """Print the sections and write what was asked for; the exit status, 1 where there are complaints."""
    print("\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items()))
    if outputs.json:
        outputs.json.write_text(json.dumps(document, indent=1) + "\n")
    if outputs.markdown:
        for title, text in sections.items():
            put_section(outputs.markdown, title, text)
    return int(bool(complaints))


def put_section(path: Path, title: str, text: str) -> None:
    """Write `text` under the heading `## title` of a Markdown file; other sections stay."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(with_section(before, title, text), encoding="utf-8")


def with_section(document: str, title: str, text: str) -> str:
    """`document` with `text` as the section called `title`, in its place or at the end."""
    head, *sections = re.split(r"^(?=## )", document, flags=re.MULTILINE)
    new = f"## {title}\n\n{text.strip()}\n"
    titles = [section.splitlines()[0].removeprefix("## ") for section in sections]
    if title in titles:
        sections[titles.index(title)] = new
    else:
        sections.append(new)
    parts = [part.strip("\n") for part in (head or "# Speed", *sections)]
    return "\n\n".join(parts) + "\n"
