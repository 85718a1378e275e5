"""The page Ablation: what it asks for, shows and says, without a browser."""

from typing import Any

import pytest

import patchwright as pw
from app_pages import errors, looked_at, one_view, settled, words, workbench
from patchwright.app import build_experiment, session_state
from patchwright.app.views import ablation as view
from patchwright.app.views.workbench import Maps, place_on_maps
from patchwright.axes import METRICS
from patchwright.figures.grid import grid_of
from patchwright.insights.cautions import SELF_REPAIR
from patchwright.model.load import Model
from patchwright.places import SITES, check_site, pers_of
from patchwright.prompts.examples import example
from patchwright.spelling import percent
from tiny import pair_of

on_the_page = pytest.mark.filterwarnings("default")
PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])
OTHER = "When Alice and David went to the garden, David gave a book to"


def fresh(**fields: Any) -> dict[Any, Any]:
    page: dict[Any, Any] = {}
    session_state.prepare(page)
    return page | fields


@on_the_page
def test_the_first_paint_ablates_every_head_and_says_what_the_strongest_loses(
    demo: pw.Model,
) -> None:
    page = one_view("ablation")
    assert errors(page) == []
    result = pw.ablate(demo, example("ioi").pair)
    top = result.top(1).iloc[0]
    assert looked_at(page) == top["place"]
    assert workbench(page)["inspector"]["sentence"] == (
        f"Set to zero in A, it moves the logit difference from {result.clean.metric:.2f} to "
        f"{top['patched']:.2f}: {percent(top['effect'])} of the way to B (22.2 logits)."
    )
    assert SELF_REPAIR in words(page)


@on_the_page
@pytest.mark.parametrize("ablation", view.ABLATION_NAMES)
def test_every_way_to_ablate_has_a_page_and_says_where_its_activations_come_from(
    ablation: str,
) -> None:
    page = one_view("ablation", ablation=ablation)
    assert errors(page) == []
    expected = {
        "zero": "Set to zero",
        "mean": "Set to its mean over 2 reference prompts, at each position, in A",
        "resample": "Taken from “When Mary and John went to the store, Mary gave a drink to” in A",
    }
    assert workbench(page)["inspector"]["sentence"].startswith(expected[ablation])
    asked = any(one.key == "references" for one in page.text_area)
    assert asked == (ablation != "zero")
    assert ("No reference prompts are typed" in words(page)) == (ablation != "zero")


@on_the_page
def test_reference_prompts_are_one_a_line_and_change_the_numbers(demo: pw.Model) -> None:
    page = one_view("ablation", ablation="mean", chosen="L0H0.z")
    page.text_area(key="references").set_value(f"{OTHER}\n\n{OTHER}\n").run()
    assert errors(page) == []
    result = pw.ablate(demo, example("ioi").pair, ablation="mean", prompts=[OTHER, OTHER])
    said = workbench(page)["inspector"]["sentence"]
    assert f"to {float(result.patched.sel(layer=0, head=0)):.2f}" in said
    assert "mean over 2 reference prompts" in said
    assert str(page.query_params["references"]) == f"{OTHER}\n\n{OTHER}\n"


@on_the_page
@pytest.mark.parametrize("site", SITES)
def test_every_site_can_be_ablated_its_ways(site: str) -> None:
    page = one_view("ablation")
    page.selectbox(key="ablated_site").set_value(site).run()
    for per in pers_of(check_site(site)):
        settled(page.selectbox(key="ablated_per").set_value(per).run())
        assert errors(page) == [], per


@on_the_page
def test_every_metric_can_be_measured() -> None:
    page = one_view("ablation")
    for metric in METRICS:
        settled(page.selectbox(key="metric").set_value(metric).run())
        assert errors(page) == [], metric


@on_the_page
def test_the_address_brings_back_what_was_chosen_and_seen() -> None:
    asked = {
        "ablated_site": "mlp_out",
        "ablated_per": "position",
        "ablation": "mean",
        "over": "all",
    }
    asked |= {"references": OTHER, "chosen": "L2.mlp_out@4", "metric": "logit"}
    page = one_view("ablation", **asked)
    assert errors(page) == []
    assert looked_at(page) == "L2.mlp_out@4"
    said = workbench(page)["inspector"]["sentence"]
    assert said.startswith("Set to its mean over 1 reference prompt, over all")
    assert {name: str(value) for name, value in page.query_params.items()} == {
        "model": "demo"
    } | asked


@on_the_page
def test_an_address_of_before_names_the_selected_place_as_it_did() -> None:
    page = one_view("ablation", ablated="L3H1.z")
    assert looked_at(page) == "L3H1.z"
    assert str(page.query_params["chosen"]) == "L3H1.z"


@on_the_page
@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"ablation": "mean", "references": "too short"}, "the reference prompts 6"),
        ({"ablation": "resample", "references": "word " * 70}, "at most 64"),
        ({"ablation": "mean", "references": "a\n" * 33}, "takes at most 32"),
        ({"answer": " Reykjavik"}, "several tokens"),
        ({"clean": "word " * 70}, "at most 64"),
    ],
)
def test_what_cannot_be_ablated_is_one_sentence(parameters: dict[str, str], says: str) -> None:
    pair = example("ioi").pair
    own = {"clean": pair.clean, "corrupt": pair.corrupt, "answer": " Mary", "wrong": " John"}
    page = one_view("ablation", **{name: str(text) for name, text in (own | parameters).items()})
    assert len(errors(page)) == 1
    assert says in errors(page)[0]


def test_without_typed_prompts_a_mean_is_over_the_pair_and_a_draw_is_the_corrupted_one() -> None:
    own = {"clean": "one", "corrupt": "two\nlines"}
    assert build_experiment.references_of(fresh(ablation="zero", references="x", **own)) == ()
    assert build_experiment.references_of(fresh(ablation="mean", **own)) == ("one", "two\nlines")
    assert build_experiment.references_of(fresh(ablation="resample", references=" \n", **own)) == (
        "two\nlines",
    )
    assert build_experiment.references_of(
        fresh(ablation="mean", references="a\n\n b\n", **own)
    ) == (
        "a",
        " b",
    )


def test_what_changes_nothing_does_not_make_another_experiment() -> None:
    swept = build_experiment.patch_of(fresh(), "demo")
    one, other = (
        build_experiment.ablate_of(
            fresh(ablation="zero", references=text, over=over, draw_seed=seed), swept
        )
        for text, over, seed in (("", "position", 0), ("x", "all", 7))
    )
    assert one == other


def test_the_selected_cell_is_the_chosen_one_only_where_the_map_has_it(model: Model) -> None:
    result = pw.ablate(model, PAIR, site="mlp_out")
    strongest = str(result.top(1)["place"].iloc[0])
    maps = Maps([grid_of(result)], result, strongest)
    assert place_on_maps("L1.mlp_out@2", maps) == "L1.mlp_out@2"
    assert place_on_maps("L1.mlp_out@-1", maps) == "L1.mlp_out@3"
    for absent in ("", "L9.mlp_out@2", "L1.mlp_out@4", "L1H0.z", "L1.mlp_out@-5", "L1.mlp_out"):
        assert place_on_maps(absent, maps) == strongest
