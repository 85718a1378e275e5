"""What a lesson shows of a result: nothing but an empty map first, all of it after the answer."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import streamlit as st

from patchwright.algorithms.result import Result, Tokens
from patchwright.algorithms.scale import has_scale
from patchwright.app import restore_state, session_state
from patchwright.app.lesson_progress import Attempt
from patchwright.app.text import escape
from patchwright.app.views.tabs import TABS
from patchwright.app.widgets.chips import chips_html, noisy_chips_html
from patchwright.app.widgets.heat_map import heat_map, panels
from patchwright.experiment.base import Experiment
from patchwright.figures.altair_charts import top_chart
from patchwright.figures.grid import Grid, grid_of, grids_of, is_one_number, on_one_scale, title_of
from patchwright.lessons import Step


def prompts(result: Result) -> None:
    """The tokens of both prompts, or of the one that noise falls on; of several pairs the first."""
    clean = _first(result.tokens["clean"])
    if result.method == "trace":
        st.html(noisy_chips_html(clean, result.details["subject"]))
    else:
        st.html(chips_html(clean, _first(result.tokens["corrupt"])))


def _first(tokens: Tokens) -> list[str]:
    one = tokens[0]
    return [str(text) for text in (tokens if isinstance(one, str) else one)]


def to_predict(step: Step, result: Result, picked: str, on_choose: Callable[[str], None]) -> None:
    """The map without its values, to pick a cell of.

    Of an estimate that is asked about its exact values the estimate is shown.
    """
    grid, known = grid_of(result), "exact" in result.arrays and "exact" in (step.cell or "")
    if known:
        grid = beside(result)[0]
        st.caption("The estimate; the exact values come after your prediction.")
    else:
        grid = replace(grid, values=np.full_like(grid.values, np.nan), estimated=None, texts=None)
    heat_map(grid, "lesson-map", picked, on_choose, empty="not shown yet", marked=())
    st.caption(
        "Layers grow upwards. "
        + ("" if known else "The map is empty until you have predicted. ")
        + "Click a cell, or move with the arrow keys and press Enter."
    )


def runs(result: Result) -> None:
    """What the unpatched runs predict."""
    named = {"clean": result.clean, "corrupted": result.corrupt}
    st.markdown("**The likeliest next tokens**")
    st.altair_chart(top_chart({name: run for name, run in named.items() if run.top}))


def part(result: Result, tried: Attempt) -> None:
    """Of a map that is asked about later, only the cells that this question was about."""
    answers = [] if tried.mark is None else [str(one) for one in tried.mark.answers]
    own = tried.answer if isinstance(tried.answer, str) else ""
    if not own:
        st.caption("The map of this experiment comes after the next question.")
        return
    grid = grid_of(result)
    seen = np.array([[place in (*answers, own) for place in row] for row in grid.places])
    values = np.where(seen, grid.values, np.nan)
    st.markdown(f"**{escape(title_of(result))}**")
    heat_map(
        replace(grid, values=values), "lesson-part", own, empty="not shown yet", marked=answers
    )
    st.caption(f"{_legend(grid, True)} The other cells come after a later question.")


def whole(result: Result, tried: Attempt | None = None) -> None:
    """All panels of the result's figure; the right cells outlined where a cell was asked for."""
    if is_one_number(result):
        runs(result)
        return
    grids = beside(result) if "exact" in result.arrays else grids_of(result)
    answers = [str(one) for one in tried.mark.answers] if tried and tried.mark else []
    own = str(tried.answer) if tried else ""
    st.markdown(f"**{escape(title_of(result))}**")
    if len(grids) == 1:
        heat_map(grids[0], "lesson-whole", own, marked=answers)
    else:
        panels(grids, "lesson-whole", own, numbered=True, marked=answers)
    st.caption(_legend(grids[0], bool(answers)))


def beside(result: Result) -> list[Grid]:
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
            "Each cell: the share of the gap that the change moved. White is 0, red is 1 or 100 %, blue "
            "goes the other way."
        )
    elif grid.unit == "attention":
        what = "Each row is a position that looks, each column one that it looks at."
    frame = " A thick frame: right. A dotted one: your prediction." if outlined else ""
    return what + frame


def way_in(experiment: Experiment, result: Result) -> None:
    """Leads to the page where this experiment can be changed."""
    found = restore_state.nearest(experiment, result)
    if found is None:
        return
    name, controls = found
    if st.button(
        f"Open this experiment in {TABS[name]}",
        icon=":material/open_in_new:",
        type="tertiary",
        help="To change it. The lesson stays where it is.",
    ):
        session_state.take(st.session_state, restore_state.CLEARED | controls)
        st.switch_page(st.session_state["pages"][name])
