"""Patch: two prompts, their runs, the heat map, one place looked at closely, and what it shows."""

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import state
from patchwright.app.text import complaint, plain
from patchwright.app.views import fields, kinds, pair, place, said, side, taken, waiting
from patchwright.app.widgets.heat_map import heat_map
from patchwright.app.work import unpatched
from patchwright.axes import DIRECTIONS, METRICS
from patchwright.errors import PatchwrightError
from patchwright.figures.grid import Grid, grid_of, title_of
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITES, parse_place


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    model = side.shown()
    if model is None:
        return
    st.header("Patch", anchor=False)
    st.caption(
        "Copy one run's activations into the other, one place at a time, and see how far the answer "
        "moves."
    )
    fits = pair.shown(model) is not None
    try:
        baselines = st.container()
        _choices(model)
        if not fits:
            return
        experiment = pair.checked(model)
        with baselines:
            kinds.baselines(unpatched(experiment, model))
        _swept(experiment, model)
    except PatchwrightError as error:
        st.error(complaint(error))


def _choices(model: Model) -> None:
    """What is patched, and how it is measured."""
    columns = st.columns(4)
    kinds.site_and_per(
        columns[:2], SITES, "site", "per", "chosen", model,
        help="Which kind of activation is copied.",
    )  # fmt: skip
    fields.choice(
        columns[2], "Direction", DIRECTIONS, "direction", kinds.DIRECTION_NAMES,
        help=kinds.DIRECTION_HELP,
    )  # fmt: skip
    fields.choice(columns[3], "Metric", METRICS, "metric", help=kinds.METRIC_HELP)


def _swept(experiment: Patch, model: Model) -> None:
    """The sweep: finished, or as far as it is."""
    result = waiting.finished(experiment, model, "job", "cells", _so_far)
    if result is not None:
        _finished(experiment, result, model)


def _so_far(partial: Result) -> None:
    """What is finished of a sweep under way."""
    st.markdown(f"#### {plain(title_of(partial))}")
    heat_map(grid_of(partial), key="map-so-far")
    if partial.experiment["order"] == "attribution":
        st.caption(
            "Pale hatched cells are a gradient estimate of all cells at once; exact ones replace "
            "it, the most promising first."
        )


def _finished(experiment: Patch, result: Result, model: Model) -> None:
    """The heat map, and beside it the selected place (at first the strongest)."""
    grid = grid_of(result)
    chosen = _selected(result, model)
    for notice in result.warnings:
        if notice["code"] in ("stopped", "estimate", "nothing_moved"):
            st.warning(plain(notice["message"]))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.markdown(f"#### {plain(title_of(result))}")
        heat_map(grid, "map", chosen, _choose)
        st.caption(_legend(grid))
        place.picker(result, model)
    with right:
        place.panel(chosen, experiment, result, model)
    place.attention(chosen, experiment, model)
    place.together(experiment, model)
    place.by_layer(chosen, experiment, model)
    said.steps(experiment, result, model)
    taken.away(result)


def _selected(result: Result, model: Model) -> str:
    """The place that was chosen, if these prompts have it, else the strongest."""
    strongest = str(result.top(1)["place"].iloc[0])
    chosen: str = st.session_state["chosen"] or strongest
    try:
        parse_place(chosen).within(model.spec, len(result.position_tokens or ()))
    except PatchwrightError as error:
        st.warning(f"{complaint(error)} Shown is the strongest place.")
        return strongest
    return chosen


def _choose(chosen: str) -> None:
    state.choose_place(st.session_state, chosen)


def _legend(grid: Grid) -> str:
    if grid.centred:
        return (
            "Each cell is one patched run: its effect is the share of the gap that the patch moved. "
            "White is nothing; red goes to the other run, and 1 is all the way; blue away from it. Click a cell, or move with the arrow keys and press Enter."
        )
    return f"Each cell is one patched run: its {grid.unit}. The gap is too small for effects."
