"""Explore, by patching: the model as a map, the place under the pointer, and what it shows."""

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import shares
from patchwright.app import address_bar, state
from patchwright.app.text import complaint, plain
from patchwright.app.views import (
    fields,
    inspector,
    kinds,
    pair,
    place,
    said,
    tabs,
    taken,
    topbar,
    waiting,
)
from patchwright.app.widgets.heat_map import data_of
from patchwright.app.widgets.workbench import workbench
from patchwright.app.work import desk, job_of, result_so_far, stop
from patchwright.axes import DIRECTIONS, METRICS
from patchwright.errors import PatchwrightError
from patchwright.figures.grid import Grid, grid_of, likeliest_of
from patchwright.jobs import Job
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITES, parse_place

Json = dict[str, Any]

SLOT = "job"
LOOK_AGAIN = 0.4
"""Seconds between two looks at work that is under way."""


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    model = topbar.shown()
    if model is None:
        return
    experiment = pair.shown(model)
    tabs.shown("patch")
    try:
        _choices(model)
        if experiment is None:
            return
        experiment = pair.checked(model)
        conclusion = st.empty()
        job = job_of(experiment, model, SLOT)
        under_way = not job.over
        if job.error is not None:
            raise job.error
        st.fragment(_bench, run_every=LOOK_AGAIN if under_way else None)(
            experiment, model, under_way
        )
        if not under_way:
            result = _result(job, experiment, model)
            _incomplete(job, result)
            _finished(experiment, result, model, conclusion)
    except PatchwrightError as error:
        st.error(complaint(error))


def _choices(model: Model) -> None:
    """What is patched, and how it is measured."""
    columns = st.container(key="controls").columns([3, 3, 3, 3, 2])
    kinds.site_and_per(
        columns[:2],
        SITES,
        "site",
        "per",
        "chosen",
        model,
        help="Which kind of activation is copied.",
    )
    fields.choice(
        columns[2],
        "Direction",
        DIRECTIONS,
        "direction",
        kinds.DIRECTION_NAMES,
        help=kinds.DIRECTION_HELP,
        **fields.UNLABELLED,
    )
    fields.choice(
        columns[3], "Metric", METRICS, "metric", help=kinds.METRIC_HELP, **fields.UNLABELLED
    )
    place.picker(columns[4], model)


def _bench(experiment: Patch, model: Model, under_way: bool) -> None:
    """The workbench: the sweep as far as it is, and its selected place."""
    job = job_of(experiment, model, SLOT)
    if under_way and job.over:
        st.rerun()
    if under_way:
        result, progress = result_so_far(experiment, model, job), _progress(job)
    else:
        result, progress = _result(job, experiment, model), None
    grid, now = grid_of(result), st.session_state
    chosen = _selected(result, model, grid)
    shown: Json = {
        **data_of(grid, chosen),
        "tops": likeliest_of(result),
        "legend": _legend(grid, experiment),
        "set": now["places"],
        "pinned": now["pinned"],
        "threshold": now["threshold"] / 100,
        "sliding": True,
        "clickable": True,
    }
    looked_at = {
        **inspector.inspected(chosen, now["pinned"], experiment, result, model),
        "inSet": chosen in now["places"],
    }
    data = {
        "state": "rest" if progress is None else "computing",
        "progress": progress,
        "map": shown,
        "inspector": looked_at,
        "set": _set(experiment, model),
    }
    workbench(data, "workbench", ACTS)
    address_bar.write("patch")
    if progress is None:
        _closer(chosen, experiment, model)


def _closer(chosen: str, experiment: Patch, model: Model) -> None:
    """More of the selected place, for who wants it."""
    parsed = parse_place(chosen)
    if parsed.head is not None and parsed.layer is not None:
        with st.expander(f"Where head {parsed.head} of layer {parsed.layer} looks"):
            place.attention(chosen, experiment, model)
    with st.expander("The answer, layer by layer"):
        place.by_layer(chosen, experiment, model)
    if st.session_state["places"]:
        with st.expander("Each place of the set by itself"):
            place.together(experiment, model)


def _incomplete(job: Job, result: Result) -> None:
    """Say what is missing of a sweep, and offer the rest."""
    for notice in result.warnings:
        if notice["code"] in ("stopped", "estimate", "nothing_moved"):
            st.warning(plain(notice["message"]))
    if job.late:
        st.warning(waiting.TOO_LONG)
    elif waiting.stopped(result):
        waiting.rest([SLOT])


def _progress(job: Job) -> Json:
    done, text = waiting.how_far(job, desk().ahead_of(job), "cells")
    return {"share": done, "said": text, "stoppable": not job.stopping}


def _result(job: Job, experiment: Patch, model: Model) -> Result:
    """What a sweep that is over found. Raises what it raised."""
    result = waiting.result_of_job(job, experiment, model)
    assert result is not None, "the cells so far of one pair can always be shown"
    return result


def _finished(experiment: Patch, result: Result, model: Model, conclusion: DeltaGenerator) -> None:
    """What the finished sweep shows, and how to take it away."""
    found = said.found(experiment, result, model)
    conclusion.html(said.conclusion_html(found))
    said.steps(found, experiment)
    taken.away(result)


def _selected(result: Result, model: Model, grid: Grid) -> str:
    """The place that was chosen, if these prompts have it, else the strongest."""
    chosen: str = st.session_state["chosen"]
    if chosen:
        try:
            parse_place(chosen).within(model.spec, len(result.position_tokens or ()))
        except PatchwrightError as error:
            st.warning(f"{complaint(error)} Shown is the strongest place.")
        else:
            return kinds.counted(chosen, result)
    top = result.top(1)["place"]
    return grid.places[0][0] if top.empty else str(top.iloc[0])


def _set(experiment: Patch, model: Model) -> Json:
    """The places that are copied together, and what they do."""
    places: list[str] = st.session_state["places"]
    hint = "Add places to copy several at once: together they can do more, or less, than the sum."
    data: Json = {"places": places, "hint": hint, "said": ""}
    if places:
        try:
            joint, single = place.joint(experiment, model)
        except PatchwrightError as error:
            return {**data, "said": str(error)}
        summed = sum(float(shares(one)) for one in single.values())
        together = place.share_or_none(float(shares(joint)))
        data["said"] = f"together {together}, their sum {place.share_or_none(summed)}"
    return data


def _legend(grid: Grid, experiment: Patch) -> str:
    """What the colour bar's numbers are."""
    if not grid.centred:
        return f"{grid.unit} (A and B are too close for shares)"
    source, target = ("A", "B") if experiment.direction == "denoise" else ("B", "A")
    return f"share of the way from {target} to {source}; 0 is no change"


def _choose(chosen: Any) -> None:
    state.choose_place(st.session_state, str(chosen))


def _add(chosen: Any) -> None:
    state.add_to_set(st.session_state, str(chosen))


def _drop(chosen: Any) -> None:
    state.drop_from_set(st.session_state, str(chosen))


def _pin(chosen: Any) -> None:
    st.session_state["pinned"] = "" if chosen == "-" else str(chosen)


def _hide_below(share: Any) -> None:
    st.session_state["threshold"] = round(100 * float(share))


def _stop(_: Any) -> None:
    stop([SLOT])


ACTS = {
    "place": _choose,
    "add": _add,
    "drop": _drop,
    "pin": _pin,
    "threshold": _hide_below,
    "stop": _stop,
}
"""What follows from what a person does in the workbench."""
