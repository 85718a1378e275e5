from dataclasses import replace
from typing import Any

import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from patchwright.algorithms.result import Result
from patchwright.app import build_experiment, session_state
from patchwright.app.views import inspector
from patchwright.app.widgets.chips import chips_html, columns_of
from patchwright.app.widgets.heat_map import map_data
from patchwright.figures.grid import grid_of
from patchwright.methods.ablate import ablate_together
from patchwright.methods.attention import attention
from patchwright.methods.lens import logit_attribution
from patchwright.methods.patch import Patch, patch, patch_together
from patchwright.model.load import Model
from patchwright.places import SITES, Site, parse_place, pers_of
from patchwright.prompts.examples import Example, examples
from patchwright.prompts.pair import Pair
from patchwright.spelling import percent
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])
TOKENS = st.lists(st.sampled_from("abc"), max_size=6)
HOSTILE = (
    "a -> b <- c -- d >= e :smile: www.x.org WWW.x.org http://x.org a@b.org",
    "<b>*_[x](y)#:red[x]$x$`",
    "a~~b~~ \\*c\\*",
    "1. x",
    "> q",
    "\u202ex\u2066",
    "\0\x1b[0m",
)


@pytest.fixture
def page() -> dict[Any, Any]:
    fresh: dict[Any, Any] = {}
    session_state.prepare(fresh)
    return fresh


def test_a_fresh_page_has_a_whole_experiment(page: dict[Any, Any]) -> None:
    experiment = build_experiment.patch_of(page, "demo")
    assert isinstance(experiment.pairs, Pair)
    assert experiment.pairs.clean == next(one for one in examples() if one.id == "ioi").pair.clean
    assert (experiment.site, experiment.per) == ("resid_pre", "position")


def test_what_the_user_typed_survives_the_next_run(page: dict[Any, Any]) -> None:
    page["clean"], page["metric"] = "mine", "kl"
    session_state.prepare(page)
    assert (page["clean"], page["metric"]) == ("mine", "kl")


def test_controls_on_the_screen_are_not_set_while_somebody_types(page: dict[Any, Any]) -> None:
    class Watched(dict[Any, Any]):
        def __setitem__(self, name: Any, value: Any) -> None:
            written.append(name)
            super().__setitem__(name, value)

    written: list[Any] = []
    watched = Watched(page)
    assert not session_state.prepare(watched)
    assert set(written) & set(session_state.FIELDS) == set()
    session_state.prepare(watched, "lens")
    assert set(written) >= set(session_state.FIELDS), (
        "turned to another page, they would be forgotten"
    )


def test_a_control_that_was_not_shown_comes_back_as_it_was(page: dict[Any, Any]) -> None:
    page |= {"clean": "mine", "neuron_layer": 3}
    session_state.keep(page)
    for name in ("clean", "neuron_layer", "places"):
        del page[name]
    assert not session_state.prepare(page)
    assert (page["clean"], page["neuron_layer"], page["places"]) == ("mine", 3, [])


@pytest.mark.parametrize("example", examples(), ids=lambda one: one.id)
def test_an_example_in_the_controls_is_the_examples_pair(
    page: dict[Any, Any], example: Example
) -> None:
    session_state.take_example(page, example.id)
    assert build_experiment.pair_of(page) == example.pair
    assert build_experiment.patch_of(page, "demo").metric == example.metric


def test_an_example_that_nobody_touched_gives_way_to_the_first_of_the_next_page(
    page: dict[Any, Any],
) -> None:
    session_state.prepare(page, "trace")
    assert (
        session_state.current_example(page)
        == session_state.first_example("trace")
        != session_state.FIRST_EXAMPLE
    )
    page["subject"] = [4]  # as the page of causal tracing does by itself
    session_state.prepare(page, "lens")
    assert session_state.current_example(page) == session_state.FIRST_EXAMPLE


@pytest.mark.parametrize(
    "touched", [{"metric": "kl"}, {"chosen": "L0.resid_pre@3"}, {"bos": False}]
)
def test_an_example_that_somebody_works_on_stays_when_the_page_is_turned(
    page: dict[Any, Any], touched: dict[str, Any]
) -> None:
    page |= touched
    session_state.prepare(page, "trace")
    assert session_state.current_example(page) == session_state.FIRST_EXAMPLE


def test_an_example_that_somebody_chose_stays_when_the_page_is_turned(
    page: dict[Any, Any],
) -> None:
    session_state.take_example(page, session_state.FIRST_EXAMPLE)
    session_state.prepare(page, "trace")
    assert session_state.current_example(page) == session_state.FIRST_EXAMPLE


def test_another_model_begins_the_prompts_in_its_usual_way(page: dict[Any, Any]) -> None:
    session_state.set_controls(page, {"model": "smollm2", "clean": "mine"})
    assert not page["bos"]
    assert not build_experiment.patch_of(page, "smollm2").bos
    session_state.set_controls(page, {"model": "demo"})
    assert page["bos"]
    session_state.set_controls(page, {"model": "smollm2", "bos": True})
    assert page["bos"]


def test_swapping_twice_changes_nothing(page: dict[Any, Any]) -> None:
    before = dict(page)
    session_state.swap(page)
    assert page["clean"] == before["corrupt"]
    assert page["answer"] == before["wrong"]
    session_state.swap(page)
    assert page == before


def test_a_kind_of_place_that_the_site_does_not_have_becomes_its_first(
    page: dict[Any, Any],
) -> None:
    page |= {"site": "z", "per": "position"}
    assert build_experiment.patch_of(page, "demo").per == "position"
    page |= {"site": "resid_pre", "per": "head"}
    assert build_experiment.patch_of(page, "demo").per == "position"
    page |= {"site": "mlp_act", "per": "neuron", "neuron_layer": 2}
    assert build_experiment.patch_of(page, "demo").layers == (2,)


def test_tokens_are_escaped_and_differing_ones_marked() -> None:
    html = chips_html(["<b>", " &amp", '"', "\u202e"], ["<b>", " x", '"', "\u202e"])
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert "·&amp;amp" in html
    assert "\u202e" not in html
    assert "&lt;U+202E&gt;" in html
    assert html.count('class="pw-chip differs"') == 2
    assert "A: 4 tokens" in html
    assert "B: 4" in html


def test_of_unequal_prompts_the_common_ends_stand_under_one_another() -> None:
    clean, corrupt = ["a", "b", "c", "z"], ["a", "x", "z"]
    assert list(columns_of(clean, corrupt)) == [(0, 0), (1, 1), (2, None), (3, 2)]
    html = chips_html(clean, corrupt)
    assert html.count('class="pw-chip differs"') == 3
    assert html.count('title="no counterpart"') == 1


@given(clean=TOKENS, corrupt=TOKENS)
def test_every_token_has_one_chip_in_the_order_of_the_prompt(
    clean: list[str], corrupt: list[str]
) -> None:
    columns = list(columns_of(clean, corrupt))
    assert [above for above, _ in columns if above is not None] == list(range(len(clean)))
    assert [below for _, below in columns if below is not None] == list(range(len(corrupt)))
    assert (None, None) not in columns


@pytest.mark.parametrize("site", SITES)
def test_another_site_is_swept_its_usual_way(page: dict[Any, Any], site: Site) -> None:
    page |= {"site": site, "per": pers_of(site)[0], "direction": "noise", "metric": "kl"}
    swept = build_experiment.patch_of(page, "demo")
    assert build_experiment.sweep_of_site(swept, site) == swept
    other = build_experiment.sweep_of_site(swept, "z")
    assert (other.site, other.per, other.direction, other.metric) == ("z", "head", "noise", "kl")


def test_a_place_is_added_to_the_set_once(page: dict[Any, Any]) -> None:
    for place in ("L1H2.z", "embed@0", "L1H2.z"):
        session_state.add_to_set(page, place)
    assert page["places"] == ["L1H2.z", "embed@0"]
    session_state.drop_from_set(page, "L1H2.z")
    assert page["places"] == ["embed@0"]


def test_the_usual_lists_of_the_controls_are_not_shared_between_visitors() -> None:
    first: dict[Any, Any] = {}
    session_state.prepare(first)
    first["places"].append("embed@0")
    first["subject"].append(1)
    second: dict[Any, Any] = {}
    session_state.prepare(second)
    assert (second["places"], second["subject"]) == ([], [])


def test_the_heat_maps_data_is_the_grid_with_nothing_for_what_is_unknown(model: Model) -> None:
    unequal = patch(model, pair_of([1, 2, 3], [1, 4, 5, 3], align="edges"))
    grid = grid_of(unequal)
    data = map_data(grid, "L0.resid_pre@0")
    assert data["selected"] == "L0.resid_pre@0"
    for row, values in enumerate(data["values"]):
        for column, value in enumerate(values):
            known = grid.values[row, column]
            assert value == (None if known != known else known)
    assert None in data["values"][0]


def sentence(one: Result, swept: Result, target: str = "B") -> str:
    source = "A" if target == "B" else "B"
    return inspector.change_data(source, target, "Copied", "changed", one, swept)["sentence"]


def test_the_inspector_carries_its_numbers(model: Model) -> None:
    one, swept = patch_together(model, PAIR, ["L1H2.z"]), patch(model, PAIR, "resid_pre")
    assert one.altered is not None
    effect = percent(float(one.effect))
    assert sentence(one, swept) == (
        "Copied, it moves the logit difference from "
        f"{one.corrupt.metric:.2f} to {one.altered.metric:.2f}: {effect} of the way to A "
        f"({abs(one.clean.metric - one.corrupt.metric):.3g} logits)."
    )
    shown = inspector.change_data("A", "B", "Copied", "changed", one, swept)
    assert [run["name"] for run in shown["runs"]] == ["B alone", "changed", "A alone"]
    ends = shown["ruler"]["low"], shown["ruler"]["value"], shown["ruler"]["high"]
    assert ends == (one.corrupt.metric, one.altered.metric, one.clean.metric)
    noised = patch_together(model, PAIR, ["L1H2.z"], "noise")
    assert f"from {noised.clean.metric:.2f} to" in sentence(noised, swept, "A")


def test_the_inspector_has_the_numbers_of_the_cell_where_it_is_computed(model: Model) -> None:
    one, swept = patch_together(model, PAIR, ["L1H2.z"]), patch(model, PAIR, "z")
    other = replace(swept, arrays={name: array + 1000 for name, array in swept.arrays.items()})
    assert sentence(one, swept) == sentence(one, patch(model, PAIR, "resid_pre"))
    cell = float(other.patched.sel(layer=1, head=2))
    assert f" to {cell:.2f}" in sentence(one, other)
    # An estimate is none that was computed.
    other.arrays["estimated"] = xr.ones_like(other.patched)
    assert sentence(one, other) == sentence(one, swept)


def test_what_other_methods_say_has_their_numbers(model: Model) -> None:
    swept = Patch.on(model, PAIR, site="z")
    place = parse_place("L1H2.z")
    lost = float(ablate_together(model, PAIR, ["L1H2.z"]).effect)
    assert inspector.ablation_facts(place, swept, model) == [
        ("set to zero in A", f"{percent(lost)} of the gap lost")
    ]
    gained = float(patch_together(model, PAIR, ["L1H2.z"]).effect)
    noising = swept.model_copy(update={"direction": "noise"})
    assert inspector.copy_facts(place, noising, model) == [
        ("copied from A into B", f"{percent(gained)} of the gap")
    ]
    written = logit_attribution(model, PAIR, "head").array("contribution").sel(layer=1, head=2)
    ((_, said),) = inspector.direct_facts(place, swept, model)
    assert said == f"{float(written[0]):+.2f} in A, {float(written[1]):+.2f} in B (logits)"
    looks = attention(model, PAIR, layer=1, head=2).array("pattern")
    told = inspector.attention_facts(place, swept, model)
    for (_, said), run in zip(told, ("clean", "corrupt"), strict=True):
        assert percent(float(looks.sel(run=run).values[-1].max())) in said
    assert inspector.attention_facts(parse_place("L1.mlp_out@2"), swept, model) == []
    assert inspector.direct_facts(parse_place("L1.mlp_out@2"), swept, model) == []


def test_places_keep_their_tokens_where_the_first_token_is_put_there_or_left_out() -> None:
    page: dict[Any, Any] = {}
    session_state.prepare(page)
    page |= {
        "chosen": "L3.resid_pre@10",
        "pinned": "L1H2.z",
        "places": ["L0.mlp_out@0", "L2H1.z@-1", "L2H1.z@4"],
    }
    page["bos"] = False
    session_state.move_places(page)
    assert (page["chosen"], page["pinned"]) == ("L3.resid_pre@9", "L1H2.z")
    assert page["places"] == ["L2H1.z@-1", "L2H1.z@3"]
    page["bos"] = True
    session_state.move_places(page)
    assert page["chosen"] == "L3.resid_pre@10"
    page["chosen"] = "L3.resid_pre@subject"
    session_state.move_places(page)
    assert page["chosen"] == "L3.resid_pre@subject"


def test_another_model_moves_places_only_where_its_prompts_begin_otherwise() -> None:
    page: dict[Any, Any] = {}
    session_state.prepare(page)
    page["chosen"] = "L3.resid_pre@10"
    for model, chosen in (("gpt2", 10), ("smollm2", 9), ("smollm2", 9), ("demo", 10)):
        page["model"] = model
        session_state.take_usual_bos(page)
        assert page["chosen"] == f"L3.resid_pre@{chosen}"


def test_an_address_names_places_as_it_means_them() -> None:
    page: dict[Any, Any] = {}
    session_state.prepare(page)
    session_state.set_controls(page, {"model": "smollm2", "chosen": "L3.resid_pre@9"})
    assert (page["bos"], page["chosen"]) == (False, "L3.resid_pre@9")
