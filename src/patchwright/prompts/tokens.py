"""Text -> token ids with the characters that they stand for, and token ids -> text that can be shown."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from patchwright.errors import AnswerError, PromptError, printable_text, quoted
from patchwright.warnings import Notice

Span = tuple[int, int]
"""Characters of a text: the first, and the one behind the last."""

Encoding = tuple[tuple[int, ...], tuple[Span, ...] | None]
"""Token ids of a text, and the characters that each was made from, where the tokenizer says."""


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that prompts need."""

    @property
    def bos_ids(self) -> tuple[int, ...]:
        """What stands before a text with `bos=True`: the beginning-of-text token, if there is one."""
        ...

    @property
    def puts_space(self) -> bool:
        """Whether it puts a space before every text."""
        ...

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        """What the tokenizer would put behind a text by itself, such as an end token."""
        ...

    def encode(self, text: str) -> Encoding:
        """The tokens of `text` alone, without any that the tokenizer adds by itself."""
        ...

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool = False) -> str:
        """The text of `token_ids`."""
        ...

    @property
    def has_template(self) -> bool:
        """Whether it has a chat template."""
        ...

    @property
    def special_tokens(self) -> Mapping[int, str]:
        """Tokens that are marked as special, with their names."""
        ...

    @property
    def template_tokens(self) -> Mapping[int, str]:
        """Added tokens that the chat template names."""
        ...

    def render(self, messages: Sequence[Mapping[str, str]], date: Mapping[str, str]) -> str:
        """What the chat template writes; `date` says what each code of `strftime` gives."""
        ...


def encode_prompt(text: str, tokenizer: Tokenizer | None, bos: bool) -> tuple[int, ...]:
    """Token ids of a prompt, with the beginning-of-text token first where `bos`.

    It is there exactly once, also where the text begins with it; nothing else that the
    tokenizer adds by itself is there. Raises PromptError for text that is empty or not
    valid Unicode.
    """
    if not text:
        raise PromptError("The prompt is empty: type the text that the model should continue.")
    return with_bos(encode(text, tokenizer), tokenizer, bos)


def with_bos(ids: tuple[int, ...], tokenizer: Tokenizer | None, bos: bool) -> tuple[int, ...]:
    """`ids` with the beginning-of-text token first where `bos`, unless they begin with it."""
    start = tokenizer.bos_ids if tokenizer is not None and bos else ()
    return ids if ids[: len(start)] == start else (*start, *ids)


def encode(text: str, tokenizer: Tokenizer | None) -> tuple[int, ...]:
    """Token ids of `text` alone.

    Raises PromptError for text that is not valid Unicode, where there is no tokenizer, or
    where the tokenizer fails.
    """
    return encode_with_spans(text, tokenizer)[0]


def encode_with_spans(text: str, tokenizer: Tokenizer | None) -> Encoding:
    """The tokens of `text` alone; raises as `encode`."""
    if tokenizer is None:
        raise PromptError(
            f"{quoted(text)} is text, and this model has no tokenizer: give token ids."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PromptError(
            f"The text has bytes that are not valid UTF-8 at character {error.start}: "
            "save or type it as UTF-8."
        ) from error
    return tokenizer.encode(text)


def encode_inside(text: str, tokenizer: Tokenizer | None) -> tuple[int, ...]:
    """Token ids of `text` where it follows other text, as an answer follows a prompt.

    They differ from those of `encode` where a tokenizer puts a space before every text
    (SentencePiece's, or `add_prefix_space`): in the middle of a text it puts none.
    """
    alone = encode(text, tokenizer)
    if tokenizer is None or not tokenizer.puts_space:
        return alone
    for before in ("a", ".", "1"):
        ids, spans = encode_with_spans(before + text, tokenizer)
        n = next((i for i, (start, _) in enumerate(spans or ()) if start >= 1), len(ids))
        if ids[:n] == encode(before, tokenizer):
            return ids[n:]
    return alone


def round_trip_text(ids: Sequence[int], tokenizer: Tokenizer) -> str | None:
    """A text whose tokens these are; None where there is none, as for a part of a character."""
    text = tokenizer.decode(list(ids))
    texts = (text.removeprefix(" "), text)
    return next((one for one in texts if encode(one, tokenizer) == tuple(ids)), None)


CHAT_TURN = "<|im_start|>"
"""How the ChatML format starts a turn; some models have it as their beginning-of-text token."""


def starts_chat_turn(tokenizer: Tokenizer) -> bool:
    """Whether the beginning-of-text token is the start of a turn in a chat."""
    return token_texts(tokenizer.bos_ids, tokenizer) == (CHAT_TURN,)


def answer_text(token: int, tokenizer: Tokenizer | None) -> str:
    """A token as an answer is typed, with its space. Raises AnswerError where that is impossible."""
    (text,) = token_texts([token], tokenizer)
    if tokenizer is None or encode_inside(text, tokenizer) != (token,):
        raise AnswerError(
            f"The likeliest next token, '{visible(text)}', cannot be typed: it is a part of a "
            "character, or other text has the same letters. Type an answer yourself."
        )
    return text


def special_notices(tokenizer: Tokenizer | None, bos: bool, typed: bool = True) -> list[Notice]:
    """What is to be known of the tokens that a tokenizer puts around a text, or does not have.

    `typed` says whether any prompt is text: to ids a tokenizer adds nothing.
    """
    if tokenizer is None:
        return []
    found: list[Notice] = []
    if bos and not tokenizer.bos_ids:
        found.append(
            Notice(
                code="no_bos",
                message="The model's tokenizer has no beginning-of-text token, so the prompts begin "
                "without one.",
            )
        )
    if bos and typed and starts_chat_turn(tokenizer):
        found.append(
            Notice(
                code="chat_turn",
                message=f"The prompts begin with {CHAT_TURN}, this model's beginning-of-text token, "
                "which starts a turn of a chat. In training, plain text rarely followed it, so the "
                "model may answer worse with it: `bos=False`, or `--no-bos`, leaves the token out.",
            )
        )
    if tokenizer.suffix_ids and typed:
        shown = " ".join(map(quoted_token, token_texts(tokenizer.suffix_ids, tokenizer)))
        found.append(
            Notice(
                code="end_token_removed",
                message=f"The model's tokenizer adds {shown} to the end of every text. It was "
                "removed, because the model must give its answer after the prompt's own last token.",
            )
        )
    return found


def token_texts(ids: Sequence[int], tokenizer: Tokenizer | None) -> tuple[str, ...]:
    """Each token as text, with its space; one that is a part of a character as its number, `[123]`."""
    return tuple(_token_text(token, tokenizer) for token in ids)


def _token_text(token: int, tokenizer: Tokenizer | None) -> str:
    if tokenizer is None:
        return f"[{token}]"
    # Some tokenizers leave out the space of the first token that they decode.
    first = tokenizer.decode([token])
    text = tokenizer.decode([token, token]).removeprefix(first)
    return f"[{token}]" if "\ufffd" in text or not text else text


def visible(text: str) -> str:
    """A token with its spaces, line ends and control characters made visible.

    A space is ·, a line end ↵, a tab →. These signs themselves, and any other control or
    bidirectional formatting character, are their code points: safe to print in a terminal.
    """
    return "".join(_visible_character(character) for character in text)


def quoted_token(token: str) -> str:
    """A token as a sentence shows it: in backticks, with its leading space, as in ` Mary`."""
    return f"`{_LEADING_SPACE.sub(' ', visible(token))}`"


def quoted_answers(answers: Sequence[object], most: int) -> str:
    """Answers as a sentence quotes them, without their leading spaces: “Mary” or “John” …

    An answer that is nothing but spaces has them made visible. '' where there are none.
    """
    texts = [printable_text(str(one).strip()) or visible(str(one)) for one in answers]
    shown = " or ".join(f"“{one.replace(chr(10), '↵')}”" for one in texts[:most])
    return shown + (" …" if len(texts) > most else "")


_LEADING_SPACE = re.compile("^·(?=[^·])")
_SIGNS = {" ": "·", "\n": "↵", "\t": "→"}


def _visible_character(character: str) -> str:
    sign = _SIGNS.get(character)
    if sign is None and (character in _SIGNS.values() or not character.isprintable()):
        return f"<U+{ord(character):04X}>"
    return sign or character
