"""What somebody typed is text on the page: it acts as no markup, and is copied as it was typed."""

import json
import re
import string
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app_pages import unescaped
from local_server import free_port
from patchwright.app.text import BREAK, escape, paragraphs, token_markdown
from patchwright.errors import printable_text
from patchwright.prompts.tokens import visible

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

HOSTILE = [
    "a -> b <- c <-> d -- e >= f <= g ~= h",
    "-> b", "a --", ">=", ":smile: :+1: :-1: :material/home: :material_home: :streamlit:",
    ":red[x] :small[] :blue-background[y] :color[z]{foreground=red} :help[q] ::note ::: a",
    "www.example.org WWW.example.org http://example.org https://a.b ftp://a.b mailto:a@b.c",
    "x@example.org a.b+c@d-e.org @user L0.resid_pre@14", "$x^2$ $$y$$ \\(z\\)",
    "**b** *i* _e_ ~~s~~ `c` # h\n# h\n- l\n1. n\n> q\n\n---\n| a | b |\n|---|---|",
    "[x](javascript:alert(1)) ![y](//evil) [^1] [ref]: /url <b>x</b> <!-- c --> &lt; &#58;",
    "<https://a.b> \\* \\ a\\", "[ ] todo [x] done", "+ a\n+ b", "a  b", "2 * 3 * 4",
]  # fmt: skip
PIECES = st.sampled_from(
    [
        *string.punctuation,
        " ",
        "a",
        "smile",
        "red",
        "www.",
        "http",
        "://",
        "b.c",
        "1",
        "->",
        "é",
        "$$",
    ]
)
TEXTS = st.lists(PIECES, min_size=1, max_size=14).map("".join) | st.sampled_from(HOSTILE)


@given(text=st.text(max_size=40) | TEXTS)
def test_a_text_is_escaped_whole_and_has_nothing_that_is_not_seen(text: str) -> None:
    for shown in (escape(text), token_markdown(text), paragraphs(text)):
        assert all(one.isprintable() or one == "\n" for one in shown)
        left = re.sub(r"\\([!-/:-@\[-`{-~])", "", shown.replace(BREAK, ""))
        assert not set(left) & set(string.punctuation), shown
    assert unescaped(token_markdown(text)) == visible(text)
    # A sentence of ours has signs for spaces; they are spaces again.
    lines = [printable_text(line.replace("·", " ")) for line in text.split("\n")]
    assert unescaped(escape(text)) == "  \n".join(lines)


@given(text=TEXTS)
@settings(max_examples=300)
def test_no_piece_of_a_text_is_a_link_an_icon_or_an_arrow(text: str) -> None:
    for piece in escape(text).split(BREAK):
        bare = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", piece)
        found = re.search(
            r"<->|->|<-|--|>=|<=|~=|:[\w+-]+:|https?://|www\.|[\w.+-]@[\w-]+\.\w", bare
        )
        assert not found, (text, found)


PAGE = """
import json, sys
import streamlit as st
from patchwright.app.text import escape
for number, text in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))):
    with st.container(key=f"text-{number}"):
        st.markdown(escape(text))
        st.caption(escape(text))
        st.error(escape(text))
        st.button(escape(text), key=f"button-{number}")
"""
ALLOWED = "p, br, span"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[str, Path]]:
    """A page that shows the texts of a file, and the file."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "texts.json").write_text("[]", encoding="utf-8")
    (folder / "page.py").write_text(PAGE, encoding="utf-8")
    port = free_port()
    options = ["--server.port", str(port), "--server.headless", "true"]
    options += ["--server.address", "127.0.0.1", "--browser.gatherUsageStats", "false"]
    command = [sys.executable, "-m", "streamlit", "run", str(folder / "page.py"), *options]
    command += ["--", str(folder / "texts.json")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.25)
        yield url, folder / "texts.json"
    finally:
        server.terminate()
        server.wait(timeout=20)


def texts_shown(page: "Page", count: int) -> "list[list[Locator]]":
    page.locator(f".st-key-text-{count - 1} button").wait_for(timeout=60_000)
    boxes = [page.locator(f".st-key-text-{i}") for i in range(count)]
    kinds = "[data-testid=stMarkdownContainer], [data-testid=stCaptionContainer]"
    return [box.locator(kinds).all() for box in boxes]


@pytest.mark.browser
def test_a_browser_shows_and_copies_any_text_as_it_was_typed(
    browser: "Browser", served: tuple[str, Path]
) -> None:
    url, file = served
    lines = (line for text in HOSTILE for line in text.split("\n"))
    first = [line for line in lines if line]
    tab = browser.new_page()

    def check(texts: list[str]) -> None:
        file.write_text(json.dumps(texts), encoding="utf-8")
        tab.goto(url)
        for text, found in zip(texts, texts_shown(tab, len(texts)), strict=True):
            assert len(found) == 4
            for one in found:
                copied = one.evaluate("element => element.textContent")
                assert " ".join(copied.split()) == " ".join(text.split())
                inside = one.evaluate(
                    "(element, allowed) => [...element.querySelectorAll('*')]"
                    ".filter(one => !one.matches(allowed)).map(one => one.outerHTML)",
                    ALLOWED,
                )
                assert inside == [], text

    check(first)
    lists = st.lists(
        TEXTS.filter(lambda one: "\n" not in one and one.strip()), min_size=40, max_size=40
    )

    @given(texts=lists)
    @settings(max_examples=3, phases=[Phase.generate])  # a page is too slow to shrink
    def many(texts: list[str]) -> None:
        check(texts)

    many()
    tab.close()
