"""The messages of a chat in tokens: what the tokenizer's own template makes of them.

The template decides all that stands around what was said, also a system message and a
beginning-of-text token. What was said is text: it can hold no token that the template writes.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from patchwright.errors import PromptError, quoted
from patchwright.prompts.align import common_prefix_length
from patchwright.prompts.messages import Message, Messages, contents_text, messages_of
from patchwright.prompts.tokens import (
    Span,
    Tokenizer,
    encode,
    quoted_token,
    token_texts,
    visible,
    with_bos,
)
from patchwright.warnings import Notice

DATE = {
    "%-d": "26",
    "%d": "26",
    "%e": "26",
    "%-m": "7",
    "%m": "07",
    "%b": "Jul",
    "%h": "Jul",
    "%B": "July",
    "%y": "24",
    "%Y": "2024",
    "%F": "2024-07-26",
    "%D": "07/26/24",
    "%x": "07/26/24",
    "%a": "Fri",
    "%A": "Friday",
    "%u": "5",
    "%w": "5",
    "%j": "208",
    "%U": "29",
    "%W": "30",
    "%V": "30",
    "%G": "2024",
    "%H": "12",
    "%-H": "12",
    "%I": "12",
    "%-I": "12",
    "%M": "00",
    "%S": "00",
    "%p": "PM",
    "%f": "000000",
    "%T": "12:00:00",
    "%R": "12:00",
    "%X": "12:00:00",
    "%c": "Fri Jul 26 12:00:00 2024",
    "%z": "",
    "%Z": "",
    "%%": "%",
}
"""What a template reads from the clock, by the codes of `strftime`: always noon of 26 July 2024.

Llama 3's templates fall back to this day by themselves. So an experiment has the same tokens on
every day and in every language."""

_START, _STOP = "\ue000", "\ue001"
"""Around what was said, to find it again in what the template writes; of no language (private use)."""


def chat_ids(messages: Messages, tokenizer: Tokenizer | None) -> tuple[int, ...]:
    """The tokens of messages, the assistant's turn begun behind them.

    A last message of the assistant's is continued instead. The beginning-of-text token is there
    exactly once, whether the template writes it or not. Raises PromptError where there is no
    template, where it fails, or where a message spells one of its tokens.
    """
    tokenizer = _require_template(tokenizer)
    for number, one in enumerate(messages, 1):
        _check_content(one, number, tokenizer)
    ids, start = encode(_render_chat(messages, tokenizer), tokenizer), tokenizer.bos_ids
    while start and ids[: 2 * len(start)] == 2 * start:
        ids = ids[len(start) :]
    return with_bos(ids, tokenizer, bos=True) if ids else ()


def chat_notices(chats: Iterable[Messages], tokenizer: Tokenizer | None) -> list[Notice]:
    """What is to be known of what the template adds to chats by itself, each thing once.

    Chats in which the same speak in the same order get the same additions.
    """
    kinds = {tuple(one.role for one in chat): chat for chat in chats}
    if not kinds:
        return []
    given = _require_template(tokenizer)
    found = [notice for chat in kinds.values() for notice in _notices(chat, given)]
    return list({notice["message"]: notice for notice in found}.values())


@dataclass(frozen=True)
class RenderedChat:
    """What a template wrote, and where in it stands what was said, message by message.

    `spans` are characters of `text`; what is said there begins in `contents_text(messages)` at the
    character in `starts`.
    """

    text: str
    spans: tuple[Span, ...]
    starts: tuple[int, ...]

    def content_span(self, span: Span) -> Span:
        """The characters of `contents_text(messages)` at a span of `text`; (0, 0) where nobody says it."""
        first, behind = span
        found = [
            (max(first, a) - a + start, min(behind, b) - a + start)
            for (a, b), start in zip(self.spans, self.starts, strict=True)
            if max(first, a) < min(behind, b)
        ]
        return (found[0][0], found[-1][1]) if found else (0, 0)


def render_and_locate(messages: Messages, tokenizer: Tokenizer | None) -> RenderedChat | None:
    """Where what was said stands; None for a template that changes it or writes it twice."""
    tokenizer = _require_template(tokenizer)
    contents = [one.content for one in messages]
    cores = [one.strip() for one in contents]
    marked = [
        one.model_copy(update={"content": one.content.replace(core, f"{_START}{core}{_STOP}", 1)})
        for one, core in zip(messages, cores, strict=True)
    ]
    pieces = re.split(f"[{_START}{_STOP}]", _render_chat(tuple(marked), tokenizer))
    text = "".join(pieces)
    if pieces[1::2] != cores or text != _render_chat(messages, tokenizer):
        return None
    spans: list[Span] = []
    starts: list[int] = []
    at, spoken_at = 0, 0
    for before, core, content in zip(pieces[::2], cores, contents, strict=False):
        first, behind = at + len(before), at + len(before) + len(core)
        head, _, tail = content.partition(core)  # the spaces around what was said
        # Some templates take off the spaces around a message.
        kept = len(head) if text[:first].endswith(head) else 0
        more = len(tail) if text.startswith(tail, behind) else 0
        spans.append((first - kept, behind + more))
        starts.append(spoken_at + len(head) - kept)
        at, spoken_at = behind, spoken_at + len(content) + 1
    assert spoken_at == len(contents_text(messages)) + 1
    return RenderedChat(text, tuple(spans), tuple(starts))


def _require_template(tokenizer: Tokenizer | None) -> Tokenizer:
    if tokenizer is None or not tokenizer.has_template:
        raise PromptError(
            "The prompt is the messages of a chat, and this model's tokenizer has no chat template "
            "to write them with: give plain text, or choose a model that has one, such as smollm2."
        )
    return tokenizer


def _render_chat(messages: Messages, tokenizer: Tokenizer) -> str:
    return tokenizer.render([one.model_dump() for one in messages], DATE)


def _check_content(message: Message, number: int, tokenizer: Tokenizer) -> None:
    """Raise PromptError for a message that spells a token by which the template is understood.

    How an assistant thinks (`<think>`) is a part of its answer, and no special token.
    """
    reserved = dict(tokenizer.special_tokens)
    if message.role != "assistant":
        reserved |= tokenizer.template_tokens
    said = _fold_text(message.content)
    for token in encode(message.content, tokenizer):
        # What the vocabulary does not have becomes a token of another name: of a byte, or unknown.
        if token in reserved and _fold_text(reserved[token]).strip() in said:
            raise PromptError(
                f"Message {number} spells '{visible(reserved[token])}', which is a special token of the "
                "model and cannot be part of a message: write it differently, or give the whole prompt as "
                "text, where it becomes that token."
            )


def _fold_text(text: str) -> str:
    """A text without what tokenizers take off before they look for tokens: capitals, accents."""
    letters = unicodedata.normalize("NFKD", text)
    return "".join(one for one in letters if not unicodedata.combining(one)).casefold()


def _notices(messages: Messages, tokenizer: Tokenizer) -> list[Notice]:
    found: list[Notice] = []
    if system := _added_system_message(messages, tokenizer):
        message = (
            f"The chat template adds a system message of its own: {quoted(system)}. Its tokens are part "
            "of the prompt; in most templates, a system message of yours replaces it."
        )
        found.append(Notice(code="template_system", message=message))
    if _writes_date(messages, tokenizer):
        message = (
            f"The chat template writes the date. Here it is always {DATE['%d']} {DATE['%B']} "
            f"{DATE['%Y']}, so that an experiment has the same tokens every day."
        )
        found.append(Notice(code="template_date", message=message))
    start = tokenizer.bos_ids
    if encode(_render_chat(messages, tokenizer), tokenizer)[: len(start)] != start:
        shown = quoted_token("".join(token_texts(start, tokenizer)))
        message = (
            f"The chat template writes no beginning-of-text token, so {shown} was added before the "
            "messages."
        )
        found.append(Notice(code="bos_added", message=message))
    return found


def _writes_date(messages: Messages, tokenizer: Tokenizer) -> bool:
    """Whether another date would give another text, or none."""
    other = dict.fromkeys(DATE, _START)
    try:
        return _START in tokenizer.render([one.model_dump() for one in messages], other)
    except PromptError:
        return True


_TURNS = messages_of(
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
)


def _added_system_message(messages: Messages, tokenizer: Tokenizer) -> str:
    """What the template says before messages that have no system message.

    It is what stands before the first user's words and not before the second's.
    """
    if messages[0].role == "system":
        return ""
    try:
        chat, turns = render_and_locate(messages, tokenizer), render_and_locate(_TURNS, tokenizer)
    except PromptError:
        return ""
    if chat is None or turns is None:
        return ""
    first = chat.text[: chat.spans[0][0]]
    second = turns.text[turns.spans[1][1] : turns.spans[2][0]]
    ids = encode(first[: len(first) - common_prefix_length(first[::-1], second[::-1])], tokenizer)
    names = {**tokenizer.special_tokens, **tokenizer.template_tokens}
    written = [one for one in ids if one not in names]
    text = tokenizer.decode(written).strip()
    return re.sub(r"^system\b\W*", "", text, flags=re.IGNORECASE)
