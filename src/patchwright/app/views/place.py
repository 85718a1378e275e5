"""One place looked at closely, and places patched together."""

import math

import pandas as pd
import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import shares
from patchwright.app import asked, state
from patchwright.app.text import complaint, plain, token
from patchwright.app.views import fields, kinds
from patchwright.app.widgets.heat_map import panels
from patchwright.app.work import layers_of, result_of
from patchwright.errors import PatchwrightError
from patchwright.figures.altair_charts import accumulated_chart, top_chart
from patchwright.figures.grid import grid_of_array, grids_of
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import HEAD_SITES, Place, check_site, layer_named, n_heads_of, parse_place
from patchwright.spelling import percent


def picker(result: Result, model: Model) -> None:
    """Choose any place of the model: by its name, or by site, layer, head and position."""
    with st.popover("Choose a place by name or number", icon=":material/my_location:"):
        st.text_input(
            "Place", key="typed", placeholder="L1H2.z@-1", on_change=_take_typed, args=(model, result),
            help="As in L9.resid_pre@14, L9H6.z, L3.mlp_act[217]@2; @-1 is the last position.",
        )  # fmt: skip
        if said := st.session_state.get("typed_complaint"):
            st.error(said)
        site = check_site(
            fields.choice(st.container(), "Site", model.spec.sites, "pick_site", usual="resid_pre")
        )
        columns = st.columns(3)
        layer = fields.choice(columns[0], "Layer", range(model.spec.n_layers), "pick_layer")
        own = range(n_heads_of(site, model.spec)) if site in HEAD_SITES else ()
        head = fields.choice(columns[1], "Head", ["all", *own], "pick_head")
        positions = ["all", *range(len(result.position_tokens or ()))]
        position = fields.choice(columns[2], "Position", positions, "pick_position")
        picked = Place(
            site,
            layer_named(site, layer),
            None if head == "all" else int(head),
            None if position == "all" else int(position),
        )
        st.button(
            f"Look at {picked}", on_click=state.choose_place, args=(st.session_state, str(picked))
        )


def _take_typed(model: Model, result: Result) -> None:
    """Choose the place whose name was typed, or say what is wrong with it."""
    st.session_state["typed_complaint"] = None
    n = len(result.position_tokens or ())
    try:
        typed = parse_place(st.session_state["typed"]).within(model.spec, n)
    except PatchwrightError as error:
        st.session_state["typed_complaint"] = complaint(error)
    else:
        state.choose_place(st.session_state, str(typed))


def panel(place: str, experiment: Patch, result: Result, model: Model) -> None:
    """A sentence, the three predictions, both logits, and its attention if it is a head."""
    try:
        one = result_of(asked.together_of(experiment, [place]), model)
    except PatchwrightError as error:
        st.error(complaint(error))
        return
    assert one.altered is not None, "places patched together are one altered run"
    title, add = st.columns([3, 2], vertical_alignment="center")
    title.markdown(f"#### `{place}`")
    add.button(
        "Add to set", on_click=state.add_to_set, args=(st.session_state, place), width="stretch",
        disabled=place in st.session_state["places"],
        help="Collect places here, and see below what they do when patched together.",
    )  # fmt: skip
    st.markdown(sentence(place, one, result))
    runs = {"clean": one.clean, "corrupted": one.corrupt, "patched": one.altered}
    st.altair_chart(top_chart(runs))
    if one.altered.wrong_logit is not None:
        rows = {
            name: {"answer": run.answer_logit, "wrong answer": run.wrong_logit}
            for name, run in runs.items()
        }
        with st.expander("Logits of the answer and of the wrong answer"):
            st.table(pd.DataFrame(rows).T.map(lambda value: f"{value:.2f}"))
            st.caption("A logit difference rises as well where only the wrong answer was damaged.")


def sentence(place: str, one: Result, swept: Result | None = None) -> str:
    """What patching a place did, with its numbers, as Markdown: those of its cell where it is `swept`."""
    assert one.altered is not None, "places patched together are one altered run"
    done = one.experiment
    direction = "clean" if done["direction"] == "denoise" else "corrupted"
    after, effect = one.altered.metric, float(shares(one))
    if swept is not None and kinds.is_exact(swept, place):
        after, effect = kinds.at_place(swept, place)
    moved = f"{one.base.metric:.2f} to {after:.2f}"
    share = "" if math.isnan(effect) else f", {percent(effect)} of the gap"
    first = token(one.altered.top[0]["token"])
    return (
        f"With the {direction} run's `{place}` copied in, {plain(done['metric'])} goes from "
        f"{moved}{share}; the likeliest next token is then **{first}**."
    )


def attention(place: str, experiment: Patch, model: Model) -> None:
    """What the head of a place attends to in both runs, and the difference; nothing without one."""
    parsed = parse_place(place)
    if parsed.head is None or parsed.layer is None:
        return
    st.markdown(f"#### What head {parsed.layer}.{parsed.head} attends to")
    try:
        found = result_of(asked.attention_of(experiment, parsed.layer, parsed.head), model)
    except PatchwrightError as error:
        st.caption(complaint(error))
        return
    limit = float(abs(found.array("difference")).max())
    change = grid_of_array(
        found, "difference", "attention, clean − corrupted", "clean − corrupted",
        centred=True, bounds=(-limit, limit),
    )  # fmt: skip
    panels([*grids_of(found), change], "attention", numbered=True)
    st.caption("Each row is a position that attends, each column one that it attends to.")


def together(experiment: Patch, model: Model) -> None:
    """The set: places patched in one run, their joint effect beside the sum of the single ones."""
    st.subheader("Patched together", anchor=False)
    st.multiselect(
        "The set of places", st.session_state["places"], key="places", accept_new_options=True,
        **fields.KEPT,
        placeholder="Add the place above with its button, or type one such as L1H2.z@-1",
    )  # fmt: skip
    places: list[str] = st.session_state["places"]
    if not places:
        st.caption("Places that do little alone may do much together, and the other way round.")
        return
    try:
        written = [str(place) for place in asked.set_of(st.session_state)]
        joint = result_of(asked.together_of(experiment, written), model)
        single = {
            place: result_of(asked.together_of(experiment, [place]), model) for place in written
        }
    except PatchwrightError as error:
        st.error(complaint(error))
        return
    effects = [float(shares(one)) for one in single.values()]
    columns = st.columns(3)
    columns[0].metric("Effect together", _shown(float(shares(joint))))
    columns[1].metric("Sum of the single effects", _shown(sum(effects)))
    columns[2].metric(experiment.metric, f"{float(joint.patched):.3g}")
    frame = pd.DataFrame(
        {
            "place": list(single),
            experiment.metric: [float(one.patched) for one in single.values()],
            "effect": effects,
        }
    )
    st.dataframe(frame, hide_index=True, height="content")


def _shown(effect: float) -> str:
    return "no scale" if math.isnan(effect) else percent(effect, 1)


def by_layer(place: str, experiment: Patch, model: Model) -> None:
    """The logit difference that each run has reached after each layer."""
    st.subheader("The answer, layer by layer", anchor=False)
    places: list[str] = st.session_state["places"] or [place]
    try:
        found = layers_of(asked.lens_of(experiment, places), model)
    except PatchwrightError as error:
        st.caption(complaint(error))
        return
    if found is None:
        st.caption("Name a wrong answer to see the logit difference grow.")
        return
    st.altair_chart(accumulated_chart(found))
    what = "the set" if st.session_state["places"] else place
    st.caption(
        f"The logit difference at the last position as the final norm and the unembedding would read "
        f"it after each layer (logit lens); patched is {what}."
    )
