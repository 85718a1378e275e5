"""Paths: what a place does by way of chosen receivers, and no other way."""

from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

import streamlit as st

from patchwright.algorithms.paths import SENDERS, parse_receivers
from patchwright.algorithms.result import Result
from patchwright.app import build_experiment, session_state
from patchwright.app.views import (
    controls,
    explore,
    export,
    fields,
    path_place,
    progress,
    topbar,
    workbench,
)
from patchwright.axes import DIRECTIONS, METRICS
from patchwright.experiment.run import tokens_of
from patchwright.figures.grid import grid_of
from patchwright.methods.patch import Patch
from patchwright.methods.paths import OnTheWay, PathPatch
from patchwright.model.load import Model
from patchwright.places import Place, check_site, n_heads_of

RECEIVER_NAMES = {
    "q": "queries of a head",
    "k": "keys of a head",
    "v": "values of a head",
    "mlp_out": "an MLP",
}
CAUTION = (
    "With MLPs recomputed, a direct path still goes through every MLP above the sender: compare with "
    "frozen ones before calling an effect direct."
)


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    explore.show_tab("paths", _show_content)


def _show_content(swept: Patch | None, bar: topbar.Bar) -> None:
    model = bar.model
    if swept is None:
        return
    _show_controls(model)
    experiment = build_experiment.path_patch_of(st.session_state, swept)
    _check_receivers(experiment, swept, model)
    draw = partial(_draw, swept=swept, model=model)
    results = progress.draw_sweeps({"paths": experiment}, draw, model, "senders")
    if results is not None:
        controls.show_warnings(results[0])
        if experiment.mlps == "recompute":
            st.caption(CAUTION)
        export.show(bar, results[0])


def _show_controls(model: Model) -> None:
    """Who sends, who receives, and what happens between."""
    columns = st.container(key="controls").columns([2.4, 2.4, 5.4, 2.8, 1.2])
    controls.show_site_and_per(
        columns[:2],
        SENDERS,
        "sender",
        "sender_per",
        "chosen",
        model,
        "Senders",
        "Whose activation is copied.",
        **fields.UNLABELLED,
    )
    columns[2].multiselect(
        "Receivers",
        st.session_state["receivers"],
        accept_new_options=True,
        **fields.persistent_key("receivers"),
        placeholder="To the logits. Add a cell as receiver, or type L3H1.q",
        help="Without any, the logits. Add some from the map, or type them, such as L3H1.q or L2.mlp_out.",
        **fields.UNLABELLED,
    )
    fields.choice(
        columns[3],
        "Receiver",
        list(RECEIVER_NAMES),
        "receiver_site",
        {site: f"add {name}" for site, name in RECEIVER_NAMES.items()},
        **fields.UNLABELLED,
    )
    with columns[4].popover("⚙", help="Direction, metric, what is frozen", width="stretch"):
        _show_options()
        _show_add_receiver(model)


def _show_options() -> None:
    """Which way, what happens between, and how the answer is measured."""
    first, second = st.columns(2), st.columns(2)
    fields.choice(
        first[0],
        "Direction",
        DIRECTIONS,
        "direction",
        controls.DIRECTION_NAMES,
        help=controls.DIRECTION_HELP,
    )
    fields.choice(
        first[1], "Metric", METRICS, "metric", controls.METRIC_NAMES, help=controls.METRIC_HELP
    )
    fields.choice(
        second[0],
        "MLPs on the way",
        get_args(OnTheWay),
        "mlps",
        path_place.ON_THE_WAY_NAMES,
        help="Recomputed, as in the paper: what an MLP makes of the change counts as part of the "
        "path. Frozen: only what the sender itself writes arrives.",
    )
    fields.choice(
        second[1],
        "Norms on the way",
        get_args(OnTheWay),
        "norms",
        path_place.ON_THE_WAY_NAMES,
        help="Frozen norms divide by what they divide by in the run that is patched: a large change "
        "is then not damped.",
    )


def _show_add_receiver(model: Model) -> None:
    """Add a receiver that is not on the map, by its layer and head."""
    columns = st.columns([1, 1, 2], vertical_alignment="bottom")
    site, layers = check_site(st.session_state["receiver_site"]), range(model.spec.n_layers)
    layer = fields.choice(columns[0], "Layer", layers, "receiver_layer", usual=layers[-1])
    heads = ["all"] if site == "mlp_out" else ["all", *range(n_heads_of(site, model.spec))]
    head = fields.choice(columns[1], "Head", heads, "receiver_head")
    added = str(Place(site, layer, None if head == "all" else int(head)))
    columns[2].button(
        f"Add {added}", on_click=_add_receiver, args=(added,), width="stretch", key="add_receiver"
    )


def _add_receiver(receiver: str) -> None:
    if receiver:
        session_state.add_to_set(st.session_state, receiver, "receivers")


def _check_receivers(experiment: PathPatch, swept: Patch, model: Model) -> None:
    """Raise InputError for receivers that cannot be followed."""
    assert not isinstance(swept.pairs, tuple), "the page has one pair"
    tokens = tokens_of(swept.pairs, experiment, model)
    parse_receivers(experiment.receivers, model.spec, len(tokens.clean))


def _draw(
    results: Sequence[Result], under_way: dict[str, Any] | None, swept: Patch, model: Model
) -> None:
    """The senders, and what the selected one does by way of the receivers (at first the strongest)."""
    (result,) = results
    followed = build_experiment.path_patch_of(st.session_state, swept).receivers
    if followed != path_place.path_experiment(result).receivers:
        st.rerun()  # A receiver was added on the map, and the controls above show it too.
    grid, none = grid_of(result), path_place.unreached_senders(result, model)
    maps = workbench.Maps(
        [grid],
        result,
        workbench.strongest_place(grid, result),
        progress=under_way,
        legend=path_place.legend(result, grid.centred),
        nothing=dict.fromkeys(none, "no path"),
    )
    chosen = workbench.place_on_maps(st.session_state["chosen"], maps)
    receiver = _receiver(result, model, chosen)
    said = path_place.inspector_data(chosen, result, chosen in none, swept, model)
    said["facts"] += workbench.pin_facts(
        maps, chosen, lambda one: controls.metric_and_effect(result, one)[1]
    )
    said |= {
        "add": f"Add {receiver} as receiver" if receiver else "",
        "addHelp": "Follow what senders write to this place alone. Shift-click adds a cell too.",
        "inSet": receiver in st.session_state["receivers"],
    }
    marked = path_place.receiving_places(st.session_state["receivers"], grid, model)
    add = {"add": lambda place: _add_receiver(_receiver(result, model, place))}
    workbench.show("paths", maps, workbench.Bench(said, None, marked, add), ["paths"])


def _receiver(result: Result, model: Model, place: str) -> str:
    """What of a cell would receive: of a head, what is chosen above."""
    return path_place.receiver_at(place, st.session_state["receiver_site"], result, model)
