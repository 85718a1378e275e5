"""Lessons: text, an experiment, a question to answer before the result is shown.

schema    a lesson file -> Lesson, every error with its line
expressions  what a lesson may say of a Result: quantities, conditions, texts with numbers in them
grading   whether an answer is right; whether a lesson still says what the model does
cells     the cells of a result's map, which a reader can pick
from_map  a lesson made from a map: the reader picks a cell, as a rule the strongest
built_in  the lessons that come with the package, one file each; further readings of them, on other
          models, in a folder named after the model

A lesson holds no numbers of its own: its texts name quantities, which are put in when the
experiment has run, and whether an answer is right is a condition on the result. `check`
finds what no longer holds. The format is in `docs/lessons.md`.
"""

from patchwright.lessons.grading import Mark, check, mark, step_experiment
from patchwright.lessons.schema import (
    READINGS,
    Choice,
    Lesson,
    Step,
    built_in,
    find_lessons,
    read_lesson,
    readings_of,
)

__all__ = [
    "READINGS",
    "Choice",
    "Lesson",
    "Mark",
    "Step",
    "built_in",
    "check",
    "find_lessons",
    "mark",
    "read_lesson",
    "readings_of",
    "step_experiment",
]
