"""Which tokens are the subject that somebody named, with tokenizers of every kind."""

from collections.abc import Sequence
from unicodedata import normalize

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.errors import PromptError
from patchwright.prompts.characters import text_and_spans
from patchwright.prompts.pair import prompt_ids
from patchwright.prompts.subject import Subject, find_subject
from vocabularies import KINDS, model_of

kinds = pytest.mark.parametrize("kind", KINDS)
FRANCE = "The capital of France is"


def found(
    kind: str, prompt: str | Sequence[int], subject: str | Sequence[int], occurrence: int = 1
) -> tuple[Subject, str]:
    """The subject, and the characters that its tokens hold."""
    tokenizer = model_of(kind).tokenizer
    tokens = prompt_ids(prompt, tokenizer, True)
    chosen = find_subject(prompt, tokens, tokenizer, subject, occurrence)
    text, spans = text_and_spans(prompt, tokens, tokenizer)
    held = {i for at in chosen.positions for i in range(*spans[at])}
    return chosen, "".join(text[i] for i in sorted(held))


@kinds
@pytest.mark.parametrize(
    ("prompt", "subject", "stands"),
    [
        (FRANCE, "of", FRANCE.index("of")),
        (FRANCE, "The", 0),
        ("Berlin is in the city", "in", 10),
        ("Romeo and Mary went to Rome", "Rome", 23),
        ("Столица Москва is", "Москва", 8),
        ("我在北京 is", "北京", 2),
        ("the café of", "cafe\u0301", 4),
        ("the cafe\u0301 of", "café", 4),
        ("see 👩\u200d💻 in", "👩\u200d💻", 4),
        ("<|endoftext|> of Rome", "of", 14),
    ],
)
def test_a_subject_is_the_tokens_that_hold_its_characters(
    kind: str, prompt: str, subject: str, stands: int
) -> None:
    chosen, held = found(kind, prompt, subject)
    n = next(
        n for n in range(1, len(prompt))
        if normalize("NFC", prompt[stands : stands + n]) == normalize("NFC", subject)
    )  # fmt: skip
    assert held.strip() == prompt[stands : stands + n]
    assert chosen.notices == ()


@kinds
@given(
    words=st.lists(
        st.sampled_from(["Rome", "Romeo", "of", "Москва", "北京", "café", "in", "Berlin", "日"]),
        min_size=1,
        max_size=6,
    ),
    data=st.data(),
)
def test_the_subject_covers_exactly_the_characters_asked_for(
    kind: str, words: list[str], data: st.DataObject
) -> None:
    prompt = " ".join(words)
    word = data.draw(st.sampled_from(words))
    occurrence = data.draw(st.integers(1, words.count(word)))
    at = [i for i, one in enumerate(words) if one == word][occurrence - 1]
    start = len(" ".join(words[:at])) + bool(at)
    tokenizer = model_of(kind).tokenizer
    tokens = prompt_ids(prompt, tokenizer, True)
    chosen = find_subject(prompt, tokens, tokenizer, word, occurrence)
    assert chosen.notices == ()
    _, spans = text_and_spans(prompt, tokens, tokenizer)
    held = {i for one in chosen.positions for i in range(*spans[one])}
    wanted = {*range(start, start + len(word))}
    assert held - wanted <= {start - 1}  # the space that is a part of the first token
    assert wanted <= held
    others = [spans[i] for i in range(len(tokens)) if i not in chosen.positions]
    assert not any(wanted & {*range(*span)} for span in others)


@kinds
def test_a_part_of_a_word_is_taken_only_where_no_word_is_and_said(kind: str) -> None:
    chosen, held = found(kind, "Berlin", "in")
    assert held.strip().endswith("in")
    (notice,) = chosen.notices
    assert notice["code"] == "subject_inside_word"
    assert "only as a part of a word" in notice["message"]
    assert f"the tokens of '{held.strip()}'" in notice["message"]


@kinds
def test_ids_have_the_subject_that_their_text_has(kind: str) -> None:
    prompt = "The capital of 北京 is"
    tokenizer = model_of(kind).tokenizer
    ids = prompt_ids(prompt, tokenizer, True)
    for subject in ("of", "北京", "The"):
        assert found(kind, ids, subject)[0] == found(kind, prompt, subject)[0]


@kinds
@given(positions=st.lists(st.integers(-5, 4), min_size=1, max_size=4))
def test_positions_are_taken_as_they_are(kind: str, positions: list[int]) -> None:
    n = len(prompt_ids(FRANCE, model_of(kind).tokenizer, True))
    assume(n >= 5)
    chosen, _ = found(kind, FRANCE, positions)
    assert chosen.positions == tuple(sorted({position % n for position in positions}))


@pytest.mark.parametrize(
    ("subject", "occurrence", "says"),
    [
        ("Rome", 1, "'Rome' is not in the prompt"),
        ("  ", 1, "is not in the prompt"),
        ("of", 2, "stands 1 times in the prompt as whole words; occurrence 2"),
        ("of", 0, "occurrence 0"),
        ([], 1, "no positions"),
        ([99], 1, "position 99: the prompt has positions 0-"),
    ],
)
def test_what_is_not_there_is_refused(subject: str | list[int], occurrence: int, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        found("bytes", FRANCE, subject, occurrence)


def test_a_trace_says_which_tokens_its_subject_is(demo: pw.Model) -> None:
    asked = {"subject": "of", "answer": " Paris", "samples": 1}
    result = pw.trace(demo, FRANCE, **asked)  # pyright: ignore[reportArgumentType]
    assert result.details["subject_tokens"] == [" of"]
    assert [result.tokens["clean"][i] for i in result.details["subject"]] == [" of"]
    inside = pw.trace(demo, FRANCE, **asked | {"subject": "capita"})  # pyright: ignore[reportArgumentType]
    assert "subject_inside_word" in [one["code"] for one in inside.warnings]
