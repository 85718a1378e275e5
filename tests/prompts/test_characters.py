import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchwright.errors import PromptError
from patchwright.model.tokenizer import TextTokenizer
from patchwright.prompts.characters import find_text, text_and_spans
from patchwright.prompts.pair import prompt_ids
from patchwright.prompts.tokens import Span
from vocabularies import KINDS, model_of, tokenizer_of

kinds = pytest.mark.parametrize("kind", KINDS)
texts = st.lists(
    st.sampled_from(["The", " capital", " of", " ", "Rome", "o", "é", "e\u0301", "北京", "Москва",
                     "👩\u200d💻", ",", "'s", "한", "·", "\n", "ﬁ", "<|endoftext|>"]),
    min_size=1, max_size=8,
).map("".join)  # fmt: skip


def spans_of(kind: str, text: str, bos: bool) -> tuple[Span, ...]:
    tokenizer = model_of(kind).tokenizer
    tokens = prompt_ids(text, tokenizer, bos)
    found, spans = text_and_spans(text, tokens, tokenizer)
    assert found == text
    assert len(spans) == len(tokens)
    return spans


@kinds
@given(text=texts, bos=st.booleans())
def test_the_spans_of_tokens_reproduce_the_prompt(kind: str, text: str, bos: bool) -> None:
    spans = spans_of(kind, text, bos)
    read = ""
    for start, stop in spans:
        assert 0 <= start <= stop <= len(text)
        assert start <= len(read)
        read += text[len(read) : stop]
    assert read == text


@kinds
def test_what_was_put_in_front_is_no_text_of_the_prompt(kind: str) -> None:
    with_start, without = spans_of(kind, "The capital", True), spans_of(kind, "The capital", False)
    assert with_start == ((0, 0), *without)
    typed = spans_of(kind, "<|endoftext|>The capital", True)
    assert typed[0] == (0, 13)


@kinds
@given(text=texts)
def test_the_text_of_ids_is_found_in_their_tokens_as_that_of_typed_words(
    kind: str, text: str
) -> None:
    tokenizer = model_of(kind).tokenizer
    assert tokenizer is not None
    ids = prompt_ids(text, tokenizer, False)
    read, spans = text_and_spans(ids, prompt_ids(ids, tokenizer, True), tokenizer)
    assert len(spans) == len(prompt_ids(ids, tokenizer, True))
    assert all(0 <= start <= stop <= len(read) for start, stop in spans)
    held = {i for start, stop in spans for i in range(start, stop)}
    assert held == set(range(len(read)))


@given(
    before=texts, word=st.sampled_from(["Rome", "北京", "café", "Eiffel Tower", "👩\u200d💻", "3.14"]),
    after=texts, forms=st.tuples(*[st.sampled_from(["NFC", "NFD"])] * 2),
)  # fmt: skip
def test_a_whole_word_is_found_where_it_stands_in_either_normal_form(
    before: str, word: str, after: str, forms: tuple[str, str]
) -> None:
    before, after = f"{before} ", f" {after}"
    stands = unicodedata.normalize(forms[0], word)  # pyright: ignore[reportArgumentType]
    sought = unicodedata.normalize(forms[1], word)  # pyright: ignore[reportArgumentType]
    found, whole = find_text(before + stands + after, sought)
    assert whole
    assert (len(before), len(before) + len(stands)) in found


@pytest.mark.parametrize(
    ("text", "wanted", "found", "whole"),
    [
        ("Berlin is in Rome", "in", [(10, 12)], True),
        ("Romeo in Rome", "Rome", [(9, 13)], True),
        ("Romeo", "Rome", [(0, 4)], False),
        ("France's cat", "France", [(0, 6)], True),
        ("3.14 is 3", "3", [(8, 9)], True),
        ("<|endoftext|>", "of", [(5, 7)], False),
        ("我在北京市", "北京", [(2, 4)], True),
        ("café caf", "caf", [(5, 8)], True),
        ("cafe\u0301", "cafe", [], False),
        ("👩\u200d💻", "👩", [], False),
        ("snake-case", "case", [(6, 10)], True),
        ("one", "", [], False),
        ("one", "ones", [], False),
    ],
)
def test_whole_words_come_first_and_characters_are_those_that_people_read(
    text: str, wanted: str, found: list[Span], whole: bool
) -> None:
    assert find_text(text, wanted) == (found, whole)


class Silent(TextTokenizer):
    """One that does not say which characters its tokens stand for, as those without Rust."""

    def encode(self, text: str) -> tuple[tuple[int, ...], None]:
        return super().encode(text)[0], None


@given(text=texts)
def test_characters_are_read_off_the_tokens_where_the_tokenizer_does_not_say(text: str) -> None:
    text = text.replace("<|endoftext|>", "")
    silent = Silent(tokenizer_of("bytes"))
    tokens = prompt_ids(text or "x", silent, True)
    assert text_and_spans(text or "x", tokens, silent)[1] == spans_of("bytes", text or "x", True)


def test_tokens_that_do_not_spell_the_prompt_are_refused_where_nothing_else_is_known() -> None:
    silent = Silent(tokenizer_of("bytes, NFC"))
    tokens = prompt_ids("cafe\u0301", silent, False)
    with pytest.raises(PromptError, match="do not spell the prompt"):
        text_and_spans("cafe\u0301", tokens, silent)


def test_without_a_tokenizer_tokens_have_no_text() -> None:
    with pytest.raises(PromptError, match="name positions"):
        text_and_spans((1, 2), (1, 2), None)
