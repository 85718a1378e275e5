"""Run known answers: what is found, beside what must be."""

import math
from collections.abc import Iterator, Sequence

from patchwright.algorithms.result import Result
from patchwright.errors import InputError
from patchwright.experiment.base import Experiment
from patchwright.experiment.registry import Methods
from patchwright.experiment.run import run
from patchwright.known_answers.declaration import Answer, Finding, PlantedModel
from patchwright.lessons.expressions import quantity
from patchwright.methods import METHODS
from patchwright.model.load import Model

ELSEWHERE = "effect elsewhere"
"""What the effects of all places are called that an answer does not name."""


def check_known_answers(
    planted: PlantedModel, model: Model, methods: Methods = METHODS
) -> Iterator[Finding]:
    """Every number that is known of a planted model, as `model` gives it."""
    for answer in planted.answers:
        result = run(answer_experiment(answer, planted, methods), model)
        for name, expected in answer.numbers.items():
            yield Finding(planted.model, answer, name, expected, float(quantity(name, result)))
        if answer.elsewhere is not None:
            found = _furthest_effect(answer.elsewhere, answer, result)
            yield Finding(planted.model, answer, ELSEWHERE, answer.elsewhere, found)


def _furthest_effect(expected: float, answer: Answer, result: Result) -> float:
    """The effect furthest from what is expected of all places that are not named; NaN where one has none."""
    cells = result.table()
    if len(cells) < result.effect.size:
        return math.nan
    named = [f"effect {place}" in answer.numbers for place in cells["place"]]
    others = cells["effect"][[not one for one in named]]
    return float(others[(others - expected).abs().idxmax()])


def answer_experiment(
    answer: Answer, planted: PlantedModel, methods: Methods = METHODS
) -> Experiment:
    """The experiment that an answer is about. A method without pairs gets the clean prompt."""
    pair = planted.pair
    given = {"pairs": pair, "prompt": pair.clean, "answer": pair.answer, "wrong": pair.wrong}
    kind = methods[answer.method]
    prompts = {name: value for name, value in given.items() if name in kind.model_fields}
    return kind.of({"model": planted.model, **prompts, **answer.fields})


def methods_without_answers(methods: Methods, known: Sequence[PlantedModel]) -> set[str]:
    """The methods that have no known answer."""
    return set(methods) - {answer.method for planted in known for answer in planted.answers}


def find_planted(name: str, known: Sequence[PlantedModel]) -> PlantedModel:
    """The planted model of this name. Raises InputError with the names there are."""
    for one in known:
        if one.model == name:
            return one
    names = ", ".join(one.model for one in known)
    raise InputError(f"There are no known answers for '{name}'. There are some for: {names}.")
