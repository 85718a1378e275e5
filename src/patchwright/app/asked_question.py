"""A question that somebody asks of a map of Explore, as it stands in an address of Learn; no widgets here."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from patchwright.app import build_experiment, restore_state, session_state, url_state
from patchwright.app.session_state import FIELDS, State, first_example
from patchwright.errors import InputError
from patchwright.experiment.base import Experiment
from patchwright.lessons import Lesson
from patchwright.lessons.from_map import make_lesson
from patchwright.methods.attention import HeadScores

PAGES = tuple(page for page in restore_state.PAGE_EXPERIMENTS if page != "many")
"""The pages whose maps can be asked about: all tabs of Explore."""

DISPLAY_CONTROLS = (
    "measure",
    "lens_measure",
    "part",
    "edge_order",
    "edges",
    "edge_chosen",
    "edge_share",
)
"""Controls, beside those of every workbench, that a map does not rest on."""

LABELS = {"ask": "Question", "explain": "Explanation", "map": "Map"}
"""The fields of Learn that a question stands in."""

CLEARED = dict.fromkeys(LABELS, "")
"""The same when Learn shows a lesson of its own."""


REPEATED = "repeated"
"""The part of a map's text that makes it the one of all heads: how many words are repeated."""


def map_address(page: str, state: State, experiment: Experiment | None = None) -> str:
    """A map of Explore: its page and the controls that it rests on, as in its own address."""
    left_out = {*url_state.WORKBENCH_CONTROLS, *DISPLAY_CONTROLS} - (
        {"chosen"} if page == "attention" else set()
    )
    written = url_state.query_parameters(page, state)
    kept = {name: written[name] for name in written if name not in left_out}
    if isinstance(experiment, HeadScores):
        kept = {name: kept[name] for name in kept if name != "chosen"} | {
            REPEATED: experiment.length
        }
    return f"{page}?{urlencode(kept)}"


def question_fields(
    question: str, explanation: str, state: State, experiment: Experiment | None = None
) -> dict[str, str]:
    """The fields of Learn that ask about the map of the page, or about another of its `experiment`."""
    return {
        "ask": question.strip(),
        "explain": explanation.strip(),
        "map": map_address(state["page"], state, experiment),
    }


def experiment_from_map(text: str) -> Experiment:
    """The experiment of a map. Raises InputError where the text is of none."""
    page, _, query = text.partition("?")
    if page not in PAGES:
        raise InputError(
            f"The address asks about a map of '{page[:40]}': it may be one of {', '.join(PAGES)}."
        )
    given = dict(parse_qsl(query, keep_blank_values=True))
    repeated = given.pop(REPEATED, "") if page == "attention" else ""
    found = url_state.read_parameters(page, given)
    state = dict(FIELDS)
    session_state.take_example(state, first_example(page))
    session_state.set_controls(state, {"model": "demo", **found})
    model = session_state.model_of(state)
    if not repeated:
        return restore_state.make_experiment(page, state, model)
    if not re.fullmatch("[1-9][0-9]?", repeated):
        raise InputError(f"The address repeats '{repeated[:40]}' words: it may be 1 to 99.")
    return build_experiment.head_scores_of(build_experiment.patch_of(state, model), int(repeated))


def lesson_from_fields(state: Mapping[Any, Any]) -> Lesson:
    """The question in the fields of Learn, as a lesson. Raises InputError for what is wrong."""
    session_state.check_lengths(state, LABELS)
    return make_lesson(experiment_from_map(state["map"]), state["ask"], state["explain"])
