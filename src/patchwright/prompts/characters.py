"""Which characters of a prompt its tokens stand for, and where words stand in it."""

import unicodedata
from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import regex

from patchwright.errors import PromptError, quoted
from patchwright.prompts.align import common_prefix_length
from patchwright.prompts.chat import render_and_locate
from patchwright.prompts.messages import Messages, contents_text, is_chat
from patchwright.prompts.tokens import Span, Tokenizer, encode_with_spans, token_texts

# Where words begin and end, in any script (Unicode Standard Annex 29, default rules); the
# France of "France's" is a word too.
_BOUNDARY = regex.compile(r"(?w)\b|(?=['’])|(?<=['’])")
_CHARACTER = regex.compile(r"\X")
"""What a person takes for one character: a letter with its accents, an emoji of several parts."""


def text_and_spans(
    prompt: object, tokens: Sequence[int], tokenizer: Tokenizer | None
) -> tuple[str, tuple[Span, ...]]:
    """A prompt's text, and which of its characters each of its `tokens` stands for.

    What stands before the prompt itself, as the beginning-of-text token, stands for none.
    Together the spans hold every character; those of tokens that share one overlap. The
    text of a prompt of ids is that of its tokens without special ones; that of messages what
    was said (`prompts.messages.contents_text`), of which the template's own tokens stand for none.
    Raises PromptError where the tokenizer or its template cannot say.
    """
    if tokenizer is None:
        raise PromptError(
            "This model has no tokenizer, so its tokens have no text: name positions."
        )
    if is_chat(prompt):
        return contents_text(prompt), _chat_spans(prompt, tokens, tokenizer)
    if isinstance(prompt, str):
        ids, spans = encode_with_spans(prompt, tokenizer)
        text = prompt
        if spans is not None:
            spans = _fill_gaps(prompt, spans, token_texts(ids, tokenizer))
    else:
        ids, text, spans = tuple(cast("Sequence[int]", prompt)), "", None
    if spans is None:
        text, spans = _decode_with_spans(ids, tokenizer)
    if isinstance(prompt, str) and text != prompt:
        raise PromptError(
            f"The model's tokens do not spell the prompt {quoted(prompt)} as it was given, so no "
            "word can be found in them: name positions, or give token ids."
        )
    return text, (*[(0, 0)] * (len(tokens) - len(ids)), *spans)


def _chat_spans(
    messages: Messages, tokens: Sequence[int], tokenizer: Tokenizer
) -> tuple[Span, ...]:
    """Which characters of what was said each token stands for."""
    found = render_and_locate(messages, tokenizer)
    ids, spans = encode_with_spans("" if found is None else found.text, tokenizer)
    if found is None or spans is None:
        raise PromptError(
            "It is unknown which tokens belong to the messages, because the model's chat template changes "
            "their text or its tokenizer gives no positions: name positions, or give token ids."
        )
    said = [
        found.content_span(one)
        for one in _fill_gaps(found.text, spans, token_texts(ids, tokenizer))
    ]
    return (*[(0, 0)] * (len(tokens) - len(ids)), *said[-len(tokens) :])


def tokens_of_span(spans: Sequence[Span], wanted: Span) -> tuple[int, ...]:
    """Positions of the tokens that hold any of the `wanted` characters, rising."""
    first, behind = wanted
    return tuple(i for i, (a, b) in enumerate(spans) if max(a, first) < min(b, behind))


def _fill_gaps(text: str, spans: Sequence[Span], shown: Sequence[str]) -> tuple[Span, ...]:
    """`spans` without gaps between them, of tokens that read as `shown`.

    Where a tokenizer leaves out the space before a word, the word's token has it; an accent
    that it joined with a letter is that token's. A space that it puts before a word itself
    stands for none of the text's characters.
    """
    found: list[Span] = []
    characters = {match.start() for match in _CHARACTER.finditer(text)}
    behind = 0
    for (start, stop), sign in zip(spans, shown, strict=True):
        while behind < start and behind not in characters:
            behind += 1
            found[-1] = (found[-1][0], behind)
        held = text[min(start, behind) : stop]
        added = sign.isspace() and bool(held) and not held[0].isspace()
        found.append((behind, behind) if added else (min(start, behind), max(stop, behind)))
        behind = max(behind, found[-1][1])
    if found and behind < len(text):
        found[-1] = (found[-1][0], len(text))
    return tuple(found)


def _decode_with_spans(ids: Sequence[int], tokenizer: Tokenizer) -> tuple[str, tuple[Span, ...]]:
    """The text that `ids` decode to, and which of its characters each is a part of."""
    read = [tokenizer.decode(list(ids[:n]), skip_special_tokens=True) for n in range(len(ids) + 1)]
    whole = read[-1]
    # A token may end inside a character, whose parts decode to a sign of their own: what has
    # been read agrees with the whole as far as the character before.
    ends = [common_prefix_length(one, whole) for one in read]
    stops = [end + (len(one) > end) for one, end in zip(read, ends, strict=True)]
    return whole, tuple(zip(ends, (min(stop, len(whole)) for stop in stops[1:]), strict=False))


def find_text(text: str, wanted: str) -> tuple[list[Span], bool]:
    """Where `wanted` stands in `text`, and whether as whole words.

    Only if it stands nowhere as whole words are parts of words found. Characters are
    compared as people read them: in whatever Unicode normal form either is written.
    """
    clusters: list[str] = _CHARACTER.findall(text)
    read, sought = _normalize(clusters), _normalize(_CHARACTER.findall(wanted))
    starts = [0, *accumulate(map(len, clusters))]
    n = len(sought)
    found = [
        (starts[i], starts[i + n])
        for i in range(len(read) - n + 1 if n else 0)
        if read[i : i + n] == sought
    ]
    boundaries = {0, len(text), *(match.start() for match in _BOUNDARY.finditer(text))}
    whole = [span for span in found if boundaries.issuperset(span)]
    return whole or found, bool(whole)


def _normalize(clusters: Sequence[str]) -> list[str]:
    return [unicodedata.normalize("NFD", one) for one in clusters]
