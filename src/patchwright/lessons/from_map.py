"""A lesson made from a map: the reader picks a cell, as a rule the strongest."""

import re
from dataclasses import dataclass

import yaml

from patchwright.errors import InputError
from patchwright.experiment.base import Experiment
from patchwright.lessons.expressions import ABOUT_TOLERANCE
from patchwright.lessons.schema import Lesson, Step
from patchwright.methods.ablate import Ablate
from patchwright.methods.attention import Attention, HeadScores
from patchwright.methods.circuit import EdgeAttribution
from patchwright.methods.diff import Difference
from patchwright.methods.lens import LogitLens
from patchwright.methods.patch import Patch
from patchwright.methods.paths import PathPatch
from patchwright.methods.trace import Trace
from patchwright.spelling import percent

LEAST_EFFECT = 0.05
"""The least effect of the strongest cell: where all are smaller, none of them is an answer."""

_ABOUT_TEXT = f"Cells whose value is within {percent(ABOUT_TOLERANCE)} of that are right too."
_COPY_TEXT = (
    "In each cell of the map one activation is copied from prompt {} into prompt {}. "
    "The effect is the share of the gap between A and B that the copy moves."
)


@dataclass(frozen=True)
class _MapQuestion:
    """What a lesson on a method's map says of its cells, and which of them is right."""

    cells: str
    """What a cell is."""
    pick: str = "Pick the strongest cell."
    """What is added to the question of the experiment."""
    array: str = ""
    """What is largest in the right cell, where that is not the main array."""
    cell: str = ""
    """What holds of the right cell, where that is not the largest value."""
    among: str | None = None
    lowest: bool = False
    found: str = ""
    none: str = f"No cell of this map is stronger than {percent(LEAST_EFFECT)}, so none is an answer: choose another map."
    """What there is to say where no cell is right, or too many are."""


_MAP_QUESTIONS: dict[type[Experiment], _MapQuestion] = {
    Patch: _MapQuestion(_COPY_TEXT),
    Ablate: _MapQuestion(
        "In each cell of the map one activation is removed from the run of prompt A. The effect is "
        "the share of the gap between A and B that is lost."
    ),
    PathPatch: _MapQuestion(_COPY_TEXT + " Only its direct paths to the receivers are changed."),
    Difference: _MapQuestion(
        "Each cell of the map says how far apart the runs of prompt A and prompt B are there."
    ),
    Trace: _MapQuestion(
        "Noise on the subject's tokens takes the answer away. In each cell of the map the clean "
        "output of one MLP is put back at one token. The effect is the share that comes back.",
        "Pick the MLP that does so most.",
    ),
    LogitLens: _MapQuestion(
        "Each cell of the map is the run of prompt A after one layer, at one token. There the model's "
        "last step is applied at once, as if no further layer came: that gives a next token.",
        "Pick the first layer after which that is the likeliest next token, at the end of prompt A.",
        cell="rank is 1",
        among="position is -1",
        lowest=True,
        found="After the last layer the answer of A has a probability of {clean.probability}.",
        none="The answer of A is not the likeliest token after any layer, so no cell is right: choose other "
        "prompts or another answer.",
    ),
    Attention: _MapQuestion(
        "One attention head reads prompt A. Each row of the map is a token that looks, each column one "
        "that it looks at. The shares of a row add up to 100 %.",
        "Pick what it looks at most from the last token.",
        cell="pattern about largest pattern[clean, -1]",
        among="query is -1",
        found=f"The largest share is {{largest pattern[clean, -1]}}. {_ABOUT_TEXT}",
        none="This head looks at no token of prompt A more than at others, so no cell is right: choose "
        "another head.",
    ),
    HeadScores: _MapQuestion(
        "Each cell of the map is an attention head that reads random words, and then the same words once "
        "more. It is scored by how much it looks from a word at what followed the first copy of that word.",
        "Pick the head that looks most at what followed the first copy.",
        cell="induction about largest induction[random]",
        found="From a word it looks there with {largest induction[random]} of its attention. "
        + _ABOUT_TEXT,
        none="No head of this model looks more at what followed a first copy than others, so no cell is "
        "right: choose another model.",
    ),
    EdgeAttribution: _MapQuestion(
        "Each cell of the map is a head or an MLP, with all edges from it to later parts of the model. The "
        "effect is the share of the gap between A and B that is lost when these edges carry the "
        "activations of prompt B, as gradients estimate it.",
        "Pick the head or the MLP whose edges it needs most.",
        array="effect",
    ),
}
"""The maps that can be asked about, by method."""


def proposed_question(experiment: Experiment) -> str:
    """The question that a map asks, in words. Raises InputError for a method whose maps are not asked about."""
    return f"{experiment.question} {_map_question(experiment).pick}"


def no_answer_text(experiment: Experiment) -> str:
    """Why nothing can be asked of a map on which the lesson's own check finds no right cell."""
    return _map_question(experiment).none


def _map_question(experiment: Experiment) -> _MapQuestion:
    if type(experiment) not in _MAP_QUESTIONS:
        names = ", ".join(kind.name() for kind in _MAP_QUESTIONS)
        raise InputError(
            f"No question can be made of a map of '{experiment.name()}': it may be one of {names}."
        )
    return _MAP_QUESTIONS[type(experiment)]


def make_lesson(experiment: Experiment, question: str, explanation: str) -> Lesson:
    """The lesson of one step that asks for a cell of the experiment's map, as a rule the strongest.

    Both texts may have quantities in braces, as in any lesson. Raises InputError for an empty
    question, and for a method whose maps are not asked about.
    """
    question, explanation = question.strip(), explanation.strip()
    if not question:
        raise InputError("The question has no text: write what the reader is asked.")
    asked = _map_question(experiment)
    array = asked.array or experiment.main
    found = asked.found or f"The strongest cell has {{largest {array}}}. {_ABOUT_TEXT}"
    given = experiment.model_dump(mode="json", exclude={"model"}, exclude_defaults=True)
    letters = ("B", "A") if given.get("direction") == "noise" else ("A", "B")
    step = Step(
        text=asked.cells.format(*letters),
        experiment={"method": experiment.name(), **given},
        question=question,
        cell=asked.cell or f"{array} about largest {array}",
        among=asked.among,
        lowest=asked.lowest,
        reveal=f"{explanation}\n\n{found}" if explanation else found,
        claims=() if asked.cell else (f"largest {array} > {LEAST_EFFECT}",),
    )
    return Lesson(
        name=_lesson_name(question, experiment),
        title=_lesson_title(experiment),
        about=question,
        model=experiment.model,
        minutes=2,
        steps=(step,),
    )


def _lesson_name(question: str, experiment: Experiment) -> str:
    """A file name that says what is asked, and of which experiment."""
    words = re.findall(r"[a-z0-9]+", question.lower())[:8]
    return "-".join([*words, experiment.hash[:6]])


def _lesson_title(experiment: Experiment) -> str:
    """The two answers, where there is one to compare with."""
    said = experiment.contest
    return f"{said.answer} or {said.rival}?" if said.rival else "A question on a map"


def lesson_yaml(lesson: Lesson) -> str:
    """A lesson as its file; `read_lesson` makes the same lesson of it."""
    given = lesson.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    return yaml.dump(given, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=110)


class _PlainDumper(yaml.SafeDumper):
    """Without anchors, which a lesson may not have."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # YAML reads these line ends as a line feed, except between double quotes, where they are escaped.
        style = '"' if any(end in data for end in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_PlainDumper.add_representer(str, _PlainDumper.represent_str)
