"""A known answer: an experiment on a planted model, the numbers that it must give, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from patchwright.prompts.examples import example
from patchwright.prompts.pair import Pair

TOLERANCE = 1e-5
"""How far a number may be from what it must be: what rounding does in float32, and no more."""


@dataclass(frozen=True)
class Answer:
    """An experiment, the numbers that it must give, and why.

    `fields` are the experiment's beside model and prompts. `numbers` are quantities as lessons name
    them (`lessons.expressions`), such as `effect L1H2.z`; with `elsewhere` the effects of all
    places that are not named must be that number. Where the method misleads, `truth` says of these
    quantities what is so, as exact or more complete experiments find it; `source` is the paper that
    describes the failure.
    """

    method: str
    numbers: Mapping[str, float]
    why: str
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    elsewhere: float | None = None
    truth: Mapping[str, float] = field(default_factory=dict[str, float])
    source: str = ""

    @property
    def fields_text(self) -> str:
        """The experiment's fields in words, such as `site=z, per=head`."""
        return ", ".join(f"{name}={_choice_text(value)}" for name, value in self.fields.items())


@dataclass(frozen=True)
class PlantedModel:
    """A planted model: what stands in its weights, where the idea is from, and what must be found.

    Its pair of prompts is the example of the same name.
    """

    model: str
    circuit: str
    source: str
    answers: tuple[Answer, ...]

    @property
    def pair(self) -> Pair:
        """The prompts that all its answers are about."""
        return example(self.model).pair


@dataclass(frozen=True)
class Finding:
    """One number: what it must be, and what it is."""

    model: str
    answer: Answer
    quantity: str
    expected: float
    found: float

    @property
    def passed(self) -> bool:
        """Whether it is what it must be."""
        return abs(self.found - self.expected) <= TOLERANCE

    @property
    def truth(self) -> float | None:
        """What is so, where the method is known to mislead."""
        return self.answer.truth.get(self.quantity)


def _choice_text(value: object) -> str:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value).strip()
    edges = any(not isinstance(one, str | int) for one in value)
    return " + ".join("→".join(one) if edges else str(one) for one in value)
