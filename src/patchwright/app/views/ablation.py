"""Ablation: what is lost of the answer when a place says nothing."""

import math
from typing import get_args

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import asked, page_fields, state
from patchwright.app.text import complaint, plain, token, typed
from patchwright.app.views import fields, kinds, pair, side, taken, waiting
from patchwright.app.widgets.heat_map import heat_map
from patchwright.app.work import result_of
from patchwright.axes import METRICS
from patchwright.errors import PatchwrightError
from patchwright.figures.altair_charts import top_chart
from patchwright.figures.grid import Grid, grid_of, title_of
from patchwright.insights.cautions import SELF_REPAIR
from patchwright.methods.ablate import Ablation
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITES
from patchwright.spelling import percent

HOW_NAMES: dict[Ablation, str] = {
    "zero": "zero",
    "mean": "mean over prompts",
    "resample": "resample: one prompt",
}
OVER_NAMES = {"position": "each position by itself", "all": "all positions together"}


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    model = side.shown()
    if model is None:
        return
    st.header("Ablation", anchor=False)
    st.caption(
        "What is lost of the answer without this place? In the clean run one place at a time is "
        "replaced by an activation that says nothing about the prompt."
    )
    swept = pair.shown(model)
    if swept is None:
        return
    try:
        _choices(model)
        experiment = asked.ablate_of(st.session_state, swept)
        result = waiting.finished(experiment, model, "ablation", "cells", _so_far)
        if result is not None:
            _finished(result, swept, model)
    except PatchwrightError as error:
        st.error(complaint(error))


def _choices(model: Model) -> None:
    """What is replaced, by what, and how the answer is measured."""
    columns = st.columns(4)
    kinds.site_and_per(columns[:2], SITES, "ablated_site", "ablated_per", "ablated", model)
    fields.choice(
        columns[2], "Replace it by", get_args(Ablation), "how", HOW_NAMES,
        help="Zero depends on the parametrisation: here the checkpoint's own. A mean keeps what all "
        "prompts share, and takes away what is special about this one. Resample writes what one "
        "other prompt has there, which the model finds the most natural.",
    )  # fmt: skip
    fields.choice(columns[3], "Metric", METRICS, "metric", help=kinds.METRIC_HELP)
    if st.session_state["how"] != "zero":
        _references()


def _references() -> None:
    """The prompts that the activations come from."""
    left, right = st.columns([3, 1])
    fields.text_area(
        left, "Reference prompts, one a line", "references", height=96,
        placeholder="When Tom and Eva went to the park, Tom gave a ball to",
        help="Position by position they need as many tokens as the clean prompt.",
    )  # fmt: skip
    if st.session_state["how"] == "mean":
        fields.choice(right, "Mean over", page_fields.OVERS, "over", OVER_NAMES)
    else:
        low, high = state.BOUNDS["draw_seed"]
        fields.number_input(
            right, "Seed", int(low), int(high), "draw_seed",
            help="Draws one of the prompts: the same seed draws the same one.",
        )  # fmt: skip
    fields.check({"references": "Reference prompts"})
    if not st.session_state["references"].strip():
        st.caption(f"No reference prompts are typed. {_default(st.session_state['how'])}")


def _default(how: str) -> str:
    if how == "mean":
        return "The mean is then taken over the clean and the corrupted prompt."
    return "Activations then come from the corrupted prompt."


def _so_far(partial: Result) -> None:
    st.markdown(f"#### {plain(title_of(partial))}")
    heat_map(grid_of(partial), key="ablation-so-far")


def _finished(result: Result, swept: Patch, model: Model) -> None:
    """Baselines, the heat map, and beside it one place (at first the strongest)."""
    kinds.baselines(result)
    grid = grid_of(result)
    chosen = kinds.selected(st.session_state["ablated"], grid, result)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.markdown(f"#### {plain(title_of(result))}")
        heat_map(grid, "ablation-map", chosen, _choose)
        st.caption(legend(grid))
    if chosen:
        with right:
            _place(chosen, result, swept, model)
    taken.away(result)


def _choose(chosen: str) -> None:
    st.session_state["ablated"] = chosen


def legend(grid: Grid) -> str:
    """How to read the map."""
    if not grid.centred:
        return f"Each cell is one ablated run: its {grid.unit}. The gap is too small for shares."
    return (
        "Each cell is one ablated clean run: the share of the gap between the clean and the corrupted "
        "run that is lost. White is nothing; red is lost, and 1 would be all of it; blue moves away from the "
        "corrupted run. Click a cell, or move with the arrow keys and press Enter."
    )


def _place(chosen: str, result: Result, swept: Patch, model: Model) -> None:
    """One place: a sentence, a caution, and what the model then predicts."""
    one = result_of(asked.ablate_together_of(st.session_state, swept, chosen), model)
    assert one.altered is not None, "places ablated together are one altered run"
    first = token(str(one.altered.top[0]["token"]))
    st.markdown(f"#### `{chosen}`")
    st.markdown(f"{sentence(chosen, result)} The likeliest next token is then **{first}**.")
    st.caption(f"Caution: {plain(SELF_REPAIR)}")
    runs = {"clean": one.clean, "corrupted": one.corrupt, "ablated": one.altered}
    st.altair_chart(top_chart(runs))


def sentence(chosen: str, result: Result) -> str:
    """What ablating a place did, with its numbers, as Markdown."""
    after, effect = kinds.at_place(result, chosen)
    if math.isnan(after):
        return kinds.NOT_COMPUTED
    metric, clean = plain(result.experiment["metric"]), result.clean.metric
    goes = (
        f"With `{chosen}` {replaced_by(result)}, {metric} goes from {clean:.3g} in the clean run "
        f"to {after:.3g}"
    )
    if math.isnan(effect):
        return f"{goes}."
    lost = f"**{percent(effect)}** of the gap to the corrupted run ({result.corrupt.metric:.3g}) is lost"
    if round(100 * effect) < 0:
        lost = f"away from the corrupted run ({result.corrupt.metric:.3g}), by **{percent(-effect)}** of the gap"
    return f"{goes}: {lost}."


def replaced_by(result: Result) -> str:
    """What is written into the place, as Markdown."""
    done = result.experiment
    prompts: list[str] = done["prompts"]
    if done["ablation"] == "zero":
        return "set to zero"
    if done["ablation"] == "resample":
        if len(prompts) == 1:
            return f"taken from “{typed(_short(prompts[0]))}”"
        return f"taken from one of {len(prompts)} reference prompts (seed {done['seed']})"
    over = "at each position" if done["by_position"] else "over all their positions"
    many = "1 reference prompt" if len(prompts) == 1 else f"{len(prompts)} reference prompts"
    return f"set to its mean over {many}, {over}"


def _short(prompt: str) -> str:
    return prompt if len(prompt) <= 60 else f"{prompt[:59]}…"
