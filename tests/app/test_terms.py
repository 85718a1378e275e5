"""Terms: each is defined where it stands first, and never inside code or a tag."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchwright.app.terms import TERMS, with_definitions

PIECES = st.sampled_from([*TERMS, "heads", "ahead", "<b>", "</b>", "<code>layer</code>", ", ", "x"])


def bare(html: str) -> str:
    return re.sub(r'<span class="pw-term"[^>]*>(.*?)</span>', r"\1", html)


@given(st.lists(PIECES, max_size=12).map(" ".join))
def test_the_words_stay_and_each_term_is_defined_once(html: str) -> None:
    shown = with_definitions(html)
    assert bare(shown) == html
    marked = re.findall(r'data-definition="([^"]*)"', shown)
    assert len(marked) == len(set(marked))
    assert "pw-term" not in "".join(re.findall(r"<code>.*?</code>", shown))


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_defined_where_it_stands_first(term: str) -> None:
    shown = with_definitions(f"One {term} and another {term}.")
    assert shown.count("pw-term") == 1
    assert shown.index("pw-term") < shown.rindex(term)


def test_a_word_that_only_contains_a_term_is_none() -> None:
    assert "pw-term" not in with_definitions("ahead of multilayered tokenizers")
