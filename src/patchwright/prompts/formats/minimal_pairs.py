"""Minimal pairs of sentences, as of BLiMP: read at the word where they first differ.

What comes before is the clean prompt, the good word its answer, the bad one wrong. A minimal pair has no
corrupted prompt. Where the words are a verb or a noun in its two numbers, the subject or the determiner changes
its number, so that the bad word is right; otherwise it is the beginning of another record of the file, whose good word is this
one's bad word, of the same number of tokens if there is one.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from patchwright.errors import PromptError, RecordError
from patchwright.prompts.formats.format import (
    Convert,
    Record,
    Row,
    Source,
    first_of_length,
    with_role,
)

_DEMONSTRATIVES = {"this": "these", "that": "those", "these": "this", "those": "that"}
_DETERMINER = re.compile(r"\b(this|that|these|those)\b(?=(?: [\w-]+)?$)", re.IGNORECASE)
"""A determiner before the word that is asked for, or with one adjective between."""


@dataclass(frozen=True)
class Contrast:
    """What both sentences begin with, and the words by which they go on."""

    prompt: str
    good: str
    bad: str


def minimal_pairs(source: Source) -> Convert:
    """Pairs whose corrupted prompt would be continued by the bad word."""
    others: dict[str, list[str]] = defaultdict(list)
    for record in source.records:
        try:
            one = parse_contrast(record)
        except RecordError:
            continue
        others[one.good].append(one.prompt)

    def convert(record: Record) -> Iterator[Row]:
        prefixes = record.get("two_prefix_prefix_good"), record.get("two_prefix_prefix_bad")
        if all(isinstance(one, str) for one in prefixes):
            word = f" {record.required_text('two_prefix_word')}"
            yield {"clean": prefixes[0], "corrupt": prefixes[1], "answer": word}
            return
        one = parse_contrast(record)
        corrupt, subject = _flip_number(one) or (None, "")
        if corrupt is None:
            candidates = [prompt for prompt in others[one.bad] if prompt != one.prompt]
            corrupt = first_of_length(candidates, source.length, source.length(one.prompt))
        if corrupt is None:
            raise RecordError(
                f"No other record of the file goes on with '{one.bad.strip()}', and its number cannot be changed, so "
                "there is no corrupted prompt."
            )
        row: Row = {"clean": one.prompt, "corrupt": corrupt, "answer": one.good, "wrong": one.bad}
        yield with_role(row, "subject", subject)

    return convert


def parse_contrast(record: Record) -> Contrast:
    """Where the sentences first differ. Raises RecordError where that is their first word."""
    prefix, good, bad = (
        record.get(f"one_prefix_{part}") for part in ("prefix", "word_good", "word_bad")
    )
    if isinstance(prefix, str) and isinstance(good, str) and isinstance(bad, str):
        return _make_contrast(prefix.rstrip(), good.strip(), bad.strip())
    sentences = (
        record.required_text("sentence_good").split(),
        record.required_text("sentence_bad").split(),
    )
    at = next(
        (
            i
            for i, (one, two) in enumerate(zip(*sentences, strict=False))
            if _strip_punctuation(one) != _strip_punctuation(two)
        ),
        None,
    )
    if at is None:
        raise RecordError("The two sentences begin alike to the end of the shorter one.")
    return _make_contrast(
        " ".join(sentences[0][:at]),
        _strip_punctuation(sentences[0][at]),
        _strip_punctuation(sentences[1][at]),
    )


def _strip_punctuation(word: str) -> str:
    return word.rstrip(".,;:!?") or word


def _make_contrast(prompt: str, good: str, bad: str) -> Contrast:
    if not prompt:
        raise RecordError(
            "The sentences differ in their first word, so there is no prompt before it."
        )
    return Contrast(prompt, f" {good}", f" {bad}")


def _flip_number(one: Contrast) -> tuple[str, str] | None:
    """The prompt in the other number, and the word that changes; None where that cannot be told."""
    found = _DETERMINER.search(one.prompt)
    if found and one.good[1] == one.bad[1]:
        other = _DEMONSTRATIVES[found[0].lower()]
        other = other.capitalize() if found[0][0].isupper() else other
        return one.prompt[: found.start()] + other + one.prompt[found.end() :], found[0]
    from patchwright.prompts.agreement import flip_subject_number

    try:
        return flip_subject_number(one.prompt, one.good.strip(), one.bad.strip())
    except PromptError:
        return None
