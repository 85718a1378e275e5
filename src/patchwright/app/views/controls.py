"""What pages that sweep have in common: which kind of place, both baselines, one cell."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale
from patchwright.app.page_controls import has_role
from patchwright.app.text import escape
from patchwright.app.views import fields
from patchwright.axes import Per
from patchwright.model.load import Model
from patchwright.places import SITE_TABLE, Site, check_site, parse_place, pers_of

SITE_NAMES = {site: row.label for site, row in SITE_TABLE.items()}

METRIC_NAMES = {name: row.label for name, row in METRIC_TABLE.items()}

PER_NAMES: dict[Per, str] = {
    "position": "layers × tokens",
    "head": "heads, all tokens",
    "head_position": "heads × tokens",
    "layer": "layers, all tokens",
    "neuron": "neurons, all tokens",
}

DIRECTION_NAMES = {
    "denoise": "A → B: what is enough?",
    "noise": "B → A: what is needed?",
}

DIRECTION_HELP = (
    "From A into B (denoising) asks whether a place is enough to bring A's answer back; from B into A "
    "(noising) asks whether the answer can do without it. They are not mirror images."
)

METRIC_HELP = (
    "The logit difference is the answer's logit (the model's score for it) minus the wrong answer's. "
    "It is linear in what the network writes, and does not saturate as probabilities do."
)

NOT_COMPUTED = "This cell is not computed: the work has not come to it, or was stopped before it."


def show_site_and_per(
    columns: Sequence[DeltaGenerator],
    sites: Sequence[Site],
    site_key: str,
    per_key: str,
    chosen_key: str,
    model: Model,
    label: str = "What is copied",
    help: str = "Which kind of activation is replaced.",
    **more: Any,
) -> None:
    """Which kind of place a sweep goes over; of neurons, in which layer.

    `more` goes to both controls. With another kind the place under `chosen_key` is forgotten: it was one of another map.
    """
    sites = [site for site in sites if site in model.spec.sites]
    meanings = "\n".join(f"- `{site}`: {SITE_TABLE[site].meaning}" for site in sites)
    fields.choice(
        columns[0],
        label,
        sites,
        site_key,
        SITE_NAMES,
        on_change=_take_usual_per,
        args=(site_key, per_key, chosen_key),
        help=f"{help}\n\n{meanings}",
        **more,
    )
    pers = pers_of(check_site(st.session_state[site_key]))
    fields.choice(
        columns[1],
        "Patch per",
        pers,
        per_key,
        PER_NAMES,
        on_change=_forget_place,
        args=(chosen_key,),
        help="What is taken at one time: each place is one cell of the heat map.",
        **more,
    )
    if st.session_state[per_key] == "neuron":
        last = model.spec.n_layers - 1
        st.session_state["neuron_layer"] = min(int(st.session_state["neuron_layer"]), last)
        fields.number_input(
            columns[1],
            "Layer",
            0,
            last,
            "neuron_layer",
            on_change=_forget_place,
            args=(chosen_key,),
        )


def _take_usual_per(site_key: str, per_key: str, chosen_key: str) -> None:
    st.session_state[per_key] = pers_of(check_site(st.session_state[site_key]))[0]
    _forget_place(chosen_key)


def _forget_place(chosen_key: str) -> None:
    st.session_state[chosen_key] = ""


def show_warnings(result: Result) -> None:
    """What is to be said about both unpatched runs."""
    for message in warning_texts(result):
        st.warning(escape(message))


def warning_texts(result: Result) -> list[str]:
    """What a result warns of, but for what is said where its model and its prompts are chosen."""
    said = ("quantized", "chat_turn", "template_system", "template_date", "bos_added")
    return [one["message"] for one in result.warnings if one["code"] not in said]


def absolute_place(chosen: str, result: Result) -> str:
    """A place with its position counted from the first token, as cells have it."""
    if has_role(chosen):
        return chosen
    n_positions = len(result.position_tokens or ())
    place = parse_place(chosen)
    if place.position is not None and -n_positions <= place.position < 0:
        return str(replace(place, position=place.position + n_positions))
    return chosen


def is_exact(result: Result, chosen: str) -> bool:
    """Whether a sweep has the cell, computed and not estimated."""
    if "patched" not in result.arrays:
        return False
    table = result.table()
    row = table[table["place"] == chosen]
    return not row.empty and ("estimated" not in row or not row["estimated"].iloc[0])


def metric_and_effect(result: Result, chosen: str) -> tuple[float, float]:
    """The metric and the effect of a cell; NaN where it was not computed, or there is no scale."""
    table = result.table()
    row = table[table["place"] == chosen]
    if row.empty:
        return math.nan, math.nan
    effect = cast("float", row["effect"].iloc[0]) if has_scale(result) else math.nan
    return cast("float", row["patched"].iloc[0]), effect
