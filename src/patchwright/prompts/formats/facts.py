"""Facts about subjects: CounterFact, the same for tracing, and known_1000.

Such a file has no corrupted prompts. The subject is replaced by another one of the same relation, whose answer
is the wrong one: symmetric token replacement (Zhang & Nanda 2023). Where there are several, it is one with the
same number of tokens, and the one whose answer the record itself names as false.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from patchwright.errors import RecordError
from patchwright.prompts.formats.format import (
    Convert,
    Record,
    Row,
    Source,
    first_of_length,
    with_leading_space,
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

    def prompt_about(self, subject: str) -> str:
        """The prompt with a subject."""
        return f"{self.before}{subject}{self.behind}"


@dataclass(frozen=True)
class FactFields:
    """The fields of a record that are a fact's.

    Of `relation` the first that a record has says which facts are alike. The subject stands at
    `mark` in its prompt, or, without one, as itself.
    """

    prompt: str
    subject: str
    answer: str
    relation: Sequence[str]
    false: str = ""
    mark: str = ""

    def parse_fact(self, record: Record) -> Fact:
        """The fact of a record. Raises RecordError."""
        prompt, subject = record.required_text(self.prompt), record.required_text(self.subject)
        subject = subject if self.mark else subject.strip()
        before, found, behind = prompt.partition(self.mark or subject)
        if not found:
            raise RecordError(
                f"The prompt does not hold '{self.mark or subject}', in whose place the subject stands."
            )
        alike = next((str(one) for name in self.relation if (one := record.get(name))), "")
        answer, false = record.required_text(self.answer), str(record.get(self.false) or "")
        return Fact(before, subject, behind, answer, alike, false)


def facts(fields: FactFields) -> Callable[[Source], Convert]:
    """Pairs of facts, each with another subject of its relation in the corrupted prompt."""

    def converter(source: Source) -> Convert:
        relations: dict[str, list[Fact]] = defaultdict(list)
        places: dict[int, int] = {}
        for record in source.records:
            try:
                fact = fields.parse_fact(record)
            except RecordError:
                continue
            places[id(record)] = len(relations[fact.relation])
            relations[fact.relation].append(fact)

        def convert(record: Record) -> Iterator[Row]:
            fact = fields.parse_fact(record)
            alike, at = relations[fact.relation], places[id(record)]
            other = _find_other_fact(fact, [*alike[at + 1 :], *alike[:at]], source)
            row: Row = {
                "clean": fact.prompt_about(fact.subject),
                "corrupt": fact.prompt_about(other.subject),
            }
            row |= {
                "answer": with_leading_space(fact.answer),
                "wrong": with_leading_space(other.answer),
            }
            yield with_role(row, "subject", fact.subject)

        return convert

    return converter


def _find_other_fact(fact: Fact, alike: list[Fact], source: Source) -> Fact:
    """The fact whose subject stands in the corrupted prompt. Raises RecordError."""
    other = [
        one
        for one in alike
        if one.answer.strip() != fact.answer.strip() and one.subject != fact.subject
    ]
    false = fact.false.strip()
    named = (one for one in other if one.answer.strip() == false)
    rest = (one for one in other if one.answer.strip() != false)
    found = first_of_length(
        chain(named, rest),
        lambda one: source.length(fact.prompt_about(one.subject)),
        source.length(fact.prompt_about(fact.subject)),
    )
    if found is None:
        raise RecordError(
            "No other record of the file has the same relation and another answer, so there is no "
            "subject for the corrupted prompt."
        )
    return found
