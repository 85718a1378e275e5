"""A lesson made from a map: the reader picks a cell, and one of the strongest is right."""

import re
from collections.abc import Sequence
from typing import cast

import yaml

from patchwright.errors import InputError
from patchwright.experiment.base import Experiment, OnPairs
from patchwright.lessons.expressions import NEAR
from patchwright.lessons.schema import Lesson, Step
from patchwright.methods.ablate import Ablate
from patchwright.methods.diff import Difference
from patchwright.methods.patch import Patch
from patchwright.methods.paths import PathPatch
from patchwright.methods.trace import Trace
from patchwright.spelling import percent

LEAST = 0.05
"""The least effect of the strongest cell: where all are smaller, none of them is an answer."""

_COPIED = (
    "In each cell of the map one activation is copied from prompt {} into prompt {}. "
    "The effect is the share of the gap between A and B that the copy moves."
)
_ASKED: dict[tuple[type[Experiment], str], tuple[str, str]] = {
    (Patch, "denoise"): ("Which cell brings back the answer of A most?", _COPIED.format("A", "B")),
    (Patch, "noise"): ("Which cell does the answer of A need most?", _COPIED.format("B", "A")),
    (Ablate, ""): (
        "Without which cell does the answer of A lose most?",
        "In each cell of the map one activation is removed from the run of prompt A. The effect is "
        "the share of the gap between A and B that is lost.",
    ),
    (PathPatch, "denoise"): (
        "Which sender brings back the answer of A most, by the direct paths alone?",
        _COPIED.format("A", "B") + " Only its direct paths to the receivers are changed.",
    ),
    (PathPatch, "noise"): (
        "Which sender does the answer of A need most, by the direct paths alone?",
        _COPIED.format("B", "A") + " Only its direct paths to the receivers are changed.",
    ),
    (Difference, ""): (
        "In which cell do the runs of A and B differ most?",
        "Each cell of the map says how far apart the runs of prompt A and prompt B are there.",
    ),
    (Trace, ""): (
        "After noise on the subject, which one clean MLP output brings back the answer most?",
        "Noise on the subject's tokens takes the answer away. In each cell of the map the clean "
        "output of one MLP is put back at one token. The effect is the share that comes back.",
    ),
}
"""The question of each map, by method and direction, and what its cells are."""


def proposed(experiment: Experiment) -> str | None:
    """The question that a map asks, in words; None for a method whose maps are not asked about."""
    return _ASKED.get(_kind(experiment), (None,))[0]


def _kind(experiment: Experiment) -> tuple[type[Experiment], str]:
    kind = type(experiment)
    asked = kind in (Patch, PathPatch)
    return kind, str(getattr(experiment, "direction", "")) if asked else ""


def lesson_of(experiment: Experiment, question: str, explanation: str) -> Lesson:
    """The lesson of one step that asks for the strongest cell of the experiment's map; one about as strong is right too.

    Both texts may have quantities in braces, as in any lesson. Raises InputError for an empty
    question, and for a method whose maps are not asked about.
    """
    question, explanation = question.strip(), explanation.strip()
    if not question:
        raise InputError("The question has no text: write what the reader is asked.")
    if _kind(experiment) not in _ASKED:
        raise InputError(
            "A question can be made of the maps of Patch, Ablate, Compare, Causal trace and Paths."
        )
    effect = experiment.main
    found = (
        f"The strongest cell has {{largest {effect}}}. Cells whose value is within "
        f"{percent(NEAR)} of that are right too."
    )
    given = experiment.model_dump(mode="json", exclude_defaults=True)
    step = Step(
        text=_ASKED[_kind(experiment)][1],
        experiment={"method": getattr(experiment, "method", ""), **given},
        question=question,
        cell=f"{effect} about largest {effect}",
        reveal=f"{explanation}\n\n{found}" if explanation else found,
        claims=(f"largest {effect} > {LEAST}",),
    )
    assert step.experiment is not None, "it was just given"
    del step.experiment["model"]
    return Lesson(
        name=_name(question, experiment),
        title=_title(experiment),
        about=question,
        model=experiment.model,
        minutes=2,
        steps=(step,),
    )


def _name(question: str, experiment: Experiment) -> str:
    """A file name that says what is asked, and of which experiment."""
    words = re.findall(r"[a-z0-9]+", question.lower())[:8]
    return "-".join([*words, experiment.hash[:6]])


def _title(experiment: Experiment) -> str:
    """The two answers, where each of them is a text."""
    if isinstance(experiment, Trace):
        some = [cast("Sequence[object]", one) for one in (experiment.answer, experiment.wrong)]
    else:
        assert isinstance(experiment, OnPairs), "what is no trace is on pairs"
        some = [experiment.pair_list[0].answers, experiment.pair_list[0].wrongs]
    firsts = [one[0] for one in some if one and isinstance(one[0], str)]
    words = [str(one).strip() for one in firsts]
    return f"{words[0]} or {words[1]}?" if len(words) == 2 and all(words) else "A question on a map"


def yaml_of(lesson: Lesson) -> str:
    """A lesson as its file; `read_lesson` makes the same lesson of it."""
    given = lesson.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    return yaml.dump(given, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


class _Plain(yaml.SafeDumper):
    """Without anchors, which a lesson may not have."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # YAML reads these line ends as a line feed, except between double quotes, where they are escaped.
        style = '"' if any(end in data for end in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Plain.add_representer(str, _Plain.represent_str)
