"""The documentation site: what its pages and its table of contents name is there.

`make docs`, and with it `make check`, builds it with warnings as errors.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import yaml

import patchwright as pw

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

Entry = str | dict[str, "Entry | list[Entry]"]


def named_in(nav: list[Entry]) -> Iterator[str]:
    for entry in nav:
        if isinstance(entry, str):
            yield entry
            continue
        for under in entry.values():
            yield from named_in(under if isinstance(under, list) else [under])


def settings() -> dict[str, object]:
    return cast("dict[str, object]", yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8")))


def test_every_page_of_the_contents_is_there_once() -> None:
    named = list(named_in(cast("list[Entry]", settings()["nav"])))
    assert len(named) == len(set(named))
    assert all((DOCS / name).is_file() for name in named)


def test_the_site_asks_nothing_of_other_sites() -> None:
    theme = cast("dict[str, object]", settings()["theme"])
    assert theme["font"] is False
    assert not {"extra_javascript", "repo_url"} & settings().keys()
    assert "http" not in (DOCS / "site.css").read_text("utf-8")


def test_the_reference_has_every_public_name_once() -> None:
    reference = "\n".join(page.read_text("utf-8") for page in (DOCS / "api").glob("*.md"))
    # `run` and `swap` are modules too: of them the page names where the function lives.
    shown = re.findall(r"^::: patchwright\.(?:[a-z.]+\.)?(\w+)$", reference, re.MULTILINE)
    assert sorted(shown) == sorted(dir(pw))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", text)
    missing = [
        link
        for link in links
        if not link.startswith(("http:", "https:")) and not (page.parent / link).exists()
    ]
    assert not missing
