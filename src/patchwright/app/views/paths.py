"""Paths: what a place does by way of chosen receivers, and no other way."""

import math
from typing import get_args

import streamlit as st

from patchwright.algorithms.paths import SENDERS, receivers_of
from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import shares
from patchwright.app import build_experiment, session_state
from patchwright.app.results import result_of
from patchwright.app.text import error_markdown, escape
from patchwright.app.views import controls, export, fields, pair, progress, tabs, topbar
from patchwright.app.widgets.heat_map import heat_map
from patchwright.axes import DIRECTIONS, METRICS
from patchwright.errors import PatchwrightError
from patchwright.experiment.run import tokens_of
from patchwright.figures.grid import Grid, grid_of, title_of
from patchwright.methods import METHODS
from patchwright.methods.patch import Patch
from patchwright.methods.paths import LOGITS, OnTheWay, PathPatch
from patchwright.model.load import Model
from patchwright.places import Place, check_site, n_heads_of, parse_place
from patchwright.spelling import percent

RECEIVER_NAMES = {
    "q": "queries of a head",
    "k": "keys of a head",
    "v": "values of a head",
    "mlp_out": "an MLP",
}
ON_THE_WAY = {"recompute": "recomputed", "freeze": "frozen"}


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    model = topbar.shown()
    if model is None:
        return
    swept = pair.shown(model)
    tabs.shown("paths")
    st.caption(
        "Through which later part does a head act? One sender's activation is copied in while all "
        "other heads are frozen, so that only the chosen receivers see the change (path patching)."
    )
    if swept is None:
        return
    try:
        _choices(model)
        _receivers(model)
        experiment = build_experiment.path_patch_of(st.session_state, swept)
        _check(experiment, swept, model)
        result = progress.finished(experiment, model, "paths", "senders", _so_far)
        if result is not None:
            _finished(result, swept, model)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _choices(model: Model) -> None:
    """Who sends, which way, what happens between, and how the answer is measured."""
    first, second = st.columns(3), st.columns(3)
    controls.site_and_per(
        first[:2],
        SENDERS,
        "sender",
        "sender_per",
        "path",
        model,
        "Senders",
        "Whose activation is copied.",
    )
    fields.choice(
        first[2],
        "Direction",
        DIRECTIONS,
        "direction",
        controls.DIRECTION_NAMES,
        help=controls.DIRECTION_HELP,
    )
    fields.choice(
        second[0],
        "MLPs on the way",
        get_args(OnTheWay),
        "mlps",
        ON_THE_WAY,
        help="Recomputed, as in the paper: what an MLP makes of the change counts as part of the "
        "path. Frozen: only what the sender itself writes arrives.",
    )
    fields.choice(
        second[1],
        "Norms on the way",
        get_args(OnTheWay),
        "norms",
        ON_THE_WAY,
        help="Frozen norms divide by what they divide by in the run that is patched: a large change "
        "is then not damped.",
    )
    fields.choice(second[2], "Metric", METRICS, "metric", help=controls.METRIC_HELP)


def _receivers(model: Model) -> None:
    """To whom: the logits, or places that are added by their numbers or typed."""
    columns = st.columns([2, 1, 1, 1], vertical_alignment="bottom")
    site = check_site(
        fields.choice(columns[0], "Receiver", list(RECEIVER_NAMES), "receiver_site", RECEIVER_NAMES)
    )
    layers = range(model.spec.n_layers)
    layer = fields.choice(columns[1], "Layer", layers, "receiver_layer", usual=layers[-1])
    heads = ["all"] if site == "mlp_out" else ["all", *range(n_heads_of(site, model.spec))]
    head = fields.choice(columns[2], "Head", heads, "receiver_head")
    added = str(Place(site, layer, None if head == "all" else int(head)))
    columns[3].button(
        f"Add {added}",
        on_click=session_state.add_to_set,
        args=(st.session_state, added, "receivers"),
        width="stretch",
        key="add_receiver",
    )
    st.multiselect(
        "Receivers",
        st.session_state["receivers"],
        key="receivers",
        accept_new_options=True,
        **fields.KEPT,
        placeholder="The logits: what senders write to the answer directly",
        help="Without any, the logits. Add some above, or type them, such as L3H1.q or L2.mlp_out.",
    )


def _check(experiment: PathPatch, swept: Patch, model: Model) -> None:
    """Raise InputError for receivers that cannot be followed."""
    assert not isinstance(swept.pairs, tuple), "the page has one pair"
    tokens = tokens_of(swept.pairs, experiment, model)
    receivers_of(experiment.receivers, model.spec, len(tokens.clean))


def _so_far(partial: Result) -> None:
    st.markdown(f"#### {escape(title_of(partial))}")
    heat_map(grid_of(partial), key="paths-so-far")


def _finished(result: Result, swept: Patch, model: Model) -> None:
    """Baselines, the heat map, and what the selected sender does (at first the strongest)."""
    controls.baselines(result)
    none = without_path(result, model)
    grid = grid_of(result)
    chosen = controls.selected(st.session_state["path"], grid, result)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.markdown(f"#### {escape(title_of(result))}")
        heat_map(grid, "paths-map", chosen, _choose, nothing=dict.fromkeys(none, "no path"))
        st.caption(legend(grid, bool(none)))
    if chosen:
        with right:
            st.markdown(f"#### `{chosen}`")
            st.markdown(sentence(chosen, result, chosen in none))
            whole = result_of(build_experiment.together_of(swept, [chosen]), model)
            st.markdown(by_all_ways(whole))
            st.caption(
                "With MLPs recomputed, a direct path still goes through every MLP above the sender: "
                "compare with frozen ones before calling an effect direct."
            )
    export.shown(result)


def _choose(chosen: str) -> None:
    st.session_state["path"] = chosen


def without_path(result: Result, model: Model) -> set[str]:
    """The senders from which nothing reaches a receiver."""
    asked, parallel = METHODS.asked(result), model.spec.parallel
    assert isinstance(asked, PathPatch), "the page shows no other results"
    return {
        place
        for row in grid_of(result).places
        for place in row
        if not asked.reaches(parse_place(place).layer or 0, parallel)
    }


def legend(grid: Grid, cut_off: bool) -> str:
    """How to read the map."""
    hatched = " Senders marked – lie above every receiver: there is no path." if cut_off else ""
    if not grid.centred:
        return (
            f"Each cell is one sender: the {grid.unit}. The gap is too small for effects.{hatched}"
        )
    return (
        "Each cell is one sender: the share of the gap that it moves by way of the receivers alone. "
        "White is nothing; red goes to the other run, and 1 would be all the way; blue away from it."
        f"{hatched} Click a cell, or move with the arrow keys and press Enter."
    )


def sentence(chosen: str, result: Result, cut_off: bool) -> str:
    """What a sender does by way of the receivers, with its numbers, as Markdown."""
    done = result.experiment
    to = to_whom(done["receivers"])
    if cut_off:
        return (
            f"`{chosen}` lies above every receiver ({to}): what it writes never gets there, so there "
            "is no path and nothing to measure."
        )
    after, effect = controls.at_place(result, chosen)
    if math.isnan(after):
        return controls.NOT_COMPUTED
    run = "clean" if done["direction"] == "denoise" else "corrupted"
    share = "" if math.isnan(effect) else f", **{percent(effect)}** of the gap"
    mlps, norms = ON_THE_WAY[done["mlps"]], ON_THE_WAY[done["norms"]]
    return (
        f"With the {run} run's `{chosen}` reaching {to} and nothing else, {escape(done['metric'])} "
        f"goes from {result.base.metric:.3g} to {after:.3g}{share}. MLPs on the way are {mlps}, "
        f"norms {norms}."
    )


def by_all_ways(whole: Result) -> str:
    """What the same place does when nothing is held, as Markdown."""
    effect = float(shares(whole))
    share = "" if math.isnan(effect) else f", **{percent(effect)}** of the gap"
    return (
        f"By all ways at once, as on the tab Patch, it goes to {float(whole.patched):.3g}{share}."
    )


def to_whom(receivers: list[str]) -> str:
    """The receivers in words, as Markdown."""
    if LOGITS in receivers:
        return "the logits"
    return " and ".join(f"`{one}`" for one in receivers)
