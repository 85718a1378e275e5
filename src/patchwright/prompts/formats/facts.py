"""Facts about subjects: CounterFact, the same for tracing, and known_1000.

Such a file has no corrupted prompts. The subject is replaced by another one of the same relation, whose answer
is the wrong one: symmetric token replacement (Zhang & Nanda 2023). Where there are several, it is one with the
same number of tokens, and the one whose answer the record itself names as false.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from patchwright.errors import RecordError
from patchwright.prompts.formats.format import (
    Convert,
    Record,
    Row,
    Source,
    first_alike,
    spaced,
    with_role,
)


@dataclass(frozen=True)
class Fact:
    """A prompt in the two parts around its subject, its answer, and what asks for the same."""

    before: str
    subject: str
    behind: str
    answer: str
    relation: str
    false: str = ""

    def about(self, subject: str) -> str:
        """The prompt with a subject."""
        return f"{self.before}{subject}{self.behind}"


def counterfact(record: Record) -> Fact:
    """A record of CounterFact."""
    rewrite = "requested_rewrite"
    prompt = record.needed(f"{rewrite}.prompt")
    return Fact(
        *_parts(prompt, "{}", record.needed(f"{rewrite}.subject")),
        record.needed(f"{rewrite}.target_true.str"),
        str(record.get(f"{rewrite}.relation_id") or prompt),
        str(record.get(f"{rewrite}.target_new.str") or ""),
    )


def counterfact_tracing(record: Record) -> Fact:
    """A record of counterfact-tracing, whose subject and targets have their spaces."""
    subject = record.needed("subject").strip()
    return Fact(
        *_parts(record.needed("prompt"), subject, subject),
        record.needed("target_true"),
        str(record.get("relation_id") or record.get("relation") or ""),
        str(record.get("target_false") or ""),
    )


def known(record: Record) -> Fact:
    """A record of known_1000."""
    subject = record.needed("subject")
    return Fact(
        *_parts(record.needed("prompt"), subject, subject),
        record.needed("attribute"),
        str(record.get("relation_id") or record.get("template") or ""),
    )


def _parts(prompt: str, mark: str, subject: str) -> tuple[str, str, str]:
    before, found, behind = prompt.partition(mark)
    if not found:
        raise RecordError(f"The prompt does not hold '{mark}', in whose place the subject stands.")
    return before, subject, behind


def facts(fact_of: Callable[[Record], Fact]) -> Callable[[Source], Convert]:
    """Pairs of facts, each with another subject of its relation in the corrupted prompt."""

    def converter(source: Source) -> Convert:
        relations: dict[str, list[Fact]] = defaultdict(list)
        places: dict[int, int] = {}
        for record in source.records:
            try:
                fact = fact_of(record)
            except RecordError:
                continue
            places[id(record)] = len(relations[fact.relation])
            relations[fact.relation].append(fact)

        def convert(record: Record) -> Iterator[Row]:
            fact = fact_of(record)
            alike, at = relations[fact.relation], places[id(record)]
            other = _other(fact, [*alike[at + 1 :], *alike[:at]], source)
            row: Row = {"clean": fact.about(fact.subject), "corrupt": fact.about(other.subject)}
            row |= {"answer": spaced(fact.answer), "wrong": spaced(other.answer)}
            yield with_role(row, "subject", fact.subject)

        return convert

    return converter


def _other(fact: Fact, alike: list[Fact], source: Source) -> Fact:
    """The fact whose subject stands in the corrupted prompt. Raises RecordError."""
    other = [
        one
        for one in alike
        if one.answer.strip() != fact.answer.strip() and one.subject != fact.subject
    ]
    false = fact.false.strip()
    named = (one for one in other if one.answer.strip() == false)
    rest = (one for one in other if one.answer.strip() != false)
    found = first_alike(
        chain(named, rest),
        lambda one: source.length(fact.about(one.subject)),
        source.length(fact.about(fact.subject)),
    )
    if found is None:
        raise RecordError(
            "No other record of the file has the same relation and another answer, so there is no "
            "subject for the corrupted prompt."
        )
    return found
