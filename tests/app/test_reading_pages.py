"""The pages Activations and Lens without a browser."""

import pytest

import patchwright as pw
from app_pages import errors, facts, looked_at, offers_files, one_view, workbench
from patchwright.algorithms.difference import ARRAYS
from patchwright.app.views import activations, lens
from patchwright.places import SITES
from patchwright.prompts.examples import example
from patchwright.spelling import percent

pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("site", SITES)
def test_the_differences_of_every_site_are_shown(site: str) -> None:
    shown = one_view("activations")
    shown.selectbox(key="seen_site").set_value(site).run()
    assert errors(shown) == []
    table = shown.dataframe[0].value
    assert list(table.columns) == ["place", *ARRAYS]
    assert table["relative"].is_monotonic_decreasing


def test_every_measure_of_difference_has_words() -> None:
    assert set(activations.MEASURES) == set(ARRAYS)
    shown = one_view("activations")
    for measure in ARRAYS:
        shown.selectbox(key="measure").set_value(measure).run()
        assert errors(shown) == [], measure


def test_a_head_is_chosen_by_its_numbers() -> None:
    shown = one_view("attention")
    shown.selectbox(key="seen_layer").set_value(3).run()
    shown.selectbox(key="seen_number").set_value(1).run()
    assert errors(shown) == []
    assert shown.session_state["chosen"] == "L3H1.z"
    again = one_view("attention", seen_head="L2H4.z")
    assert (again.session_state["seen_layer"], again.session_state["seen_number"]) == (2, 4)


def test_both_runs_are_read_through_the_lens_by_every_measure() -> None:
    shown = one_view("lens")
    for measure in lens.MEASURES:
        shown.selectbox(key="lens_measure").set_value(measure).run()
        assert errors(shown) == [], measure


def test_a_cell_of_the_lens_says_what_both_runs_would_answer(demo: pw.Model) -> None:
    shown = one_view("lens", chosen="L3.resid_post@14")
    assert errors(shown) == []
    read = pw.logit_lens(demo, example("ioi").pair)
    for run, letter in (("clean", "A"), ("corrupt", "B")):
        at = {"run": run, "layer": 3, "position": 14}
        word = str(read.array("top").sel(at).item()).replace(" ", "·")
        share = percent(float(read.array("top_probability").sel(at)))
        assert facts(shown)[f"after layer 3 {letter} would say"] == f"{word} {share}"
    assert [one["caption"] for one in workbench(shown)["maps"]] == ["A", "B"]
    assert {one["selected"] for one in workbench(shown)["maps"]} == {"L3.resid_post@14"}


def test_a_place_at_which_activations_are_compared_is_patched_beside_it(demo: pw.Model) -> None:
    shown = one_view("activations", chosen="L2.resid_post@14")
    assert errors(shown) == []
    pair = example("ioi").pair
    compared = pw.difference(demo, pair).table().set_index("place").loc["L2.resid_post@14"]
    for name, said in activations.MEASURES.items():
        assert facts(shown)[said] == f"{compared[name]:.2f}"
    effect = float(pw.patch_together(demo, pair, ["L2.resid_post@14"]).effect)
    assert f"{percent(effect)} of the way to A" in workbench(shown)["inspector"]["sentence"]


def test_a_selection_of_another_site_stays_selected_on_every_tab() -> None:
    for tab in ("patch", "ablation", "activations", "lens"):
        shown = one_view(tab, chosen="L3H1.z@14")
        assert errors(shown) == []
        assert looked_at(shown) == "L3H1.z@14", tab


@pytest.mark.parametrize("prompt", ["The Eiffel Tower is in", "red"])
def test_prompts_of_few_words_have_the_rest_of_the_page(prompt: str) -> None:
    shown = one_view("attention")
    shown.text_area(key="clean").set_value(prompt)
    shown.text_area(key="corrupt").set_value(
        prompt.replace("Eiffel", "Willis").replace("red", "blue")
    )
    shown.run()
    assert errors(shown) == []
    assert offers_files(shown)
