"""Whether an answer is right, and whether a lesson still says what the model does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from patchwright.algorithms.result import Result
from patchwright.errors import ExperimentError, InputError
from patchwright.experiment.base import Experiment
from patchwright.lessons.cells import Cell, edges_as_sweep, map_cells
from patchwright.lessons.expressions import cell_quantity, fill_slots, holds
from patchwright.lessons.schema import Lesson, Step
from patchwright.methods import METHODS

Answer = int | str
"""The number of a choice (from 0), or the place of a cell."""


@dataclass(frozen=True)
class Mark:
    """What a reader's answer is worth, and the right ones (choices or places)."""

    right: bool
    answers: tuple[Answer, ...]


def step_experiment(lesson: Lesson, step: int) -> Experiment:
    """The experiment that is in force at a step: its own, or the last one before it.

    Raises InputError with the field that is wrong.
    """
    given = next(
        one.experiment for one in lesson.steps[step::-1] if one.experiment is not None
    )  # the first step has one
    try:
        return METHODS.parse({**given, "model": lesson.model})
    except ExperimentError as error:
        raise InputError("the" + str(error).removeprefix("The")) from error


def mark(step: Step, result: Result, answer: Answer) -> Mark:
    """Marks an answer to the step's question. Raises FactError for a faulty condition."""
    right = right_answers(step, result)
    return Mark(answer in right, right)


def right_answers(step: Step, result: Result) -> tuple[Answer, ...]:
    """The numbers of the right choices, or the places of the right cells."""
    if step.cell is None:
        choices = [one.right is not None and holds(one.right, result) for one in step.choices]
        return tuple(i for i, right in enumerate(choices) if right)
    right = [one for one in _pickable_cells(step, result) if holds(step.cell, result, one)]
    if step.lowest and right:
        layers = [cell_quantity(one, "layer", result) for one in right]
        right = [one for one, at in zip(right, layers, strict=True) if at == min(layers)]
    return tuple(str(one["place"]) for one in right)


def pickable_places(step: Step, result: Result) -> list[str]:
    """The places of the cells that can be picked. Raises FactError for a faulty condition."""
    return [str(one["place"]) for one in _pickable_cells(step, result)]


def _pickable_cells(step: Step, result: Result) -> list[Cell]:
    some = map_cells(result)
    return [one for one in some if step.among is None or holds(step.among, result, one)]


def check_lesson(lesson: Lesson, run: Callable[[Experiment], Result]) -> list[str]:
    """What is no longer true of a lesson, one sentence each; none where all holds."""
    found: list[str] = []
    for number, step in enumerate(lesson.steps):
        where = f"{lesson.name}, step {number + 1}: "
        try:
            result = edges_as_sweep(run(step_experiment(lesson, number)))
        except InputError as error:
            found.append(f"{where}{error}")
            continue
        found += [f"{where}{fault}" for fault in _faults(step, result)]
    return found


def _faults(step: Step, result: Result) -> Iterator[str]:
    for text in filter(None, (step.text, step.question, step.reveal, *step.hints)):
        yield from _error_messages(lambda text=text: fill_slots(text, result))
    for claim in step.claims:
        fault = list(_error_messages(lambda claim=claim: holds(claim, result)))
        yield from fault
        if not fault and not holds(claim, result):
            yield f"'{claim}' does not hold."
    if step.question is None:
        return
    fault = list(_error_messages(lambda: right_answers(step, result)))
    yield from fault
    if not fault:
        yield from _answer_faults(step, result)


def _answer_faults(step: Step, result: Result) -> Iterator[str]:
    right = right_answers(step, result)
    if step.choices and len(right) != 1:
        yield f"{len(right)} of {len(step.choices)} choices are right: exactly one has to be."
    cells = 0 if step.cell is None else len(pickable_places(step, result))
    if step.cell is not None and not 0 < len(right) <= cells // 2:
        yield f"{len(right)} of {cells} cells are right: at least one has to be, and at most half."


def _error_messages(attempt: Callable[[], object]) -> list[str]:
    try:
        attempt()
    except InputError as error:
        return [str(error)]
    return []
