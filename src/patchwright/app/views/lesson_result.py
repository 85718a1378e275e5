"""What a lesson shows of a result: nothing but an empty map first, all of it after the answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import streamlit as st

from patchwright.algorithms.result import Result, Tokens
from patchwright.algorithms.scale import has_scale
from patchwright.app import restore_state, session_state
from patchwright.app.lesson_progress import Attempt, Tries, is_about_runs, is_asked_later
from patchwright.app.text import escape, token_markdown
from patchwright.app.views.tabs import TABS
from patchwright.app.widgets.chips import chips_html, noisy_chips_html
from patchwright.app.widgets.heat_map import heat_map, heat_maps
from patchwright.errors import UnknownPlaceError
from patchwright.experiment.base import Experiment
from patchwright.figures.altair_charts import top_tokens_chart
from patchwright.figures.grid import Grid, grid_of, grids_of, is_one_number, on_one_scale, title_of
from patchwright.lessons import Lesson, Step
from patchwright.lessons.cells import POSITIONS, map_tokens
from patchwright.lessons.grading import Answer, pickable_places
from patchwright.places import parse_place
from patchwright.prompts.tokens import visible

MOST_NAMED = 4
"""Right cells that a sentence names."""


def show_prompts(result: Result) -> None:
    """The tokens of both prompts, or of the one that noise falls on; of several pairs the first."""
    clean = _first(result.tokens["clean"])
    if result.method == "trace":
        st.html(noisy_chips_html(clean, result.details["subject"]))
    else:
        st.html(chips_html(clean, _first(result.tokens["corrupt"])))


def _first(tokens: Tokens) -> list[str]:
    one = tokens[0]
    return [str(text) for text in (tokens if isinstance(one, str) else one)]


def show(
    lesson: Lesson,
    number: int,
    result: Result,
    tries: Tries,
    picked: str,
    on_choose: Callable[[str], None] | None,
) -> None:
    """The prompts, and below them what may be seen of the result by now."""
    step, tried = lesson.steps[number], tries.get(number, Attempt())
    if step.question is None and step.experiment is None:
        return
    show_prompts(result)
    if step.question is None:
        show_whole_map(result)
    elif is_about_runs(step, result):
        if tried.over:
            show_runs(result)
    elif not tried.over:
        show_prediction_map(step, result, picked, None if step.cell is None else on_choose)
    elif step.cell is not None:
        show_whole_map(result, tried, is_asked_later(lesson, number, tries))
    elif is_asked_later(lesson, number, tries):
        st.caption("The map of this experiment comes after the next question.")
    else:
        show_whole_map(result)


def answer_in_words(step: Step, answer: Answer, result: Result) -> str:
    """An answer as a reader gave it."""
    if isinstance(answer, int):
        return step.choices[answer].text
    return place_in_words(answer, result, visible)


def right_in_words(answers: Sequence[Answer], result: Result) -> str:
    """The right cells of a map, as far as a sentence can name them."""
    right = [place_in_words(str(one), result) for one in answers]
    more = f" and {len(right) - MOST_NAMED} more" if len(right) > MOST_NAMED else ""
    return f"Right: {'; '.join(right[:MOST_NAMED])}{more}."


def place_in_words(name: str, result: Result, shown: Callable[[str], str] = token_markdown) -> str:
    """A place as a reader finds it on the map: 'layer 0, position 2 (·keys)'; `shown` shows a token."""
    texts = map_tokens(result) or ()
    words: list[str] = []
    for label, value in _labels(name).items():
        at = int(value) if label in POSITIONS else -1
        text = str(texts[at]) if 0 <= at < len(texts) else ""
        told = f"{_LABELS.get(label, label)} {value}".lstrip()
        words.append(f"{told} ({shown(text)})" if text else told)
    return ", ".join(words).replace(", to position", " to position") or name


_LABELS = {"query": "from position", "key": "to position", "part": ""}
"""How labels of a map are called in a sentence, where not as they are."""


def _labels(name: str) -> dict[str, str]:
    """The labels of a cell: those that it is named by, or those of the place that its name is."""
    try:
        place = parse_place(name)
    except UnknownPlaceError:
        return dict(label.split(" ", 1) for label in name.split(", ") if " " in label)
    labels = ("layer", "head", "neuron", "position")
    found = {label: getattr(place, label) for label in labels}
    return {label: str(value) for label, value in found.items() if value is not None}


def show_prediction_map(
    step: Step, result: Result, picked: str, on_choose: Callable[[str], None] | None
) -> None:
    """The map without its values, to pick a cell of where one is asked for.

    Of an estimate that is asked about its exact values the estimate is shown.
    """
    if is_one_number(result):
        return
    grid, known = grid_of(result), _is_estimate(result) and "exact" in (step.cell or "")
    if known:
        grid = estimate_and_exact(result)[0]
        st.caption("The estimate; the exact values come after your prediction.")
    else:
        grid = replace(grid, values=np.full_like(grid.values, np.nan), estimated=None, texts=None)
    asked = None if step.among is None else pickable_places(step, result)
    heat_map(grid, "lesson-predict", picked, on_choose, empty="not shown yet", asked=asked)
    how = "Click a cell, or move with the arrow keys and press Enter."
    framed = " Only the hatched cells are asked for." if asked else ""
    st.caption(
        ("Layers grow upwards. " if grid.row_title.startswith("layer") else "")
        + ("" if known else "The map is empty until you have predicted. ")
        + (how + framed if on_choose else "")
    )


def show_runs(result: Result) -> None:
    """What the unpatched runs predict."""
    named = {"clean": result.clean, "corrupted": result.corrupt}
    st.markdown("**The likeliest next tokens**")
    st.altair_chart(top_tokens_chart({name: run for name, run in named.items() if run.top}))


def show_whole_map(result: Result, tried: Attempt | None = None, only: bool = False) -> None:
    """All panels of the result's figure; the right cells framed where a cell was asked for.

    Of a map that is asked about later, `only` the cells that this question was about.
    """
    if is_one_number(result):
        show_runs(result)
        return
    grids = estimate_and_exact(result) if _is_estimate(result) else grids_of(result)
    answers = [str(one) for one in tried.mark.answers] if tried and tried.mark else []
    own = str(tried.answers[-1]) if tried and tried.answers else ""
    if only:
        seen = [[place in (*answers, own) for place in row] for row in grids[0].places]
        grids = [replace(grids[0], values=np.where(seen, grids[0].values, np.nan))]
    st.markdown(f"**{escape(_headline(result))}**")
    if len(grids) == 1:
        heat_map(grids[0], "lesson-whole", own, empty="not shown yet", marked=answers)
    else:
        # Of two runs the question is about the first.
        last = 1 if "run" in result.arrays[result.main].dims else len(grids)
        grids = [replace(one, title=_RUN_TITLES.get(one.title, one.title)) for one in grids]
        heat_maps(grids, "lesson-whole", own, numbered=True, marked=answers, last=last)
    later = " The other cells come after a later question." if only else ""
    st.caption(_legend(grids[0], bool(answers)) + later)


_RUN_TITLES = {"clean": "A, the clean run", "corrupt": "B, the corrupted run"}
"""How the panels of two runs are called, below prompts A and B."""


def _is_estimate(result: Result) -> bool:
    """Whether the map is an estimate of values that are known."""
    exact = result.arrays.get("exact")
    return exact is not None and exact.dims == result.arrays[result.main].dims


def _headline(result: Result) -> str:
    """The title of a map."""
    if result.method == "edge_attribution":
        return "Estimated share of the gap that is lost when all edges out of a part are corrupted"
    return title_of(result)


def estimate_and_exact(result: Result) -> list[Grid]:
    """Estimate and exact values of an attribution on one scale, as effects where there are any."""
    grid = grid_of(result)
    exact = result.array("exact").values.reshape(grid.values.shape)
    if has_scale(result):
        done, gap = result.experiment, result.clean.metric - result.corrupt.metric
        sign = 1 if done["direction"] == "denoise" else -1
        exact = sign * (exact - result.base.metric) / gap
    low, high = (float(end(one)) for end, one in ((np.nanmin, exact), (np.nanmax, exact)))
    low = min(low, 0.0) if grid.centred else low
    pair = [
        replace(grid, title="estimate"),
        replace(grid, title="exact", values=exact, low=low, high=high, estimated=None),
    ]
    return on_one_scale(pair)


def _legend(grid: Grid, outlined: bool) -> str:
    """How to read a map."""
    what = f"Each cell: {grid.unit}."
    if grid.unit == "effect":
        what = (
            "Each cell: the share of the gap that the change moved. Red is 1 or 100 %, blue goes the other "
            "way, and a cell without colour is near 0."
        )
    elif grid.column_title == "key":
        what = "Each row is a position that looks, each column one that it looks at."
    frame = " A thick frame: right. A dotted one: your prediction." if outlined else ""
    return what + frame


def show_open_button(experiment: Experiment, result: Result) -> None:
    """Leads to the page where this experiment can be changed."""
    found = restore_state.nearest_page(experiment, result)
    if found is None:
        return
    name, controls = found
    if st.button(
        f"Open this experiment in {TABS[name]}",
        icon=":material/open_in_new:",
        type="tertiary",
        help="To change it. The lesson stays where it is.",
    ):
        session_state.set_controls(st.session_state, restore_state.CLEARED | controls)
        st.switch_page(st.session_state["pages"][name])
