"""The page Paths: what it asks for, shows and says, without a browser."""

from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import patchwright as pw
from patchwright.app import state
from patchwright.app.text import BREAK
from patchwright.app.views import kinds
from patchwright.app.views import paths as view
from patchwright.app.widgets.heat_map import data_of
from patchwright.figures.grid import grid_of
from patchwright.methods.paths import SENDERS
from patchwright.model.load import Model
from patchwright.places import pers_of
from patchwright.prompts.examples import example
from patchwright.spelling import percent
from patience import SECONDS
from settled import settled
from tiny import pair_of

on_the_page = pytest.mark.filterwarnings("default")
PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])


def _page() -> None:
    import streamlit as st

    from patchwright.app import address, state
    from patchwright.app.views import paths

    first_time = "clean" not in st.session_state
    state.prepare(st.session_state)
    if first_time:
        state.take(st.session_state, address.read("paths", st.query_params))
    paths.show()
    st.query_params.from_dict(address.written("paths", st.session_state))


def opened(**parameters: str) -> AppTest:
    page = AppTest.from_function(_page, default_timeout=SECONDS)
    for name, value in parameters.items():
        page.query_params[name] = value
    return settled(page.run())


def errors(page: AppTest) -> list[str]:
    return [one.value.replace(BREAK, "").replace("\\", "") for one in page.error]


def said(page: AppTest) -> str:
    texts = [*page.markdown, *page.caption]
    return " ".join(one.value for one in texts).replace(BREAK, "").replace("\\", "")


@on_the_page
def test_the_first_paint_follows_every_head_to_the_logits(demo: pw.Model) -> None:
    page = opened()
    assert errors(page) == []
    pair = example("ioi").pair
    top = pw.path_patch(demo, pair, direction="denoise").top(1).iloc[0]
    assert f"With the clean run's `{top['place']}` reaching the logits" in said(page)
    assert f"to {top['patched']:.3g}, **{percent(top['effect'])}** of the gap" in said(page)
    whole = pw.patch_together(demo, pair, [top["place"]])
    assert f"it goes to {float(whole.patched):.3g}, **{percent(float(whole.effect))}**" in said(
        page
    )
    assert "there is no path" not in said(page)


@on_the_page
def test_a_receiver_is_added_by_its_numbers_and_senders_above_it_have_no_path() -> None:
    page = opened()
    page.selectbox(key="receiver_layer").set_value(2).run()
    page.selectbox(key="receiver_head").set_value(1).run()
    settled(page.button(key="add_receiver").click().run())
    assert errors(page) == []
    assert page.multiselect(key="receivers").value == ["L2H1.q"]
    assert "Senders marked – lie above every receiver" in said(page)
    page.session_state["path"] = "L4H0.z"
    settled(page.run())
    assert "`L4H0.z` lies above every receiver (`L2H1.q`)" in said(page)


@on_the_page
def test_a_list_of_receiving_heads_has_as_many_as_the_site(grouped: str) -> None:
    page = opened(model=grouped)
    for site, count in {"q": 4, "k": 2, "v": 2}.items():
        page.selectbox(key="receiver_site").set_value(site).run()
        assert page.selectbox(key="receiver_head").options == ["all", *map(str, range(count))], site


@on_the_page
@pytest.mark.parametrize("sender", SENDERS)
def test_every_sender_can_be_followed_its_ways(sender: str) -> None:
    page = opened()
    page.selectbox(key="sender").set_value(sender).run()
    for per in pers_of(sender):  # pyright: ignore[reportArgumentType]
        settled(page.selectbox(key="sender_per").set_value(per).run())
        assert errors(page) == [], per


@on_the_page
def test_the_address_brings_back_what_was_chosen_and_seen() -> None:
    asked = {"sender": "attn_out", "sender_per": "position", "receivers": "L3H1.q~L3.mlp_out"}
    asked |= {"mlps": "freeze", "norms": "freeze", "direction": "noise", "path": "L1.attn_out@3"}
    page = opened(**asked)
    assert errors(page) == []
    assert "With the corrupted run's `L1.attn_out@3` reaching `L3H1.q` and `L3.mlp_out`" in said(
        page
    )
    assert "MLPs on the way are frozen, norms frozen" in said(page)
    assert {name: str(value) for name, value in page.query_params.items()} == {
        "model": "demo"
    } | asked


@on_the_page
@pytest.mark.parametrize(
    ("receivers", "says"),
    [
        (["L3H1.z"], "'L3H1.z' cannot receive"),
        (["L0H1.q"], "Every sender lies above its receivers"),
        (["L77.q"], "The selectors on this page offer those that there are."),
        (["<b>x</b>"], "is not a place"),
        (["logits", "L3H1.q"], "The logits are a receiver by themselves"),
    ],
)
def test_receivers_that_cannot_be_are_one_sentence(receivers: list[str], says: str) -> None:
    page = opened()
    page.session_state["receivers"] = receivers
    settled(page.run())
    assert len(errors(page)) == 1
    assert says in errors(page)[0]
    assert "`patchwright" not in errors(page)[0]
    page.session_state["receivers"] = []
    settled(page.run())
    assert errors(page) == []


@on_the_page
def test_prompts_of_unequal_length_have_no_paths_and_the_page_says_so() -> None:
    pair = example("ioi").pair
    longer = str(pair.corrupt).replace("store", "big store")
    own = {"clean": str(pair.clean), "answer": " Mary", "wrong": " John", "align": "edges"}
    page = opened(corrupt=longer, **own)
    assert any("same number of tokens" in one for one in errors(page))


def test_a_receiver_is_added_once() -> None:
    page: dict[Any, Any] = {}
    state.prepare(page)
    state.add_receiver(page, "L2H1.q")
    state.add_receiver(page, "L2H1.q")
    assert page["receivers"] == ["L2H1.q"]


@pytest.mark.parametrize("receivers", [["logits"], ["L1H0.q"], ["L1.mlp_out", "L2H1.v"]])
@pytest.mark.parametrize("sender", SENDERS)
def test_senders_without_a_path_are_those_that_change_nothing_whatever_they_send(
    model: Model, sender: str, receivers: list[str]
) -> None:
    result = pw.path_patch(model, PAIR, receivers, site=sender)
    none = view.without_path(result, model)
    table = result.table().set_index("place")
    base = result.base.metric
    assert all(table.loc[place, "patched"] == base for place in none)
    moved = table[(table["patched"] - base).abs() > 1e-12].index
    # Of the embedding nothing gets from the differing position to the end: heads are held.
    assert len(moved) or sender == "embed"
    assert not none & set(moved)


def test_the_map_is_empty_where_there_is_no_path_and_says_so(model: Model) -> None:
    result = pw.path_patch(model, PAIR, ["L1H0.q"])
    none = view.without_path(result, model)
    assert none
    data = data_of(grid_of(result), "", dict.fromkeys(none, "no path"))
    for values, places in zip(data["values"], data["places"], strict=True):
        assert [value is None for value in values] == [place in none for place in places]
    assert set(data["nothing"]) == none


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_sentence_carries_the_results_numbers(model: Model, direction: str) -> None:
    result = pw.path_patch(model, PAIR, ["L2H1.k"], direction=direction)
    for place, patched, effect in result.table()[["place", "patched", "effect"]].to_numpy():
        text = view.sentence(place, result, False)
        assert f"from {result.base.metric:.3g} to {patched:.3g}, **{percent(effect)}**" in text
        assert ("clean run's" in text) == (direction == "denoise")
    stopped = pw.path_patch(model, PAIR, ["L2H1.k"], progress=lambda _: False)
    assert np.isnan(stopped.patched.values).any()
    assert view.sentence("L0H0.z", stopped, False) == kinds.NOT_COMPUTED
