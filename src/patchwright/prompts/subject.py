"""The subject of a prompt: which tokens are those that somebody named."""

from collections.abc import Sequence

from patchwright.errors import PromptError
from patchwright.prompts.tokens import visible


def subject_positions(
    texts: Sequence[str], subject: str | Sequence[int], occurrence: int = 1
) -> tuple[int, ...]:
    """Positions of the tokens that carry `subject`, rising.

    `texts` are the prompt's tokens; `subject` is a text, of which the
    `occurrence`-th counts (from 1), or positions (negative ones from the end).
    Raises PromptError where the prompt has no such text or position.
    """
    if isinstance(subject, str):
        return _of_text(texts, subject, occurrence)
    n = len(texts)
    if not subject:
        raise PromptError("The subject has no positions: name at least one.")
    for position in subject:
        if not -n <= position < n:
            raise PromptError(
                f"The subject's position {position}: the prompt has positions 0-{n - 1}."
            )
    return tuple(sorted({position % n for position in subject}))


def _of_text(texts: Sequence[str], subject: str, occurrence: int) -> tuple[int, ...]:
    wanted, prompt = subject.strip(), "".join(texts)
    starts = [at for at in range(len(prompt)) if wanted and prompt.startswith(wanted, at)]
    if not starts:
        raise PromptError(
            f"The subject '{visible(subject)}' is not in the prompt: write it as it stands there, "
            "or name its positions."
        )
    if not 1 <= occurrence <= len(starts):
        raise PromptError(
            f"'{visible(subject)}' stands {len(starts)} times in the prompt; occurrence "
            f"{occurrence} was asked for."
        )
    start = starts[occurrence - 1]
    stop, at = start + len(wanted), 0
    found: list[int] = []
    for position, text in enumerate(texts):
        if at < stop and at + len(text) > start:
            found.append(position)
        at += len(text)
    return tuple(found)
