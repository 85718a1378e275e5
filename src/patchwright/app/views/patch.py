"""Patch: two prompts, their runs, the heat map, one place looked at closely, and what it shows."""

import streamlit as st

from patchwright.app import state
from patchwright.app.text import plain, token
from patchwright.app.views import pair, place, said, side, taken
from patchwright.app.widgets.heat_map import heat_map
from patchwright.app.work import desk, job_of, result_so_far, unpatched
from patchwright.axes import DIRECTIONS
from patchwright.errors import PatchwrightError
from patchwright.experiment import Patch
from patchwright.figures.grid import Grid, grid_of, title_of
from patchwright.figures.interactive import top_chart
from patchwright.methods.metrics import METRICS
from patchwright.methods.result import Baseline, Result
from patchwright.model.load import Model
from patchwright.places import SITE_MEANINGS, SITES, check_site, parse_place, pers_of


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
            _baselines(unpatched(experiment, model))
        _swept(experiment, model)
    except PatchwrightError as error:
        st.error(plain(str(error)))


def _choices(model: Model) -> None:
    """What is patched, and how it is measured."""
    columns = st.columns(4)
    columns[0].selectbox(
        "Site", SITES, key="site", format_func=lambda site: f"{site}: {SITE_MEANINGS[site]}",
        on_change=state.take_usual_per, args=(st.session_state,),
        help="Which kind of activation is copied.",
    )  # fmt: skip
    pers = pers_of(check_site(st.session_state["site"]))
    if st.session_state["per"] not in pers:
        st.session_state["per"] = pers[0]
    columns[1].selectbox(
        "One place is", pers, key="per", format_func=lambda per: _PER_NAMES[per],
        help="What is copied at one time: each place is one cell of the heat map.",
    )  # fmt: skip
    columns[2].selectbox(
        "Direction", DIRECTIONS, key="direction", format_func=lambda name: _DIRECTION_NAMES[name],
        help="Denoising asks whether a place is enough to bring the answer back, noising whether "
        "the answer can do without it. They are not mirror images.",
    )  # fmt: skip
    columns[3].selectbox(
        "Metric", METRICS, key="metric",
        help="logit_diff: the answer's logit minus the wrong answer's. It is linear in what the "
        "network writes, and does not saturate as probabilities do.",
    )  # fmt: skip
    if st.session_state["per"] == "neuron":
        last = model.spec.n_layers - 1
        if st.session_state["neuron_layer"] > last:
            st.session_state["neuron_layer"] = last
        columns[1].number_input("Layer", 0, last, key="neuron_layer")


_PER_NAMES = {
    "position": "a position",
    "head": "a head, at all positions",
    "head_position": "a head at one position",
    "layer": "a layer, at all positions",
    "neuron": "a neuron, at all positions",
}
_DIRECTION_NAMES = {
    "denoise": "denoise: clean into corrupted (sufficient?)",
    "noise": "noise: corrupted into clean (necessary?)",
}


def _baselines(result: Result) -> None:
    """Both unpatched runs and the gap between them."""
    metric = result.experiment["metric"]
    columns = st.columns(3)
    runs = {"Clean run": result.clean, "Corrupted run": result.corrupt}
    for column, (name, baseline) in zip(columns, runs.items(), strict=False):
        column.metric(f"{name}: {metric}", f"{baseline.metric:.3g}", help=_prediction(baseline))
    columns[2].metric(
        "Gap", f"{result.clean.metric - result.corrupt.metric:.3g}",
        help="Clean minus corrupted: what effects are shares of.",
    )  # fmt: skip
    with st.expander("The ten likeliest next tokens of both runs", expanded=False):
        st.altair_chart(top_chart({"clean": result.clean, "corrupted": result.corrupt}))
    for notice in result.warnings:
        st.warning(plain(notice["message"]))


def _prediction(run: Baseline) -> str:
    return "Likeliest next: " + ", ".join(f"**{token(str(one['token']))}**" for one in run.top[:3])


def _swept(experiment: Patch, model: Model) -> None:
    """The sweep: finished, or as far as it is."""
    job = job_of(experiment, model)
    if not job.over:
        _under_way(experiment, model)
        return
    if job.error is not None:
        raise job.error
    assert job.result is not None, "a job that is over has an error or a result"
    _finished(experiment, job.result, model)


@st.fragment(run_every=0.4)
def _under_way(experiment: Patch, model: Model) -> None:
    """How far the sweep is, what is finished of it, and Stop."""
    job = job_of(experiment, model)
    if job.over:
        st.rerun()
    bar, stop = st.columns([5, 1], vertical_alignment="bottom")
    if job.progress is None:
        ahead = desk().ahead_of(job)
        waits = f"Waiting: {ahead} before it" if ahead else "Starting"
        bar.progress(0.0, waits if not job.running else "Running both prompts")
    else:
        done, total, left = job.progress.done, job.progress.total, job.seconds_left
        time = "" if left is None else f", about {left:.0f} s left"
        bar.progress(done / total, f"{done:,} of {total:,} cells{time}")
    stop.button("Stop", on_click=job.stop, disabled=job.stopping, key="stop", width="stretch")
    partial = result_so_far(experiment, model, job)
    st.markdown(f"#### {plain(title_of(partial))}")
    heat_map(grid_of(partial), key="map-so-far")
    if experiment.order == "attribution":
        st.caption(
            "Pale hatched cells are a gradient estimate of all cells at once; exact ones replace "
            "it, the most promising first."
        )


def _finished(experiment: Patch, result: Result, model: Model) -> None:
    """The heat map, and beside it the selected place (at first the strongest)."""
    grid = grid_of(result)
    chosen = _selected(result, model)
    for notice in result.warnings:
        if notice["code"] in ("stopped", "estimate"):
            st.warning(plain(notice["message"]))
    if any(notice["code"] == "stopped" for notice in result.warnings):
        st.button("Compute the rest", on_click=_start_again)
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
        st.warning(plain(f"{error} Shown is the strongest place."))
        return strongest
    return chosen


def _choose(chosen: str) -> None:
    state.choose_place(st.session_state, chosen)


def _start_again() -> None:
    job = st.session_state.pop("job", None)
    if job is not None:
        desk().forget(job)


def _legend(grid: Grid) -> str:
    if grid.centred:
        return (
            "Each cell is one patched run: its effect is the share of the gap that the patch moved. "
            "0 (white) is nothing, 1 (red) all the way to the other run, below 0 (blue) away from "
            "it. Click a cell, or move with the arrow keys and press Enter."
        )
    return f"Each cell is one patched run: its {grid.unit}. The gap is too small for effects."
