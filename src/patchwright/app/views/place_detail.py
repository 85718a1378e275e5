"""One place looked at closely, and places patched together."""

import math

import pandas as pd
import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import usable_effect
from patchwright.app import build_experiment
from patchwright.app.results import result_of, values_by_layer
from patchwright.app.text import error_markdown
from patchwright.app.widgets.heat_map import heat_maps
from patchwright.errors import PatchwrightError
from patchwright.figures.altair_charts import logit_difference_chart
from patchwright.figures.grid import Grid, grid_of_array, grids_of
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import parse_place
from patchwright.spelling import percent


def show_attention(place: str, experiment: Patch, model: Model) -> None:
    """What the head of a place attends to in both runs, and the difference; nothing without one."""
    parsed = parse_place(place)
    if parsed.head is None or parsed.layer is None:
        return
    try:
        found = result_of(
            build_experiment.attention_of(experiment, parsed.layer, parsed.head), model
        )
    except PatchwrightError as error:
        st.caption(error_markdown(error))
        return
    heat_maps([*grids_of(found), attention_difference(found)], "attention", numbered=True)
    st.caption("Each row is a position that attends, each column one that it attends to.")


def attention_difference(found: Result) -> Grid:
    """How much more a head looks somewhere in A than in B."""
    limit = float(abs(found.array("difference")).max())
    title, unit = "attention, A less B", "attention in A less in B"
    return grid_of_array(found, "difference", title, unit, centred=True, bounds=(-limit, limit))


def show_table(metric: str, single: dict[str, Result]) -> None:
    """Places by themselves, each changed alone: the metric and the effect."""
    frame = pd.DataFrame(
        {
            "place": list(single),
            metric: [float(one.patched) for one in single.values()],
            "effect": [float(usable_effect(one)) for one in single.values()],
        }
    )
    st.dataframe(frame, hide_index=True, height="content")


def show_details(chosen: str, experiment: Patch, model: Model) -> None:
    """More of the selected place, for who wants it."""
    parsed = parse_place(chosen)
    if parsed.head is not None and parsed.layer is not None:
        with st.expander(f"Where head {parsed.head} of layer {parsed.layer} looks"):
            show_attention(chosen, experiment, model)
    show_answer_by_layer(chosen, experiment, model)


def show_answer_by_layer(chosen: str, experiment: Patch, model: Model) -> None:
    """The logit difference that each run has reached after each layer, for who wants it."""
    with st.expander("The answer, layer by layer"):
        show_layer_chart(chosen, experiment, model)


def share_text(effect: float) -> str:
    """An effect as people read it; `no scale` where both runs give nearly the same answer."""
    return "no scale" if math.isnan(effect) else percent(effect, 1)


def show_layer_chart(place: str, experiment: Patch, model: Model) -> None:
    """The logit difference that each run has reached after each layer."""
    places: list[str] = st.session_state["places"] or [place]
    try:
        found = values_by_layer(build_experiment.lens_of(experiment, places), model)
    except PatchwrightError as error:
        st.caption(error_markdown(error))
        return
    if found is None:
        st.caption("Name a wrong answer to see the logit difference grow.")
        return
    st.altair_chart(logit_difference_chart(found))
    what = "the set" if st.session_state["places"] else place
    st.caption(
        f"The logit difference at the last position as the final norm and the unembedding would read "
        f"it after each layer (logit lens); patched is {what}."
    )
