"""What every method must find in the models with a planted circuit (`model.planted`).

declaration   a known answer: an experiment, the numbers that it must give, and why
check         run them: expected beside found
the others    the known answers of one model each

Where a method is known to mislead, the number that it gives is declared too, beside the true one.
"""

from patchwright.known_answers import (
    direction,
    fact,
    induction,
    name_mover,
    saturation,
    self_repair,
)
from patchwright.known_answers.check import (
    check_known_answers,
    find_planted,
    methods_without_answers,
)
from patchwright.known_answers.declaration import TOLERANCE, Answer, Finding, PlantedModel

__all__ = [
    "KNOWN",
    "TOLERANCE",
    "Answer",
    "Finding",
    "PlantedModel",
    "check_known_answers",
    "find_planted",
    "methods_without_answers",
]

KNOWN = (
    induction.KNOWN,
    name_mover.KNOWN,
    fact.KNOWN,
    saturation.KNOWN,
    self_repair.KNOWN,
    direction.KNOWN,
)
"""The models with a planted circuit, each with its known answers."""
