"""The lessons that this server offers, and how far one reader is in them; no widgets here."""

import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchwright.algorithms.result import Result
from patchwright.errors import PatchwrightError
from patchwright.lessons import (
    Lesson,
    Mark,
    Step,
    built_in,
    find_lessons,
    readings_of,
    step_experiment,
)
from patchwright.lessons.expressions import slots
from patchwright.lessons.grading import Answer

ON_CELLS = ("strongest", "largest", "smallest", "details")
"""Words of quantities, besides the arrays' names, that are about more than the two runs."""


@dataclass(frozen=True)
class Catalog:
    """Lessons by name, in the order in which to list them, and a sentence for each faulty one."""

    lessons: dict[str, Lesson]
    faults: tuple[str, ...]

    def on(self, model: str) -> dict[str, Lesson]:
        """The same, each in its reading on `model` where it has one."""
        return {name: readings_of(one).get(model, one) for name, one in self.lessons.items()}


@dataclass(frozen=True)
class Attempt:
    """What a reader did at one step: hints taken, and the answer and its mark once it is given."""

    hints: int = 0
    answer: Answer | None = None
    mark: Mark | None = None


Tries = MutableMapping[int, Attempt]
"""A reader's tries at one reading of a lesson, by the number of the step, from 0."""


@dataclass(frozen=True)
class Score:
    """Of the questions of a lesson: how many there are, were answered, and how well."""

    asked: int
    answered: int
    alone: int
    with_hints: int

    @property
    def done(self) -> bool:
        """Whether no question is left."""
        return self.answered == self.asked


def key_of(lesson: Lesson) -> str:
    """Names a reading of a lesson among all of them."""
    return f"{lesson.model}/{lesson.name}"


def load_catalog(folders: Sequence[Path]) -> Catalog:
    """The lessons of the package, then those of teachers' folders."""
    lessons = {one.name: one for one in built_in()}
    ours, faults = set(lessons), list[str]()
    for folder in folders:
        try:
            found = find_lessons(folder)
        except PatchwrightError as error:
            found = [error]
        for one in found:
            if not isinstance(one, Lesson):
                faults.append(str(one))
            elif one.name in lessons:
                whose = "comes with the package" if one.name in ours else "is in another folder"
                faults.append(
                    f"{one.name}, in {folder.name}: a lesson of this name {whose}. Rename the file."
                )
            else:
                lessons[one.name] = one
    return Catalog(lessons, tuple(faults))


def score(lesson: Lesson, tries: Mapping[int, Attempt]) -> Score:
    """How a reader did: right without hints, right with some, answered at all."""
    questions = [i for i, step in enumerate(lesson.steps) if step.question is not None]
    given = [tries[i] for i in questions if i in tries and tries[i].mark is not None]
    right = [one for one in given if one.mark is not None and one.mark.right]
    alone = sum(not one.hints for one in right)
    return Score(len(questions), len(given), alone, len(right) - alone)


def on_runs_alone(step: Step, result: Result) -> bool:
    """Whether a question is about the two unpatched runs, and not about places."""
    conditions = [one.right or "" for one in step.choices] + [step.cell or ""]
    words = set(re.findall(r"[a-z_]+", " ".join([*conditions, *slots(step.reveal or "")])))
    return not words & {*result.arrays, *ON_CELLS}


def asks_later(lesson: Lesson, number: int, tries: Mapping[int, Attempt]) -> bool:
    """Whether a later step, not answered yet, asks for a cell of the map of step `number`.

    The map of this step may then not be shown as a whole: it would tell the answer.
    """
    here = step_experiment(lesson, number)
    return any(
        step.cell is not None
        and tries.get(later, Attempt()).mark is None
        and step_experiment(lesson, later) == here
        for later, step in enumerate(lesson.steps)
        if later > number
    )
