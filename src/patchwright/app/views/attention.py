"""Attention: what the selected head looks at in both runs, and what heads look at by habit."""

from dataclasses import replace
from typing import Any

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import build_experiment, session_state
from patchwright.app.results import result_of
from patchwright.app.views import (
    ask,
    explore,
    export,
    fields,
    place_detail,
    topbar,
    workbench,
)
from patchwright.app.widgets.heat_map import heat_maps
from patchwright.figures.grid import grids_of
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import Place, parse_place
from patchwright.prompts.tokens import encode

CAPTIONS = ("In A", "In B", "A less B")


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    explore.show_tab("attention", _show_content)


def _show_content(experiment: Patch | None, bar: topbar.Bar) -> None:
    model = bar.model
    if experiment is None:
        return
    head = _select_head(model)
    assert head.layer is not None, "a head is one of a layer"
    assert head.head is not None, "a head is one of a layer"
    asked_for = build_experiment.attention_of(experiment, head.layer, head.head)
    result = result_of(asked_for, model)
    tab = explore.reading_tab("attention", experiment, model, lambda _: [])
    tab = replace(
        tab, closer=lambda _: place_detail.show_answer_by_layer(str(head), experiment, model)
    )
    explore.show_maps(tab, maps_of(result, str(head)), model)
    _show_head_scores(experiment, model)
    export.show(bar, result)


def maps_of(result: Result, head: str) -> workbench.Maps:
    """What a head looks at in A and in B, and the difference; rows look at columns."""
    grids = [*grids_of(result), place_detail.attention_difference(result)]
    return workbench.Maps(grids, result, head, CAPTIONS, of_place=True)


def _select_head(model: Model) -> Place:
    """The head that is selected, here by its numbers or on another tab by its cell."""
    now = st.session_state
    seen = parse_place(now["chosen"]) if now["chosen"] else Place("z", 0, 0, None)
    layers, heads = range(model.spec.n_layers), range(model.spec.n_heads)
    now["seen_layer"] = min(seen.layer or 0, layers[-1])
    now["seen_number"] = min(seen.head or 0, heads[-1])
    columns = st.container(key="controls").columns([2, 2, 9])
    names = {one: f"Layer {one}" for one in layers}, {one: f"Head {one}" for one in heads}
    again: dict[str, Any] = {"on_change": _take_head, **fields.UNLABELLED}
    fields.choice(columns[0], "Layer", layers, "seen_layer", names[0], **again)
    fields.choice(columns[1], "Head", heads, "seen_number", names[1], **again)
    return Place("z", now["seen_layer"], now["seen_number"], None)


def _take_head() -> None:
    now = st.session_state
    session_state.choose_place(now, f"L{now['seen_layer']}H{now['seen_number']}.z")


def _show_head_scores(experiment: Patch, model: Model) -> None:
    """Which heads look at the previous token, at duplicates, at what followed them."""
    with st.expander("Heads by what they look at"):
        different = len(set(encode(st.session_state["clean"], model.tokenizer)))
        if different < 2:
            st.caption("To repeat its words, prompt A must have two different ones.")
            return
        scores = result_of(build_experiment.head_scores_of(experiment, different), model)
        heat_maps(grids_of(scores), "scores", "", _choose_head)
        st.caption(
            "Measured on a shuffled, repeated version of prompt A: shares of attention on the token "
            "before, on earlier copies of the same token, and on what followed those (induction). Click "
            "a head to see where it looks on these prompts."
        )
        ask.show_button(scores, "open-ask-heads")


def _choose_head(chosen: str) -> None:
    numbers = dict(part.split() for part in chosen.split(", "))
    session_state.choose_place(st.session_state, f"L{numbers['layer']}H{numbers['head']}.z")
