"""The tab Paths: what it asks for, shows and says, without a browser."""

from typing import Any

import numpy as np
import pytest

import patchwright as pw
from app_pages import errors, facts, looked_at, one_view, settled, workbench
from patchwright.algorithms.paths import RECEIVERS, SENDERS
from patchwright.app import session_state
from patchwright.app.views import controls, path_place
from patchwright.app.widgets.heat_map import map_data
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
    said = workbench(page)["inspector"]
    assert looked_at(page) == top["place"]
    assert "from A into B, seen by the logits and nothing else" in said["sentence"]
    assert f"to {top['patched']:.2f}: {percent(top['effect'])} of the way to A" in said["sentence"]
    assert said["ruler"]["value"] == top["patched"]
    whole = pw.patch_together(demo, pair, [top["place"]])
    by_all_ways = f"to {float(whole.patched):.2f}, {percent(float(whole.effect))} of the gap"
    assert facts(page)["by all ways at once"].startswith(by_all_ways)
    assert workbench(page)["maps"][0]["nothing"] == {}


@on_the_page
def test_a_receiver_is_added_by_its_numbers_and_senders_above_it_have_no_path() -> None:
    page = one_view("paths")
    page.selectbox(key="receiver_layer").set_value(2).run()
    page.selectbox(key="receiver_head").set_value(1).run()
    settled(page.button(key="add_receiver").click().run())
    assert errors(page) == []
    assert page.multiselect(key="receivers").value == ["L2H1.q"]
    (shown,) = workbench(page)["maps"]
    assert set(shown["nothing"]) == {
        f"L{layer}H{head}.z" for layer in (2, 3, 4, 5) for head in range(6)
    }
    assert set(shown["nothing"].values()) == {"no path"}
    page.session_state["chosen"] = "L4H0.z"
    settled(page.run())
    said = workbench(page)["inspector"]
    assert said["sentence"].startswith("L4H0.z lies above every receiver (L2H1.q)")
    assert said["ruler"] is None


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
    asked |= {"mlps": "freeze", "norms": "freeze", "direction": "noise", "chosen": "L1.attn_out@3"}
    page = one_view("paths", **asked)
    assert errors(page) == []
    assert looked_at(page) == "L1.attn_out@3"
    sentence = workbench(page)["inspector"]["sentence"]
    assert "from B into A, seen by L3H1.q and L3.mlp_out and nothing else" in sentence
    assert facts(page)["on the way"] == "heads frozen, MLPs frozen, norms frozen"
    assert {name: str(value) for name, value in page.query_params.items()} == {
        "model": "demo"
    } | asked


@on_the_page
@pytest.mark.parametrize(
    ("receivers", "says"),
    [
        (["L3H1.z"], "'L3H1.z' cannot receive"),
        (["L0H1.q"], "Every sender lies above its receivers"),
        (["L77.q"], "The maps and lists on this page have those that there are."),
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
    none = path_place.unreached_senders(result, model)
    table = result.table().set_index("place")
    base = result.base.metric
    assert all(table.loc[place, "patched"] == base for place in none)
    moved = table[(table["patched"] - base).abs() > 1e-12].index
    # Of the embedding nothing gets from the differing position to the end: heads are held.
    assert len(moved) or sender == "embed"
    assert not none & set(moved)


def test_the_map_is_empty_where_there_is_no_path_and_says_so(model: Model) -> None:
    result = pw.path_patch(model, PAIR, ["L1H0.q"])
    none = path_place.unreached_senders(result, model)
    assert none
    data = map_data(grid_of(result), "", dict.fromkeys(none, "no path"))
    for values, places in zip(data["values"], data["places"], strict=True):
        assert [value is None for value in values] == [place in none for place in places]
    assert set(data["nothing"]) == none


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_sentence_carries_the_results_numbers(model: Model, direction: str) -> None:
    result = pw.path_patch(model, PAIR, ["L2H1.k"], direction=direction)
    for place, patched, effect in result.table()[["place", "patched", "effect"]].to_numpy():
        text = path_place.sentence(place, result, False)
        assert f"from {result.base.metric:.2f} to {patched:.2f}: {percent(effect)} of the" in text
        assert ("from A into B" in text) == (direction == "denoise")
    stopped = pw.path_patch(model, PAIR, ["L2H1.k"], progress=lambda _: False)
    assert np.isnan(stopped.patched.values).any()
    assert path_place.sentence("L0H0.z", stopped, False) == controls.NOT_COMPUTED


def test_what_of_a_cell_receives_is_what_is_chosen_of_it(grouped: str) -> None:
    model = pw.load_model(grouped)
    result = pw.path_patch(model, PAIR)
    cells = {kind: path_place.receiver_at("L1H3.z", kind, result, model) for kind in RECEIVERS}
    assert cells == {"q": "L1H3.q", "k": "L1H1.k", "v": "L1H1.v", "mlp_out": "L1.mlp_out"}
    for place, receiver in {
        "L2.attn_out": "L2.k",
        "L2.mlp_out": "L2.mlp_out",
        "L2H0.z@1": "L2H0.k@1",
        "L0H1.z": "",
        "embed@2": "",
    }.items():
        assert path_place.receiver_at(place, "k", result, model) == receiver, place
    assert path_place.receiving_places(["L1H1.k"], grid_of(result), model) == ["L1H2.z", "L1H3.z"]


@on_the_page
def test_the_selected_cell_is_offered_as_receiver_and_marked_once_it_is_one() -> None:
    page = one_view("paths", chosen="L3H1.z")
    said = workbench(page)["inspector"]
    assert (said["add"], said["inSet"]) == ("Add L3H1.q as receiver", False)
    settled(page.selectbox(key="receiver_site").set_value("v").run())
    assert workbench(page)["inspector"]["add"] == "Add L3H1.v as receiver"
    page = one_view("paths", chosen="L3H1.z", receivers="L3H1.q")
    bench = workbench(page)
    assert bench["inspector"]["inSet"]
    assert bench["maps"][0]["set"] == ["L3H1.z"]


@on_the_page
def test_an_address_of_before_chose_its_sender_by_another_name() -> None:
    assert looked_at(one_view("paths", path="L2H3.z")) == "L2H3.z"
