import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import patchwright as pw
from patchwright.errors import AnswerError, PatchwrightError, PromptError
from patchwright.model.tokenizer import TextTokenizer
from patchwright.prompts import tokens
from patchwright.prompts.pair import prompt_ids, tokenize
from patchwright.prompts.tokens import (
    answer_text,
    encode,
    encode_inside,
    encode_prompt,
    round_trip_text,
    special_notices,
    token_texts,
    visible,
)
from vocabularies import END, KINDS, SPECIAL, START, model_of, tokenizer_of

kinds = pytest.mark.parametrize("kind", KINDS)
PROMPT = "The capital of France is"
PUT = ["start put", "end put", "both put"]


def ids_of(kind: str, text: str, bos: bool) -> tuple[int, ...]:
    return prompt_ids(text, model_of(kind).tokenizer, bos)


@kinds
@pytest.mark.parametrize("typed", ["", START])
def test_the_start_token_is_there_once_or_not_at_all(kind: str, typed: str) -> None:
    start = SPECIAL.index(START)
    alone = encode(typed + PROMPT, model_of(kind).tokenizer)
    with_start, without = ids_of(kind, typed + PROMPT, True), ids_of(kind, typed + PROMPT, False)
    assert with_start.count(start) == 1
    assert with_start[0] == start
    assert without == alone
    assert without.count(start) == bool(typed)
    given_ids = model_of(kind).tokenizer
    assert prompt_ids(without, given_ids, True) == with_start
    assert prompt_ids(with_start, given_ids, True) == with_start


@kinds
@pytest.mark.parametrize("bos", [True, False])
def test_nothing_stands_behind_a_prompt_that_is_not_typed(kind: str, bos: bool) -> None:
    end = SPECIAL.index(END)
    ids = ids_of(kind, PROMPT, bos)
    assert end not in ids
    assert ids_of(kind, PROMPT + END, bos) == (*ids, end)


@pytest.mark.parametrize("kind", PUT)
@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("typed", [PROMPT, START + PROMPT, PROMPT + END])
def test_what_a_tokenizer_puts_by_itself_changes_no_prompt(
    kind: str, bos: bool, typed: str
) -> None:
    assert ids_of(kind, typed, bos) == ids_of("bytes", typed, bos)


@pytest.mark.parametrize("add_bos", [True, False])
@pytest.mark.parametrize("add_eos", [True, False])
def test_a_tokenizer_told_to_put_its_tokens_gives_the_prompt_of_one_that_was_not(
    demo: pw.Model, add_bos: bool, add_eos: bool
) -> None:
    assert demo.tokenizer is not None
    folder = demo.tokenizer.whole.name_or_path
    whole = type(demo.tokenizer.whole).from_pretrained(
        folder, add_bos_token=add_bos, add_eos_token=add_eos
    )
    for bos in (True, False):
        assert encode_prompt(PROMPT, TextTokenizer(whole), bos) == encode_prompt(
            PROMPT, demo.tokenizer, bos
        )


def codes(kind: str, bos: bool, start: str | None = START) -> list[str]:
    return [one["code"] for one in special_notices(model_of(kind, start).tokenizer, bos)]


def test_it_is_said_where_no_start_was_put_or_an_end_taken_off() -> None:
    assert codes("bytes", True) == codes("start put", True) == []
    assert codes("end put", True) == codes("both put", False) == ["end_token_removed"]
    assert codes("bytes", True, None) == ["no_bos"]
    assert codes("bytes", False, None) == []
    assert (
        "adds `</s>` to the end"
        in special_notices(model_of("end put").tokenizer, True)[0]["message"]
    )


def test_it_is_said_where_the_first_token_starts_a_turn_of_a_chat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "CHAT_TURN", START)
    assert codes("bytes", True) == ["chat_turn"]
    assert codes("bytes", False) == []
    ids = special_notices(model_of("bytes").tokenizer, True, typed=False)
    assert ids == [], "to ids nothing is added"


def test_without_a_start_token_of_its_own_a_tokenizer_keeps_the_one_it_puts() -> None:
    tokenizer = TextTokenizer(tokenizer_of("both put", None))
    assert tokenizer.bos_ids == (SPECIAL.index(START),)
    alone = encode(PROMPT, tokenizer)
    assert encode_prompt(PROMPT, tokenizer, True) == (*tokenizer.bos_ids, *alone)
    assert encode_prompt(PROMPT, tokenizer, False) == alone


@pytest.mark.parametrize("kind", ["bytes", "end put"])
def test_a_tokenizer_without_a_start_token_loses_no_first_token(kind: str) -> None:
    tokenizer = TextTokenizer(tokenizer_of(kind, None))
    assert encode_prompt(PROMPT, tokenizer, True) == encode_prompt(PROMPT, tokenizer, False)
    assert "".join(token_texts(encode_prompt(PROMPT, tokenizer, True), tokenizer)) == PROMPT


words = st.sampled_from(["Paris", "Rome", "Mary", "Москва", "北京", "é", "of", "7"])


@kinds
@given(before=st.lists(words, min_size=1, max_size=3), word=words)
def test_an_answer_has_the_tokens_that_it_has_behind_a_prompt(
    kind: str, before: list[str], word: str
) -> None:
    tokenizer = model_of(kind).tokenizer
    prompt = " ".join(before)
    whole = encode(f"{prompt} {word}", tokenizer)
    assert whole == (*encode(prompt, tokenizer), *encode_inside(f" {word}", tokenizer))


@kinds
def test_an_answer_without_its_space_is_another_one(kind: str) -> None:
    tokenizer = model_of(kind).tokenizer
    assert tokenizer is not None
    spaced, bare = (encode_inside(one, tokenizer) for one in (" Paris", "Paris"))
    assert "".join(token_texts(spaced, tokenizer)) == " Paris"
    assert "".join(token_texts(bare, tokenizer)) == "Paris"
    assert encode_inside("", tokenizer) == ()
    pair = pw.Pair(clean="The city", corrupt="The of", answer="Paris", wrong=" Rome")
    found = tokenize(pair, tokenizer, n_vocab=10_000, n_context=64)
    assert [one["code"] for one in found.notices] == ["no_leading_space"]
    assert found.answers == (bare,)


@kinds
def test_token_texts_have_their_spaces(kind: str) -> None:
    tokenizer = model_of(kind).tokenizer
    assert tokenizer is not None
    texts = token_texts(encode(PROMPT, tokenizer), tokenizer)
    assert "".join(texts) == f"{' ' if tokenizer.puts_space else ''}{PROMPT}"


@kinds
def test_different_parts_of_a_character_look_different(kind: str) -> None:
    tokenizer = model_of(kind).tokenizer
    for one in "щ漢🐭":
        ids = encode(f"a{one}", tokenizer)[1:]
        shown = [visible(text) for text in token_texts(ids, tokenizer)]
        assert all(a != b or i == j for (i, a), (j, b) in pairwise(zip(ids, shown, strict=True)))
        assert all(re.fullmatch(r"\[\d+\]|a", text) for text in shown)


@kinds
def test_a_text_is_offered_for_tokens_only_if_it_has_them(kind: str) -> None:
    tokenizer = model_of(kind).tokenizer
    assert tokenizer is not None
    for text in ("The capital of 北京 is", "Москва"):
        ids = encode(text, tokenizer)
        assert round_trip_text(ids, tokenizer) == text
    part = encode("a漢", tokenizer)[-1]
    assert round_trip_text([part], tokenizer) is None
    with pytest.raises(AnswerError, match=r"'\[\d+\]', cannot be typed"):
        answer_text(part, tokenizer)
    (paris,) = encode_inside(" Paris", tokenizer)
    assert answer_text(paris, tokenizer) == " Paris"
    assert encode_inside(answer_text(paris, tokenizer), tokenizer) == (paris,)


def test_no_token_looks_like_the_sign_of_another() -> None:
    tokens = [" ", "\t", "\n", "·", "→", "↵", "\u2028", "\u202e", "\x1b"]
    assert [visible(one) for one in tokens] == [
        *("·", "→", "↵"),
        *("<U+00B7>", "<U+2192>", "<U+21B5>", "<U+2028>", "<U+202E>", "<U+001B>"),
    ]


@given(texts=st.lists(st.text(max_size=6), min_size=2, max_size=2, unique=True))
def test_different_texts_look_different(texts: list[str]) -> None:
    one, other = texts
    if "<U+" not in one + other:
        assert visible(one) != visible(other)


def giving_up() -> PreTrainedTokenizerFast:
    """A tokenizer whose pattern takes more tries than its library allows."""
    one = Tokenizer(models.BPE(vocab={"a": 0, "x": 1}, merges=[]))
    one.pre_tokenizer = pre_tokenizers.Split(Regex("(?:x+x+)+y"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=one)


def test_a_pattern_that_gives_up_is_one_sentence() -> None:
    tokenizer = TextTokenizer(giving_up())
    assert encode("ax", tokenizer) == (0, 1)
    with pytest.raises(
        PromptError, match=r"tokenizer fails on 'x+….*retry-limit.*token ids"
    ) as said:
        encode("x" * 200, tokenizer)
    assert str(said.value).isprintable()
    assert isinstance(said.value, PatchwrightError)
