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

from patchwright.lessons.grading import Mark, check_lesson, mark, step_experiment
from patchwright.lessons.schema import (
    LESSON_MODELS,
    Choice,
    Lesson,
    Step,
    built_in_lessons,
    find_lessons,
    lesson_by_model,
    read_lesson,
)

__all__ = [
    "LESSON_MODELS",
    "Choice",
    "Lesson",
    "Mark",
    "Step",
    "built_in_lessons",
    "check_lesson",
    "find_lessons",
    "lesson_by_model",
    "mark",
    "read_lesson",
    "step_experiment",
]
