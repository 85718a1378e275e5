"""The subject of a prompt: which tokens are those that somebody named."""

from collections.abc import Sequence
from dataclasses import dataclass

from patchwright.errors import PromptError
from patchwright.prompts.characters import find_text, text_and_spans, tokens_of_span
from patchwright.prompts.pair import Prompt
from patchwright.prompts.tokens import Span, Tokenizer, visible
from patchwright.warnings import Notice


@dataclass(frozen=True)
class Subject:
    """The positions of a subject's tokens, rising, and what is to be said about the choice."""

    positions: tuple[int, ...]
    notices: tuple[Notice, ...] = ()


def find_subject(
    prompt: Prompt,
    tokens: Sequence[int],
    tokenizer: Tokenizer | None,
    subject: str | Sequence[int],
    occurrence: int = 1,
) -> Subject:
    """The tokens of `prompt`, which is `tokens`, that hold characters of `subject`.

    `subject` is a text, of which the `occurrence`-th counts (from 1; only whole words,
    where there are any; of messages in what they say), or positions (negative ones from the end). A beginning-of-text
    token that was put before the prompt has none of its characters. Raises PromptError
    where the prompt has no such text or position.
    """
    if isinstance(subject, str):
        return _find_in_text(*text_and_spans(prompt, tokens, tokenizer), subject, occurrence)
    n = len(tokens)
    if not subject:
        raise PromptError("The subject has no positions: name at least one.")
    for position in subject:
        if not -n <= position < n:
            raise PromptError(
                f"The subject's position {position}: the prompt has positions 0-{n - 1}."
            )
    return Subject(tuple(sorted({position % n for position in subject})))


def _find_in_text(text: str, spans: Sequence[Span], subject: str, occurrence: int) -> Subject:
    shown, wanted = visible(subject), subject.strip()
    found, whole = find_text(text, wanted)
    if not found:
        raise PromptError(
            f"The subject '{shown}' is not in the prompt: write it as it stands there, or name its "
            "positions."
        )
    if not 1 <= occurrence <= len(found):
        words = " as whole words" if whole else ""
        raise PromptError(
            f"'{shown}' stands {len(found)} times in the prompt{words}; occurrence {occurrence} was "
            "asked for."
        )
    first, behind = found[occurrence - 1]
    positions = tokens_of_span(spans, (first, behind))
    if not positions:
        raise PromptError(
            f"The model's tokenizer leaves '{shown}' out, so no token stands for it: name positions."
        )
    held = text[min(spans[i][0] for i in positions) : max(spans[i][1] for i in positions)]
    if whole and held.strip() == text[first:behind]:
        return Subject(positions)
    part = "" if whole else " occurs in the prompt only as a part of a word, and it"
    message = (
        f"The subject '{shown}'{part} was found in the tokens of '{visible(held.strip())}': noise is "
        "added to all of these tokens."
    )
    return Subject(positions, (Notice(code="subject_inside_word", message=message),))
