"""Activations: where the two runs differ, and what heads attend to; nothing is patched."""

import streamlit as st

from patchwright.algorithms.difference import ARRAYS
from patchwright.algorithms.result import Result
from patchwright.app import asked, state
from patchwright.app.text import complaint
from patchwright.app.views import fields, pair, place, tabs, taken, topbar
from patchwright.app.widgets.heat_map import heat_map, panels
from patchwright.app.work import result_of
from patchwright.errors import PatchwrightError
from patchwright.figures.grid import grid_of_array, grids_of
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITE_TABLE, parse_place, pers_of
from patchwright.prompts.tokens import encode

MEASURES = {
    "relative": "size of the difference, as a share of the clean run's",
    "norm": "size of the difference (Euclidean norm)",
    "clean_norm": "size in the clean run",
    "cosine": "cosine: 1 is the same direction",
}


def show() -> None:
    """The whole page, top to bottom."""
    model = topbar.shown()
    if model is None:
        return
    tabs.shown("activations")
    st.caption(
        "Where the clean and the corrupted run differ. A difference says that information is there, "
        "not that it is used: for that, patch the place."
    )
    experiment = pair.shown(model)
    if experiment is None:
        return
    try:
        result = _differences(experiment, model)
        _attention(experiment, model)
        _scores(experiment, model)
        taken.away(result)
    except PatchwrightError as error:
        st.error(complaint(error))


def _differences(experiment: Patch, model: Model) -> Result:
    """The heat map of one site, and the places that differ most."""
    st.subheader("Where the runs differ", anchor=False)
    columns = st.columns(2)
    names = {site: f"{site}: {SITE_TABLE[site].meaning}" for site in model.spec.sites}
    site = fields.choice(columns[0], "Site", model.spec.sites, "seen_site", names)
    measure = fields.choice(columns[1], "Measure", ARRAYS, "measure", MEASURES)
    result = result_of(asked.difference_of(experiment, site), model, keep=True)
    bounds = (-1.0, 1.0) if measure == "cosine" else None
    grid = grid_of_array(
        result, measure, MEASURES[measure], centred=measure == "cosine", bounds=bounds
    )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        heat_map(grid, "differences", "", _choose)
        st.caption(
            "Click a cell to patch that place; of a head's site, to see its attention below too."
        )
    with right:
        st.markdown("**Furthest apart**")
        order = ["place", *(name for name in ARRAYS if name != "clean_norm")]
        st.dataframe(
            result.top(10)[["place", *ARRAYS]], hide_index=True, column_order=order,
            column_config={name: st.column_config.NumberColumn(format="%.2f") for name in ARRAYS},
        )  # fmt: skip
        _to_patch()
    return result


def _choose(chosen: str) -> None:
    parsed = parse_place(chosen)
    state.choose_place(st.session_state, chosen)
    st.session_state["site"] = parsed.site
    st.session_state["per"] = pers_of(parsed.site)[0]
    if parsed.head is not None:
        st.session_state["seen_head"] = f"L{parsed.layer}H{parsed.head}.z"


def _to_patch() -> None:
    chosen = st.session_state["chosen"]
    if chosen and st.button(f"Patch {chosen}", help="Opens it on the page Patch."):
        st.switch_page(st.session_state["pages"]["patch"])


def _attention(experiment: Patch, model: Model) -> None:
    """Any head's attention in both runs, and the difference."""
    seen = parse_place(st.session_state["seen_head"] or "L0H0.z")
    columns = st.columns([1, 1, 4])
    layers, heads = range(model.spec.n_layers), range(model.spec.n_heads)
    st.session_state["seen_layer"] = min(seen.layer or 0, layers[-1])
    st.session_state["seen_number"] = min(seen.head or 0, heads[-1])
    fields.choice(columns[0], "Layer", layers, "seen_layer", on_change=_take_head)
    fields.choice(columns[1], "Head", heads, "seen_number", on_change=_take_head)
    now = st.session_state
    st.markdown(f"#### What head {now['seen_layer']}.{now['seen_number']} attends to")
    place.attention(f"L{now['seen_layer']}H{now['seen_number']}.z", experiment, model)


def _take_head() -> None:
    now = st.session_state
    now["seen_head"] = f"L{now['seen_layer']}H{now['seen_number']}.z"


def _scores(experiment: Patch, model: Model) -> None:
    """Which heads look at the previous token, at duplicates, at what followed them."""
    st.subheader("Heads by what they attend to", anchor=False)
    different = len(set(encode(st.session_state["clean"], model.tokenizer)))
    if different < 2:
        st.caption("To repeat its words, the clean prompt must have two different ones.")
        return
    scores = result_of(asked.scores_of(experiment, different), model)
    panels(grids_of(scores), "scores", "", _choose_head)
    st.caption(
        "Shares of attention where the clean prompt's words are repeated in a random order: on the "
        "token before, on earlier copies of the same token, and on what followed those (induction). "
        "Click a head to see its attention on these prompts."
    )


def _choose_head(chosen: str) -> None:
    numbers = dict(part.split() for part in chosen.split(", "))
    st.session_state["seen_head"] = f"L{numbers['layer']}H{numbers['head']}.z"
