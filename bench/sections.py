"""One file of measurements that several scripts write, each its own section."""

import re
from pathlib import Path


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
