"""Names: sentences and templates of indirect-object identification, and of pronouns."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from patchwright.errors import PromptError, RecordError
from patchwright.prompts.builtin_templates import NAMES, OBJECTS, PLACES, gendered_names
from patchwright.prompts.formats.format import SLOT, Convert, Record, Row, Source
from patchwright.prompts.templates import Template, from_template
from patchwright.prompts.tokens import Span

TEMPLATE_PAIRS = 100
"""Pairs that the templates of a file give together, unless it is said."""

_JOINED = re.compile(r"\b([A-Z][\w'-]*) and ([A-Z][\w'-]*)\b")


def is_ioi_sentence(record: Record) -> bool:
    """Whether two names are joined and one comes again."""
    return SLOT.search(record.text or "") is None and _receiver_and_giver(record) is not None


def ioi_sentences(source: Source) -> Convert:
    """Sentences: the giver, the name that comes again, is replaced by the other name."""

    def convert(record: Record) -> Iterator[Row]:
        names = _receiver_and_giver(record)
        if names is None:
            raise RecordError(
                "The sentence does not join two names by 'and' of which one comes again, as in 'When "
                "Mary and John met, John gave a book to Mary'."
            )
        receiver, giver = names
        text = (record.text or "").rstrip().removesuffix(".")
        prompt = text[: -len(receiver)].rstrip() if text.endswith(f" {receiver}") else text
        giver_places, receiver_places = _find_spans(giver, prompt), _find_spans(receiver, prompt)
        if len(giver_places) < 2 or not receiver_places:
            raise RecordError(
                f"'{giver}' must come twice before the answer, and '{receiver}' once."
            )
        start, stop = giver_places[-1]
        corrupt = prompt[:start] + receiver + prompt[stop:]
        given = record.get("corr_ioi_sentences")
        marks = {"A": receiver_places[0], "B": giver_places[0], "S": giver_places[-1]}
        yield {
            "clean": prompt,
            # A corrupted sentence that is given ends in an answer too.
            "corrupt": given.rpartition(" ")[0] if isinstance(given, str) else corrupt,
            "answer": f" {receiver}",
            "wrong": f" {giver}",
            "roles": [{"name": name, "start": a, "stop": b} for name, (a, b) in marks.items()],
        }

    return convert


def _receiver_and_giver(record: Record) -> tuple[str, str] | None:
    """Who is given it, and who gives."""
    receiver, giver = record.get("io"), record.get("s")
    if isinstance(receiver, str) and isinstance(giver, str):
        return receiver, giver
    text = record.text or ""
    joined = _JOINED.search(text)
    if joined is None:
        return None
    one, other = joined.groups()
    again = re.search(rf"\b(?:{re.escape(one)}|{re.escape(other)})\b", text[joined.end() :])
    if again is None or one == other:
        return None
    return (other, one) if again[0] == one else (one, other)


def _find_spans(name: str, text: str) -> list[Span]:
    return [match.span() for match in re.finditer(rf"\b{re.escape(name)}\b", text)]


def _slot_names(record: Record) -> list[str]:
    return [(one or two).upper() for one, two in SLOT.findall(record.text or "")]


def is_ioi_template(record: Record) -> bool:
    """Whether a text has the slots A and B."""
    return {"A", "B"} <= set(_slot_names(record))


def is_pronoun_template(record: Record) -> bool:
    """Whether a text has one name and nothing else to fill in."""
    return _slot_names(record) == ["NAME"]


def ioi_templates(source: Source) -> Convert:
    """ABBA and BABA templates, filled with names, places and things."""

    def template_of(text: str) -> dict[str, Any]:
        if not text.endswith(" {A}"):
            raise RecordError("The template does not end in its slot A, which is the answer.")
        text = text.removesuffix(" {A}")
        if text.count("{B}") != 2:
            raise RecordError("The slot B must come twice: once joined to A, once as the giver.")
        before, _, behind = text.rpartition("{B}")
        text = f"{before}{{S}}{behind}"
        words: dict[str, Any] = {
            "A": NAMES,
            "B": NAMES,
            "S": "{B}",
            "PLACE": PLACES,
            "OBJECT": OBJECTS,
        }
        used = {one or two for one, two in SLOT.findall(text)}
        if unknown := used - set(words):
            raise RecordError(
                f"There are no words for the slot {min(unknown)}: it is A, B, PLACE or OBJECT."
            )
        slots = {name: some for name, some in words.items() if name in used}
        return {
            "text": text,
            "slots": slots,
            "corrupt": {"S": "{A}"},
            "answer": " {A}",
            "wrong": " {B}",
        }

    return _template_converter(source, template_of)


def pronoun_templates(source: Source) -> Convert:
    """Templates with a name, whose pronoun comes next; the corrupted prompt has another name."""

    def template_of(text: str) -> dict[str, Any]:
        return {
            "text": text,
            "slots": {"NAME": gendered_names(), "OTHER": gendered_names()},
            "corrupt": {"NAME": "{OTHER}"},
            "answer": "{NAME.1}",
            "wrong": "{OTHER.1}",
        }

    return _template_converter(source, template_of)


def _template_converter(source: Source, template_of: Callable[[str], dict[str, Any]]) -> Convert:
    """The pairs of templates, each with its share of the pairs that are wanted."""
    count = max(1, (source.how.count or TEMPLATE_PAIRS) // len(source.records))

    def convert(record: Record) -> Iterator[Row]:
        if source.tokenizer is None:
            raise RecordError(
                "A template is filled with words that are single tokens: give the model."
            )
        text = SLOT.sub(lambda slot: f"{{{(slot[1] or slot[2]).upper()}}}", record.text or "")
        try:
            template = Template.of(template_of(text.rstrip().removesuffix(".")))
            pairs = from_template(template, count, source.tokenizer, source.how.seed)
        except PromptError as error:
            raise RecordError(str(error)) from error
        yield from (pair.model_dump() for pair in pairs)

    return convert
