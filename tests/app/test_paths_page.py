"""The page Paths: what it asks for, shows and says, without a browser."""

from typing import Any

import numpy as np
import pytest

import patchwright as pw
from app_pages import errors, one_view, settled, words
from patchwright.algorithms.paths import SENDERS
from patchwright.app import session_state
from patchwright.app.views import controls
from patchwright.app.views import paths as view
from patchwright.app.widgets.heat_map import data_of
from patchwright.figures.grid import grid_of
from patchwright.model.load import Model
from patchwright.places import pers_of
from patchwright.prompts.examples import example
from patchwright.spelling import percent
from tiny import pair_of

on_the_page = pytest.mark.filterwarnings("default")
PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])


@on_the_page
def test_the_first_paint_follows_every_head_to_the_logits(demo: pw.Model) -> None:
    page = one_view("paths")
    assert errors(page) == []
    pair = example("ioi").pair
    top = pw.path_patch(demo, pair, direction="denoise").top(1).iloc[0]
    assert f"With the clean run's `{top['place']}` reaching the logits" in words(page)
    assert f"to {top['patched']:.3g}, **{percent(top['effect'])}** of the gap" in words(page)
    whole = pw.patch_together(demo, pair, [top["place"]])
    assert f"it goes to {float(whole.patched):.3g}, **{percent(float(whole.effect))}**" in words(
        page
    )
    assert "there is no path" not in words(page)


@on_the_page
def test_a_receiver_is_added_by_its_numbers_and_senders_above_it_have_no_path() -> None:
    page = one_view("paths")
    page.selectbox(key="receiver_layer").set_value(2).run()
    page.selectbox(key="receiver_head").set_value(1).run()
    settled(page.button(key="add_receiver").click().run())
    assert errors(page) == []
    assert page.multiselect(key="receivers").value == ["L2H1.q"]
    assert "Senders marked – lie above every receiver" in words(page)
    page.session_state["path"] = "L4H0.z"
    settled(page.run())
    assert "`L4H0.z` lies above every receiver (`L2H1.q`)" in words(page)


@on_the_page
def test_a_list_of_receiving_heads_has_as_many_as_the_site(grouped: str) -> None:
    page = one_view("paths", model=grouped)
    for site, count in {"q": 4, "k": 2, "v": 2}.items():
        page.selectbox(key="receiver_site").set_value(site).run()
        assert page.selectbox(key="receiver_head").options == ["all", *map(str, range(count))], site


@on_the_page
@pytest.mark.parametrize("sender", SENDERS)
def test_every_sender_can_be_followed_its_ways(sender: str) -> None:
    page = one_view("paths")
    page.selectbox(key="sender").set_value(sender).run()
    for per in pers_of(sender):  # pyright: ignore[reportArgumentType]
        settled(page.selectbox(key="sender_per").set_value(per).run())
        assert errors(page) == [], per


@on_the_page
def test_the_address_brings_back_what_was_chosen_and_seen() -> None:
    asked = {"sender": "attn_out", "sender_per": "position", "receivers": "L3H1.q~L3.mlp_out"}
    asked |= {"mlps": "freeze", "norms": "freeze", "direction": "noise", "path": "L1.attn_out@3"}
    page = one_view("paths", **asked)
    assert errors(page) == []
    assert "With the corrupted run's `L1.attn_out@3` reaching `L3H1.q` and `L3.mlp_out`" in words(
        page
    )
    assert "MLPs on the way are frozen, norms frozen" in words(page)
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
    page = one_view("paths")
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
    page = one_view("paths", corrupt=longer, **own)
    assert any("same number of tokens" in one for one in errors(page))


def test_a_receiver_is_added_once() -> None:
    page: dict[Any, Any] = {}
    session_state.prepare(page)
    session_state.add_to_set(page, "L2H1.q", "receivers")
    session_state.add_to_set(page, "L2H1.q", "receivers")
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
    assert view.sentence("L0H0.z", stopped, False) == controls.NOT_COMPUTED
