"""Text -> token ids, and token ids -> text that can be shown."""

from collections.abc import Sequence
from typing import Protocol

from patchwright.errors import PromptError, quoted


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that prompts need."""

    @property
    def bos_token_id(self) -> int | None:
        """The beginning-of-text token, if there is one."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`."""
        ...

    def decode(self, token_ids: list[int]) -> str:
        """The text of `token_ids`."""
        ...


def encode_prompt(text: str, tokenizer: Tokenizer | None, bos: bool) -> tuple[int, ...]:
    """Token ids of a prompt, with the beginning-of-text token first where `bos`.

    It is not put twice where the tokenizer, or the text itself, begins with it.
    Raises PromptError for text that is empty or not valid Unicode.
    """
    if not text:
        raise PromptError("The prompt is empty: type the text that the model is to continue.")
    ids = encode(text, tokenizer, special=True)
    start = None if tokenizer is None else tokenizer.bos_token_id
    if bos and start is not None and ids[:1] != (start,):
        return (start, *ids)
    return ids


def encode(text: str, tokenizer: Tokenizer | None, special: bool = False) -> tuple[int, ...]:
    """Token ids of `text`, with the tokenizer's own special tokens where `special`.

    Raises PromptError for text that is not valid Unicode, or where there is no tokenizer.
    """
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
    return tuple(tokenizer.encode(text, add_special_tokens=special))


def token_texts(ids: Sequence[int], tokenizer: Tokenizer | None) -> tuple[str, ...]:
    """Each token as text; one that is a part of a character as its number, `[123]`."""
    return tuple(_token_text(token, tokenizer) for token in ids)


def _token_text(token: int, tokenizer: Tokenizer | None) -> str:
    text = "" if tokenizer is None else tokenizer.decode([token])
    return f"[{token}]" if "\ufffd" in text or not text else text


def visible(text: str) -> str:
    """A token with its spaces, line ends and control characters made visible.

    A space is ·, a line end ↵, a tab →, any other control or bidirectional
    formatting character its code point: safe to print in a terminal.
    """
    return "".join(_visible_character(character) for character in text)


_SIGNS = {" ": "·", "\n": "↵", "\t": "→"}


def _visible_character(character: str) -> str:
    sign = _SIGNS.get(character)
    if sign is None and not character.isprintable():
        return f"<U+{ord(character):04X}>"
    return sign or character
