"""A Hugging Face tokenizer, reduced to what prompts need, whatever it adds by itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from patchwright.errors import PromptError, convert_errors, quoted
from patchwright.model.chat_template import render


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer as `prompts.tokens.Tokenizer` describes it.

    Whatever the tokenizer of somebody else's raises, also where its library panics, is a
    PromptError here.
    """

    whole: PreTrainedTokenizerBase

    @property
    def bos_token_id(self) -> int | None:
        """The beginning-of-text token, if it has one."""
        return getattr(self.whole, "bos_token_id", None)

    @cached_property
    def _prefix_and_suffix(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What it puts before and behind a text by itself."""
        text = "a"
        alone, _ = self.encode(text)
        with convert_errors(_tokenizer_error(text)):
            ids = tuple(self.whole(text, add_special_tokens=True, verbose=False).input_ids)
        n = len(alone)
        at = next((i for i in range(len(ids) - n + 1) if n and ids[i : i + n] == alone), None)
        return ((), ()) if at is None else (ids[:at], ids[at + n :])

    @property
    def bos_ids(self) -> tuple[int, ...]:
        """The beginning-of-text token; without one, what the tokenizer puts first by itself."""
        return self._prefix_and_suffix[0] if self.bos_token_id is None else (self.bos_token_id,)

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        """What it puts behind a text by itself: no part of a prompt that is to go on."""
        return self._prefix_and_suffix[1]

    @property
    def puts_space(self) -> bool:
        """Whether it puts a space before every text, as SentencePiece's do."""
        return self._puts_space

    @cached_property
    def _puts_space(self) -> bool:
        ids = self.encode("a")[0]
        return " " in self.decode([*ids, *ids])

    def encode(self, text: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...] | None]:
        """Token ids of `text` alone, and the characters of each: (first, behind the last).

        The characters are None where the tokenizer does not say. Raises PromptError.
        """
        fast = bool(getattr(self.whole, "is_fast", False))
        with convert_errors(_tokenizer_error(text)):
            found: Any = self.whole(
                text, add_special_tokens=False, return_offsets_mapping=fast, verbose=False
            )
            spans = tuple((a, b) for a, b in found.offset_mapping) if fast else None
            return tuple(found.input_ids), spans

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool = False) -> str:
        """The text of `token_ids`, nothing tidied up. Raises PromptError."""
        with convert_errors(_tokenizer_error(f"tokens {token_ids}")):
            return str(
                self.whole.decode(
                    token_ids,
                    skip_special_tokens=skip_special_tokens,
                    clean_up_tokenization_spaces=False,
                )
            )

    @property
    def has_template(self) -> bool:
        """Whether it says how the messages of a chat are written."""
        return bool(getattr(self.whole, "chat_template", None))

    @property
    def special_tokens(self) -> Mapping[int, str]:
        """Tokens that no text is made of, such as those that end a text or a turn, with their names."""
        return self._special_tokens

    @cached_property
    def _special_tokens(self) -> Mapping[int, str]:
        added = self.whole.added_tokens_decoder
        return {token: one.content for token, one in added.items() if one.special} | dict(
            zip(self.whole.all_special_ids, self.whole.all_special_tokens, strict=True)
        )

    @property
    def template_tokens(self) -> Mapping[int, str]:
        """Added tokens that its chat template names; some checkpoints do not mark them as special."""
        return self._template_tokens

    @cached_property
    def _template_tokens(self) -> Mapping[int, str]:
        template = str(self.whole.chat_template)
        return {
            token: one.content
            for token, one in self.whole.added_tokens_decoder.items()
            if not one.content.isspace() and one.content in template
        }

    def render(self, messages: Sequence[Mapping[str, str]], date: Mapping[str, str]) -> str:
        """What its chat template writes for messages. Raises PromptError where the template fails."""
        with convert_errors(_template_error):
            return render(self.whole, messages, date)


def _template_error(why: str) -> PromptError:
    return PromptError(
        f"The model's chat template does not take these messages ({why}): write others, or give the "
        "prompt as text."
    )


def _tokenizer_error(text: str) -> Callable[[str], PromptError]:
    return lambda why: PromptError(
        f"The model's own tokenizer fails on {quoted(text)} ({why}): give another text, or token "
        "ids."
    )
