"""Lens: the answer as read off every layer, and what each part adds to it directly."""

from math import isfinite
from typing import get_args

import pandas as pd
import streamlit as st

from patchwright.algorithms.metrics import LENS_METRICS, METRIC_TABLE, check_metric
from patchwright.algorithms.result import Result
from patchwright.app import asked, state
from patchwright.app.text import complaint
from patchwright.app.views import fields, pair, tabs, taken, topbar
from patchwright.app.widgets.heat_map import heat_map, panels
from patchwright.app.work import result_of
from patchwright.errors import PatchwrightError
from patchwright.figures.altair_charts import accumulated_chart, components_chart
from patchwright.figures.grid import grid_of_array, grids_of
from patchwright.methods.lens import Part
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.prompts.tokens import visible

MEASURES = {
    name: METRIC_TABLE[name].lens_label or name
    for name in sorted(LENS_METRICS, key=lambda name: name != state.FIELDS["lens_measure"])
}
"""What a map may show; what is shown first comes first."""
PARTS = {
    "head": "attention heads",
    "layer": "layers: attention and MLP",
    "position": "heads, by the position they read from",
    "neuron": "MLP neurons",
}
RUNS = {"clean": "clean run", "corrupt": "corrupted run"}


def show() -> None:
    """The whole page, top to bottom."""
    model = topbar.shown()
    if model is None:
        return
    tabs.shown("lens")
    st.caption(
        "What the model would answer if it stopped after each layer, and which parts write the "
        "answer directly. Nothing is patched."
    )
    experiment = pair.shown(model)
    if experiment is None:
        return
    try:
        result = _lens(experiment, model)
        _direct(experiment, model)
        taken.away(result)
    except PatchwrightError as error:
        st.error(complaint(error))


def _lens(experiment: Patch, model: Model) -> Result:
    """Both prompts through the logit lens, on one scale."""
    st.subheader("The answer after each layer", anchor=False)
    result = result_of(asked.lens_of(experiment, []), model, keep=True)
    there = [name for name in MEASURES if name in result.arrays]
    measure = fields.choice(st.container(), "Measure", there, "lens_measure", MEASURES)
    values = result.array(measure).values
    limit = float(pd.Series(values.ravel()).abs().max())
    low, high = METRIC_TABLE[check_metric(measure)].bounds
    centred, bounds = low < 0 < high, (max(low, -limit), high if isfinite(high) else limit)
    grids = [
        grid_of_array(result, measure, MEASURES[measure], run, {"run": run}, centred, bounds)
        for run in RUNS
    ]
    for grid in grids:
        st.caption(f"**{RUNS[grid.title]}**")
        heat_map(grid, f"lens-{grid.title}", st.session_state.get("lens_cell", ""), _choose)
    st.caption(
        "Each cell holds the likeliest next token after that layer, read by the final norm and the "
        "unembedding; its colour is the measure. Where cells are too narrow for words, click one: its "
        "token and numbers come below."
    )
    _cell(result)
    if "accumulated" in result.arrays:
        st.altair_chart(accumulated_chart(result.array("accumulated")))
        st.caption("The logit difference at the last position after each layer.")
    return result


def _choose(chosen: str) -> None:
    st.session_state["lens_cell"] = chosen


def _cell(result: Result) -> None:
    """Both runs at the chosen layer and position."""
    chosen: str = st.session_state.get("lens_cell", "")
    numbers = dict(part.split() for part in chosen.split(", ")) if chosen else {}
    axes = result.array("top").sizes
    at = {name: int(number) for name, number in numbers.items()}
    if not at or any(at[name] >= axes[name] for name in at):
        return
    rows = [
        {
            "run": name,
            "likeliest token": visible(str(result.array("top").sel({"run": run, **at}).item())),
            "its probability": float(result.array("top_probability").sel({"run": run, **at})),
            **{
                MEASURES[measure]: float(result.array(measure).sel({"run": run, **at}))
                for measure in MEASURES
                if measure in result.arrays
            },
        }
        for run, name in RUNS.items()
    ]
    st.markdown(f"**After layer {at['layer']}, at position {at['position']}**")
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content")


def _direct(experiment: Patch, model: Model) -> None:
    """Direct logit attribution: the parts' shares of the logit difference."""
    st.subheader("Who writes the answer", anchor=False)
    part: str = fields.choice(st.container(), "Parts", get_args(Part), "part", PARTS)
    result = result_of(asked.attribution_of(experiment, part), model)
    if part == "layer":
        st.altair_chart(components_chart(result.array("components")))
    else:
        panels(grids_of(result), "direct")
    st.caption(
        "Logits that each part adds to the answer's logit minus the wrong answer's at the last "
        "position, with the final norm's scale held at the run's own. What a part causes by way of "
        "later layers is not in it."
    )
