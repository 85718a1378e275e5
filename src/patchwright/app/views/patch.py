"""Explore, by patching: the model as a map, the selected place, and what it shows."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.result import Result
from patchwright.app import build_experiment
from patchwright.app.results import unpatched_runs
from patchwright.app.views import (
    controls,
    explanation,
    explore,
    export,
    fields,
    inspector,
    pair,
    place_detail,
    topbar,
    welcome,
)
from patchwright.axes import DIRECTIONS, METRICS
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITES


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    explore.show_tab("patch", _show_content)


def _show_content(experiment: Patch | None, bar: topbar.Bar) -> None:
    model = bar.model
    show_controls(model, "site", "per")
    if experiment is None:
        return
    experiment = pair.runnable_sweep(model)
    # A place of its own: with what comes and goes in it the map keeps its place on the page.
    with st.container():
        welcome.show(unpatched_runs(experiment, model))
    conclusion = st.container(key="conclusion").empty()
    result = explore.show_sweep(tab_of(experiment, model), model)
    if result is not None:
        _show_findings(experiment, result, bar, conclusion)


def tab_of(experiment: Patch, model: Model) -> explore.Tab:
    """What the workbench asks and says of copies from one run into the other."""
    source, target = ("A", "B") if experiment.direction == "denoise" else ("B", "A")
    return explore.Tab(
        page="patch",
        experiment=experiment,
        swept=experiment,
        together=lambda places: build_experiment.patch_together_of(experiment, places),
        target=target,
        change=f"Copied from {source} into {target}",
        altered=f"{target} with the copy",
        facts=lambda one: [
            *inspector.attention_facts(one, experiment, model),
            *inspector.ablation_facts(one, experiment, model),
            *inspector.direct_facts(one, experiment, model),
        ],
        legend=f"share of the way from {target} to {source}; 0 is no change",
        closer=lambda chosen: place_detail.show_details(chosen, experiment, model),
        question=experiment.question,
        zooms=("site", "per"),
    )


def show_controls(model: Model, site: str, per: str) -> None:
    """What is patched, by these two controls, and how it is measured."""
    columns = st.container(key="controls").columns([4, 3, 3, 3])
    controls.show_site_and_per(
        columns[:2],
        SITES,
        site,
        per,
        "chosen",
        model,
        "What is copied",
        "Which kind of activation is copied.",
        **fields.UNLABELLED,
    )
    fields.choice(
        columns[2],
        "Direction",
        DIRECTIONS,
        "direction",
        controls.DIRECTION_NAMES,
        help=controls.DIRECTION_HELP,
        **fields.UNLABELLED,
    )
    fields.choice(
        columns[3],
        "Metric",
        METRICS,
        "metric",
        controls.METRIC_NAMES,
        help=controls.METRIC_HELP,
        **fields.UNLABELLED,
    )


def _show_findings(
    experiment: Patch, result: Result, bar: topbar.Bar, conclusion: DeltaGenerator
) -> None:
    """What the finished sweep shows, and how to take it away."""
    found = explanation.find_insights(experiment, result, bar.model)
    conclusion.html(explanation.conclusion_html(found))
    explanation.show_steps(found, experiment)
    export.show(bar, result)
