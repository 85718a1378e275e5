"""Lens: the answer as read off every layer, and what each part adds to it directly."""

from dataclasses import replace
from functools import partial
from math import isfinite
from typing import get_args

import pandas as pd
import streamlit as st

from patchwright.algorithms.metrics import LENS_METRICS, METRIC_TABLE, check_metric
from patchwright.algorithms.result import Result
from patchwright.app import build_experiment, session_state
from patchwright.app.results import result_of
from patchwright.app.views import explore, export, fields, inspector, topbar, workbench
from patchwright.app.widgets.heat_map import heat_maps
from patchwright.figures.altair_charts import components_chart, logit_difference_chart
from patchwright.figures.grid import Grid, grid_of_array, grids_of
from patchwright.methods.lens import Part
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import Place
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent

MEASURES = {
    name: METRIC_TABLE[name].lens_label or name
    for name in sorted(LENS_METRICS, key=lambda name: name != session_state.FIELDS["lens_measure"])
}
"""What a map may show; what is shown first comes first."""
PARTS = {
    "head": "attention heads",
    "layer": "layers: attention and MLP",
    "position": "heads, by the position they read from",
    "neuron": "MLP neurons",
}
RUNS = {"clean": "A", "corrupt": "B"}


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    explore.show_tab("lens", _show_content)


def _show_content(experiment: Patch | None, bar: topbar.Bar) -> None:
    model = bar.model
    if experiment is None:
        return
    result = result_of(build_experiment.lens_of(experiment, []), model, keep=True)
    measure = _show_controls(result)
    tab = explore.reading_tab("lens", experiment, model, partial(lens_facts, result))
    explore.show_maps(tab, _maps(result, measure, model), model)
    st.caption(
        "Each cell holds the likeliest next token after that layer, read by the final norm and the "
        "unembedding; its colour is the measure. Nothing is patched in the maps."
    )
    if "accumulated" in result.arrays:
        with st.expander("The logit difference at the last token after each layer"):
            st.altair_chart(logit_difference_chart(result.array("accumulated")))
    _show_attribution(experiment, model)
    export.show(bar, result)


def _show_controls(result: Result) -> str:
    """By which measure cells are coloured."""
    there = [name for name in MEASURES if name in result.arrays]
    return fields.choice(
        st.container(key="controls"),
        "Measure",
        there,
        "lens_measure",
        MEASURES,
        **fields.UNLABELLED,
    )


def _maps(result: Result, measure: str, model: Model) -> workbench.Maps:
    """Both prompts through the logit lens, on one scale; a cell is the stream behind its layer."""
    values = result.array(measure).values
    limit = float(pd.Series(values.ravel()).abs().max())
    low, high = METRIC_TABLE[check_metric(measure)].bounds
    centred, bounds = low < 0 < high, (max(low, -limit), high if isfinite(high) else limit)
    grids = [
        _with_stream_places(
            grid_of_array(result, measure, MEASURES[measure], run, {"run": run}, centred, bounds)
        )
        for run in RUNS
    ]
    usual = grids[0].places[model.spec.n_layers - 1][-1]
    return workbench.Maps(grids, result, usual, list(RUNS.values()))


def _with_stream_places(grid: Grid) -> Grid:
    """The same map with the places whose stream is read: `layer 3, position 4` is L3.resid_post@4."""
    places = [
        [f"L{layer}.resid_post@{position}" for position in range(len(row))]
        for layer, row in enumerate(grid.places)
    ]
    return replace(grid, places=places)


def lens_facts(result: Result, chosen: Place) -> list[inspector.Fact]:
    """What both runs would answer after the place's layer, at its position."""
    if chosen.layer is None or chosen.position is None:
        return []
    at = {"layer": chosen.layer, "position": chosen.position}
    told: list[inspector.Fact] = []
    for run, letter in inspector.LETTERS.items():
        word = visible(str(result.array("top").sel({"run": run, **at}).item()))
        share = percent(float(result.array("top_probability").sel({"run": run, **at})))
        told.append((f"after layer {chosen.layer} {letter} would say", f"{word} {share}"))
    return told


def _show_attribution(experiment: Patch, model: Model) -> None:
    """Direct logit attribution: the parts' shares of the logit difference."""
    with st.expander("Who writes the answer"):
        part: str = fields.choice(st.container(), "Parts", get_args(Part), "part", PARTS)
        result = result_of(build_experiment.attribution_of(experiment, part), model)
        if part == "layer":
            st.altair_chart(components_chart(result.array("components")))
        else:
            heat_maps(grids_of(result), "direct")
        st.caption(
            "Logits that each part adds to the answer's logit minus the wrong answer's at the last "
            "position, with the final norm's scale held at the run's own. What a part causes by way of "
            "later layers is not in it."
        )
