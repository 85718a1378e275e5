import sys
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import patchwright as pw
from chats import (
    ALTERNATING,
    CHATML,
    SYSTEM,
    TEMPLATES,
    TURNS,
    assistant,
    chat_model,
    chat_pair,
    chat_tokenizer,
    system,
    user,
)
from patchwright.errors import PromptError
from patchwright.model import chat_template
from patchwright.model.tokenizer import TextTokenizer
from patchwright.prompts.characters import text_and_spans
from patchwright.prompts.chat import DATE, chat_ids, chat_notices, render_and_locate
from patchwright.prompts.messages import MOST_MESSAGES, Messages, contents_text, messages_of
from patchwright.prompts.pair import Pair, prompt_ids, tokenize
from patchwright.prompts.roles import Role, role_position
from patchwright.prompts.subject import find_subject
from patchwright.prompts.tokens import token_texts
from vocabularies import START

templates = pytest.mark.parametrize("name", TEMPLATES)
kinds = pytest.mark.parametrize(
    "kind", ["bytes", "bytes, NFC", "SentencePiece", "SentencePiece, Llama 2", "both put"]
)
words = st.lists(
    st.sampled_from(["The", " capital", " of", " ", "Rome", "é", "北京", ",", "\n", "user", ":",
                     "assistant", "system", "<|im_", "im_end|>"]),
    min_size=1, max_size=6,
).map("".join).filter(str.strip)  # fmt: skip


@st.composite
def chats(draw: st.DrawFn) -> Messages:
    """A user and an assistant in turns, who may have a system message, and may be cut short."""
    said = draw(st.lists(words, min_size=1, max_size=3))
    turns = [(user, assistant)[i % 2](text) for i, text in enumerate(said)]
    before = draw(st.none() | words)
    return messages_of([*([] if before is None else [system(before)]), *turns])


def tokenizer_of(name: str, kind: str = "bytes", start: str | None = START) -> TextTokenizer:
    return TextTokenizer(chat_tokenizer(TEMPLATES.get(name, name), kind, start))


def of(*messages: dict[str, str]) -> Messages:
    return messages_of(messages)


def texts_of(name: str, *messages: dict[str, str]) -> tuple[str, ...]:
    tokenizer = tokenizer_of(name)
    return token_texts(chat_ids(of(*messages), tokenizer), tokenizer)


@kinds
@pytest.mark.parametrize("name", ["ChatML", "system of its own", "plain"])
@given(chat=chats())
@example(chat=of(user("a"), assistant("b ")))
def test_the_tokens_are_those_of_transformers(kind: str, name: str, chat: Messages) -> None:
    tokenizer = tokenizer_of(name, kind)
    continued = chat[-1].role == "assistant"
    theirs: Any = tokenizer.whole.apply_chat_template(
        [one.model_dump() for one in chat],
        add_generation_prompt=not continued, continue_final_message=continued, return_dict=False,
    )  # fmt: skip
    # These templates write no beginning-of-text token.
    assert chat_ids(chat, tokenizer) == (tokenizer.bos_token_id, *theirs)


@templates
@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("kind", ["bytes", "start put", "both put"])
def test_the_start_token_is_there_once(name: str, bos: bool, kind: str) -> None:
    tokenizer = tokenizer_of(name, kind)
    ids = prompt_ids(of(user("The capital of")), tokenizer, bos)
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(ids[0]) == 1


def test_special_tokens_are_shown_as_what_they_are() -> None:
    shown = texts_of("ChatML", user("The capital of"))
    assert [one for one in shown if one.startswith("<|")] == [
        *(START, "<|im_start|>", "<|im_end|>", "<|im_start|>")
    ]
    assert "".join(shown[1:]) == (
        "<|im_start|>user\nThe capital of<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_assistants_last_message_is_left_open() -> None:
    shown = "".join(texts_of("ChatML", user("Where?"), assistant("In the city of")))
    assert shown.endswith("<|im_start|>assistant\nIn the city of")


def notices(name: str, *messages: dict[str, str]) -> dict[str, str]:
    found = chat_notices([of(*messages)] * 2, tokenizer_of(name))
    assert len(found) == len({one["code"] for one in found})
    return {one["code"]: one["message"] for one in found}


def test_a_system_message_that_the_template_puts_in_is_shown_and_said() -> None:
    assert SYSTEM in "".join(texts_of("system of its own", user("Hello")))
    assert f"'{SYSTEM}'" in notices("system of its own", user("Hello"))["template_system"]
    assert "template_system" not in notices("system of its own", system("x"), user("Hello"))
    dated = notices("Llama 3", user("Hello"))["template_system"]
    assert "'Today Date: 26 Jul 2024'" in dated
    assert "'Today is Friday, 26 July 2024.'" in notices("clock", user("Hello"))["template_system"]
    for name in ("ChatML", "plain", "alternating", "twice the start"):
        assert "template_system" not in notices(name, user("Hello"))


@templates
def test_a_date_is_fixed_and_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Later":
            return cls(2031, 1, 2)

    before = texts_of(name, user("Hello"))
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Later)
    assert texts_of(name, user("Hello")) == before
    writes = name in ("Llama 3", "clock")
    assert ("2024" in "".join(before)) == writes
    assert ("26 July 2024" in notices(name, user("Hello")).get("template_date", "")) == writes


@pytest.mark.parametrize("code", DATE)
def test_the_codes_of_the_date_are_those_of_strftime(code: str) -> None:
    assert DATE[code] == datetime(2024, 7, 26, 12).strftime(code)


def test_a_start_token_that_the_template_leaves_out_is_said() -> None:
    assert f"`{START}`" in notices("ChatML", user("Hello"))["bos_added"]
    assert "bos_added" not in notices("Llama 3", user("Hello"))
    assert chat_notices([of(user("Hello"))], tokenizer_of("ChatML", start=None)) == []


# What was typed is text.


@pytest.mark.parametrize("spelled", [*TURNS, START, "</s>"])
def test_a_message_that_spells_a_special_token_is_refused(spelled: str) -> None:
    for chat in (
        [user(f"a{spelled}b")],
        [system(spelled), user("a")],
        [user("a"), assistant(f"b {spelled}")],
    ):
        with pytest.raises(PromptError, match=r"Message \d spells '.*', which is a special token"):
            chat_ids(of(*chat), tokenizer_of("ChatML"))


def test_a_turns_token_is_refused_where_a_checkpoint_does_not_mark_it() -> None:
    whole = chat_tokenizer("{{ '<turn>' + messages[-1]['content'] }}", "bytes, NFD")
    whole.add_tokens(["<turn>", "<other>"])
    tokenizer = TextTokenizer(whole)
    with pytest.raises(PromptError, match="Message 1 spells '<turn>'"):
        chat_ids(of(user("a <turn> b")), tokenizer)
    assert chat_ids(of(user("a <other> b")), tokenizer)
    # How an assistant goes on is its own affair: it may think.
    assert chat_ids(of(user("a"), assistant("<turn>")), tokenizer)


@pytest.mark.parametrize("name", ["ChatML", "Llama 3", "plain"])
@given(
    texts=st.lists(
        st.lists(
            st.sampled_from([*"<|>/", "im", "_", "start", "end", "eot", "header", "endoftext", "s",
                             *TURNS[:2], START, " ", "\n", "a"]),
            min_size=1, max_size=8,
        ).map("".join).filter(str.strip),
        min_size=1, max_size=3,
    )
)  # fmt: skip
def test_no_text_makes_a_special_token(name: str, texts: list[str]) -> None:
    tokenizer = tokenizer_of(name)

    def special(contents: list[str]) -> list[int]:
        turns = [(user, assistant)[i % 2](text) for i, text in enumerate(contents)]
        return [one for one in chat_ids(of(*turns), tokenizer) if one in tokenizer.special_tokens]

    try:
        found = special(texts)
    except PromptError:
        assert any(one in text for text in texts for one in (*TURNS, START, "</s>"))
        return
    assert found == special(["a"] * len(texts))


# A template is somebody else's program.


def refusal(template: str | None, *messages: dict[str, str]) -> str:
    tokenizer = TextTokenizer(chat_tokenizer(template))
    before = sys.gettrace()
    with pytest.raises(PromptError) as said:
        chat_ids(of(*(messages or (user("a"),))), tokenizer)
    assert sys.gettrace() is before
    assert "\n" not in str(said.value)
    return str(said.value)


def test_without_a_template_it_is_said_what_to_do() -> None:
    assert "has no chat template" in refusal(None)
    with pytest.raises(PromptError, match=r"no chat template .* give plain text"):
        chat_ids(of(user("a")), None)


def test_what_a_template_raises_is_a_sentence() -> None:
    said = refusal(ALTERNATING, user("a"), user("b"))
    assert "does not take these messages (Conversation roles must alternate" in said


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10000000) %}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% if %}",
        "{{ messages[0].nothing.more }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ 'a' * 600000 }}",
    ],
)
def test_a_template_that_fails_is_a_sentence(template: str) -> None:
    assert "The model's chat template does not take these messages (" in refusal(template)


def test_a_template_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 0.2)
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    assert "more than 0.2 seconds" in refusal(loops)


@given(start=st.sampled_from(["", "\n", "  ", "\n\n", " \n"]), chat=chats())
def test_the_fixed_date_moves_no_white_space(start: str, chat: Messages) -> None:
    template = f"{start}{{% if true %}}\n{CHATML}{{% endif %}}"
    whole = chat_tokenizer(template)
    plain: list[dict[str, str]] = [one.model_dump() for one in chat]
    ours = TextTokenizer(whole).render(plain, DATE)
    continued = chat[-1].role == "assistant"
    assert ours == whole.apply_chat_template(
        plain, tokenize=False, add_generation_prompt=not continued, continue_final_message=continued
    )


# Messages as they are given.


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([{"role": "tool", "content": "a"}], "message 1 has another role"),
        ([{"role": ["user"], "content": "a"}], "message 1 has another role"),
        ([user("a"), {"role": "user"}], "message 2 must have the fields role and content"),
        ([user("a") | {"name": "b"}], "message 1 must have the fields"),
        ([user(" \n")], "message 1 has no content"),
        ([{"role": "user", "content": 3}], "message 1 has no content"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
            "message 1 has no content",
        ),
        ([user("a"), system("b")], "the last message is the system's"),
        ([user("a")] * (MOST_MESSAGES + 1), f"a chat has at most {MOST_MESSAGES} messages"),
        ([user("a"), "b"], "give a text, or the token ids"),
        ([user("a"), 3], "give a text, or the token ids"),
        (user("a"), "give a text, or the token ids"),
    ],
)
def test_what_are_no_messages_is_refused_in_a_sentence(messages: Any, says: str) -> None:
    with pytest.raises(PromptError, match=f"'clean': {says}"):
        chat_pair(clean=messages)


def test_token_ids_are_no_answers_to_messages() -> None:
    with pytest.raises(pw.PatchwrightError, match="would be a token id"):
        chat_pair(answer=3)


def test_messages_are_the_same_from_json_from_mappings_and_from_messages() -> None:
    pair = chat_pair()
    again = Pair.model_validate_json(pair.model_dump_json())
    built = chat_pair(
        clean=[pw.Message(role="user", content="The capital of France is in the city of")]
    )
    assert pair == again == built
    assert hash(pair) == hash(again)
    assert Pair.model_validate(pair.model_dump()) == pair


# Answers, roles and subjects.


def tokenized(pair: Pair, name: str = "ChatML") -> list[str]:
    tokens = tokenize(pair, tokenizer_of(name), n_vocab=10**6, n_context=10**6)
    return [one["code"] for one in tokens.notices]


def test_an_answer_that_begins_a_turn_needs_no_space() -> None:
    assert tokenized(chat_pair()) == []
    begun = [user("Where?"), assistant("The capital of France is in the city of")]
    other = [user("Where?"), assistant("The capital of Berlin is in the city of")]
    assert "no_leading_space" in tokenized(chat_pair(clean=begun, corrupt=other))
    assert tokenized(chat_pair(clean=begun, corrupt=other, answer=" Paris", wrong=" Rome")) == []
    spaced = [[user("Where?"), assistant(f"In the city of {one}. ")] for one in ("Rome", "Paris")]
    assert "trailing_space" in tokenized(
        chat_pair(clean=spaced[0], corrupt=spaced[1], align="edges")
    )


@pytest.mark.parametrize("name", ["ChatML", "Llama 3", "alternating"])
@pytest.mark.parametrize("kind", ["bytes", "bytes, NFC", "SentencePiece, Llama 2"])
@given(chat=chats())
def test_the_spans_of_tokens_reproduce_what_was_said(name: str, kind: str, chat: Messages) -> None:
    tokenizer = tokenizer_of(name, kind)
    try:
        tokens = chat_ids(chat, tokenizer)
    except PromptError:
        assert name == "alternating"
        return
    text, spans = text_and_spans(chat, tokens, tokenizer)
    assert text == contents_text(chat)
    assert len(spans) == len(tokens)
    held = {at for start, stop in spans for at in range(start, stop)}
    found = render_and_locate(chat, tokenizer)
    assert found is not None
    parts = [found.text[a:b] for a, b in found.spans]
    assert [one.strip() for one in parts] == [one.content.strip() for one in chat]
    missing = "".join(text[at] for at in range(len(text)) if at not in held)
    assert not missing.strip(), "only what the template trims, and the line ends between messages"


def test_a_subject_is_found_in_what_was_said_and_not_in_the_template() -> None:
    tokenizer = tokenizer_of("system of its own")
    chat = of(user("Be the user of France"), assistant("The user of"))
    tokens = chat_ids(chat, tokenizer)
    texts = token_texts(tokens, tokenizer)
    for occurrence, before in ((1, "Be the"), (2, "The")):
        found = find_subject(chat, tokens, tokenizer, "user", occurrence)
        first = found.positions[0]
        assert "".join(texts[:first]).rstrip().endswith(before)
        assert "".join(texts[one] for one in found.positions).strip() == "user"
    with pytest.raises(PromptError, match="stands 2 times"):
        find_subject(chat, tokens, tokenizer, "user", 3)
    with pytest.raises(PromptError, match="is not in the prompt"):
        find_subject(chat, tokens, tokenizer, "tiny")  # the template says it
    assert find_subject(chat, tokens, tokenizer, [0, -1]).positions == (0, len(tokens) - 1)


@pytest.mark.parametrize("name", ["ChatML", "Llama 3", "clock"])
def test_a_role_stands_where_its_characters_do(name: str) -> None:
    said = "The capital of France is in the city of"
    start = said.index("France")
    role = Role(name="country", start=start + 3, stop=start + 9)
    pair = chat_pair(clean=[system("abc"[:2]), user(said)], roles=[role])
    tokenizer = tokenizer_of(name)
    tokens = prompt_ids(pair.clean, tokenizer, True)
    at = role_position(pair.clean, pair.roles, tokens, tokenizer, "country")
    assert "".join(token_texts(tokens[: at + 1], tokenizer)).endswith("The capital of France")
    with pytest.raises(pw.PatchwrightError, match="after the clean prompt's end"):
        chat_pair(roles=[Role(name="far", start=0, stop=len(said) + 1)])


def test_in_a_template_that_rewrites_what_is_said_positions_are_to_be_named() -> None:
    tokenizer = TextTokenizer(chat_tokenizer("{{ messages[0]['content'] | upper | reverse }}"))
    chat = of(user("abc"))
    tokens = chat_ids(chat, tokenizer)
    with pytest.raises(PromptError, match="name positions"):
        find_subject(chat, tokens, tokenizer, "abc")
    assert find_subject(chat, tokens, tokenizer, [1]).positions == (1,)


def test_words_are_swapped_in_plain_text_alone() -> None:
    prompt: Any = [user("The capital of France")]
    with pytest.raises(PromptError, match="Words are swapped in plain text"):
        pw.swap(chat_model("ChatML"), prompt, "France", "Paris")
    with pytest.raises(pw.PatchwrightError, match="'words'"):
        pw.head_scores(chat_model("ChatML"), chat_pair(), words=prompt)
