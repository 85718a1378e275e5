import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.errors import AnswerError, InputError, PromptError, UnequalLengthsError
from patchwright.prompts.pair import TokenPair, tokenize
from patchwright.prompts.tokens import encode_prompt, token_texts, visible

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"


def tokens_of(demo: pw.Model, bos: bool = True, **changes: Any) -> TokenPair:
    fields: dict[str, Any] = {
        "clean": CLEAN,
        "corrupt": CORRUPT,
        "answer": " Mary",
        "wrong": " John",
    } | changes
    spec = demo.spec
    return tokenize(
        pw.Pair(**fields),
        demo.tokenizer,
        n_vocab=spec.n_vocab,
        n_context=spec.n_context,
        bos=bos,
    )


def codes(pair: TokenPair) -> list[str]:
    return [notice["code"] for notice in pair.notices]


def test_the_beginning_of_text_token_comes_first_and_only_once(demo: pw.Model) -> None:
    assert demo.tokenizer is not None
    start = demo.tokenizer.bos_token_id
    with_bos, without = tokens_of(demo), tokens_of(demo, bos=False)
    assert with_bos.clean == (start, *without.clean)
    assert tokens_of(demo, clean="<|endoftext|>" + CLEAN).clean == with_bos.clean
    ids = tokens_of(demo, clean=list(without.clean), corrupt=list(with_bos.corrupt))
    assert ids.clean == with_bos.clean
    assert ids.corrupt == with_bos.corrupt


def test_tokens_joined_are_the_prompt(demo: pw.Model) -> None:
    pair = tokens_of(demo)
    assert "".join(pair.clean_texts) == "<|endoftext|>" + CLEAN


@given(text=st.text(min_size=1, max_size=30))
def test_any_text_encodes_and_shows_without_control_characters(demo: pw.Model, text: str) -> None:
    ids = encode_prompt(text, demo.tokenizer, True)
    shown = [visible(token) for token in token_texts(ids, demo.tokenizer)]
    assert len(shown) == len(ids)
    assert all(token.isprintable() and token for token in shown)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"clean": ""}, PromptError, "empty"),
        ({"corrupt": CLEAN}, PromptError, "same tokens"),
        ({"clean": "word " * 80}, PromptError, "at most 64"),
        ({"clean": "\ud800"}, PromptError, "UTF-8"),
        ({"clean": [1, 99_999], "corrupt": [1, 2]}, PromptError, "token id 99999"),
        ({"clean": [1, -1], "corrupt": [1, 2]}, PromptError, "token id -1"),
        ({"answer": []}, AnswerError, "No answer"),
        ({"answer": ""}, AnswerError, "empty"),
        ({"wrong": [""]}, AnswerError, "empty"),
        (
            {"clean": [1, 2], "corrupt": [1, 3], "answer": 99_999, "wrong": []},
            AnswerError,
            "token id 99999",
        ),
        ({"wrong": " Mary"}, AnswerError, "both an answer and a wrong answer"),
        ({"corrupt": CORRUPT + " me"}, UnequalLengthsError, ">>>"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_is_allowed(
    demo: pw.Model, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=re.escape(says)):
        tokens_of(demo, **changes)


def test_text_needs_a_tokenizer(model: pw.Model) -> None:
    with pytest.raises(PromptError, match="no tokenizer"):
        pw.patch(model, pw.Pair(clean="a", corrupt="b", answer=" c", wrong=" d"))


def test_questionable_prompts_and_answers_are_pointed_out(demo: pw.Model) -> None:
    assert codes(tokens_of(demo)) == []
    assert codes(tokens_of(demo, clean=CLEAN + " ", corrupt=CORRUPT + " ")) == [
        "trailing_space",
        "trailing_space",
    ]
    assert codes(tokens_of(demo, answer="Mary", wrong="John")) == [
        "no_leading_space",
        "no_leading_space",
    ]


@pytest.mark.parametrize(("end", "pointed_out"), [("17", 0), ("2+3=", 0), ("year", 2)])
def test_digits_that_complete_a_number_or_a_sum_need_no_space(
    demo: pw.Model, end: str, pointed_out: int
) -> None:
    clean, corrupt = f"Tom: {end}", f"Kate: {end}"
    found = codes(tokens_of(demo, clean=clean, corrupt=corrupt, answer="5", wrong="8"))
    assert found.count("no_leading_space") == pointed_out


def test_an_answer_of_several_tokens_asks_what_follows_its_first_ones(demo: pw.Model) -> None:
    pair = tokens_of(demo, answer=[" Reykjavik"], wrong=[" Mary"])
    assert not pair.single_tokens
    assert pair.continuations == ((), pair.answers[0][:-1])


def test_equal_answers_count_once(demo: pw.Model) -> None:
    assert len(tokens_of(demo, answer=[" Mary", " Mary"]).answers) == 1


@pytest.mark.parametrize("given", [" Mary", [" Mary"], (" Mary",)])
def test_one_answer_or_a_list_are_the_same_pair(given: Any) -> None:
    pair = pw.Pair(clean=[1], corrupt=[2], answer=given)
    assert pair == pw.Pair(clean=[1], corrupt=[2], answer=" Mary")
    assert hash(pair) == hash(pw.Pair.model_validate_json(pair.model_dump_json()))


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(InputError, match="'corrupted': there is no such field"):
        pw.Pair(clean="a", corrupted="b", answer=" c")  # pyright: ignore[reportCallIssue]
