"""The lessons that this server offers, and how far one reader is in them; no widgets here."""

import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from patchwright.algorithms.result import Result
from patchwright.errors import PatchwrightError
from patchwright.lessons import (
    Lesson,
    Mark,
    Step,
    built_in_lessons,
    find_lessons,
    lesson_by_model,
    step_experiment,
)
from patchwright.lessons.expressions import slots
from patchwright.lessons.grading import Answer

CELL_WORDS = ("strongest", "largest", "smallest", "details")
"""Words of quantities, besides the arrays' names, that are about more than the two runs."""

MOST_TRIES = 2
"""Answers to a question before the right one is shown."""


@dataclass(frozen=True)
class Catalog:
    """Lessons by name, in the order in which to list them, and a sentence for each faulty one."""

    lessons: dict[str, Lesson]
    faults: tuple[str, ...]

    def for_model(self, model: str) -> dict[str, Lesson]:
        """The same, each in its reading on `model` where it has one."""
        return {name: lesson_by_model(one).get(model, one) for name, one in self.lessons.items()}


@dataclass(frozen=True)
class Attempt:
    """What a reader did at one step: hints asked for, answers given, and the last one's mark."""

    hints: int = 0
    answers: tuple[Answer, ...] = ()
    mark: Mark | None = None
    shown: bool = False
    """Whether the reader had the answer shown."""
    asked: str = ""
    """The question as it was put."""
    said: tuple[str, ...] = ()
    """The answers in words."""

    @property
    def right(self) -> bool:
        """Whether the last answer is right."""
        return self.mark is not None and self.mark.right

    @property
    def over(self) -> bool:
        """Whether nothing is left to try, so that the answer can be revealed."""
        return self.right or self.shown or len(self.answers) == MOST_TRIES

    @property
    def hints_to_show(self) -> int:
        """Hints to show: those asked for, and one more for the second try."""
        return self.hints + len(self.answers[: MOST_TRIES - 1])

    def with_answer(self, answer: Answer, mark: Mark) -> "Attempt":
        """The same after one more answer."""
        return replace(self, answers=(*self.answers, answer), mark=mark)

    @property
    def outcome(self) -> str:
        """How it went, in words."""
        helped = f" with {self.hints} hint" + "s" * (self.hints > 1) if self.hints else ""
        if self.right:
            when = " at the second try" if len(self.answers) > 1 else "" if helped else " at once"
            return f"✓ Right{when}{helped}"
        if self.over:
            return f"✗ Not right{helped}"
        return "Left open after a wrong answer" if self.answers else "Not answered"


Tries = MutableMapping[int, Attempt]
"""A reader's tries at one reading of a lesson, by the number of the step, from 0."""


@dataclass(frozen=True)
class Score:
    """Of the questions of a lesson: how many there are, are over, and how the right ones came."""

    asked: int
    answered: int
    at_once: int
    second: int
    with_hints: int

    @property
    def done(self) -> bool:
        """Whether no question is left."""
        return self.answered == self.asked

    @property
    def words(self) -> str:
        """A reader's progress, in a sentence."""
        if not self.answered:
            return "Not started"
        if not self.done:
            return f"{self.answered} of {self.asked} questions answered."
        right = self.at_once + self.second + self.with_hints
        ways = {"at the second try": self.second, "with hints": self.with_hints}
        how = "".join(f", {count} {way}" for way, count in ways.items() if count)
        return f"✓ Done: {right} of {self.asked} right{how}."


def lesson_key(lesson: Lesson) -> str:
    """Names a reading of a lesson among all of them."""
    return f"{lesson.model}/{lesson.name}"


def load_catalog(folders: Sequence[Path]) -> Catalog:
    """The lessons of the package, then those of teachers' folders."""
    lessons = {one.name: one for one in built_in_lessons()}
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


def questions_of(lesson: Lesson) -> dict[int, Step]:
    """The steps that ask something, by number."""
    return {i: step for i, step in enumerate(lesson.steps) if step.question is not None}


def score(lesson: Lesson, tries: Mapping[int, Attempt]) -> Score:
    """How a reader did."""
    questions = questions_of(lesson)
    over = [tries[i] for i in questions if i in tries and tries[i].over]
    right = [one for one in over if one.right]
    alone = [one for one in right if not one.hints]
    at_once = sum(len(one.answers) == 1 for one in alone)
    return Score(len(questions), len(over), at_once, len(alone) - at_once, len(right) - len(alone))


def first_open_step(lesson: Lesson, tries: Mapping[int, Attempt]) -> int:
    """The step at which to go on: the first with a question that is open, else the first."""
    left = [i for i in questions_of(lesson) if not tries.get(i, Attempt()).over]
    return left[0] if tries and left else 0


def is_about_runs(step: Step, result: Result) -> bool:
    """Whether a question is about the two unpatched runs, and not about places."""
    conditions = [one.right or "" for one in step.choices] + [step.cell or ""]
    of_cells = re.sub(
        r"\b(clean|corrupt)\.\w+", "", " ".join([*conditions, *slots(step.reveal or "")])
    )
    words = set(re.findall(r"[a-z_]+", of_cells))
    return not words & {*result.arrays, *CELL_WORDS}


def is_asked_later(lesson: Lesson, number: int, tries: Mapping[int, Attempt]) -> bool:
    """Whether a later step, not answered yet, asks for a cell of the map of step `number`.

    The map of this step may then not be shown as a whole: it would tell the answer.
    """
    here = step_experiment(lesson, number)
    return any(
        step.cell is not None
        and not tries.get(later, Attempt()).over
        and step_experiment(lesson, later) == here
        for later, step in enumerate(lesson.steps)
        if later > number
    )
