"""The pages Activations and Lens without a browser."""

import pytest

from app_pages import errors, one_view
from patchwright.algorithms.difference import ARRAYS
from patchwright.app.views import activations, lens
from patchwright.places import SITES

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
    shown = one_view("activations")
    shown.selectbox(key="seen_layer").set_value(3).run()
    shown.selectbox(key="seen_number").set_value(1).run()
    assert errors(shown) == []
    assert any("head 3.1 attends" in one.value for one in shown.markdown)
    assert shown.session_state["seen_head"] == "L3H1.z"


def test_both_runs_are_read_through_the_lens_by_every_measure() -> None:
    shown = one_view("lens")
    for measure in lens.MEASURES:
        shown.selectbox(key="lens_measure").set_value(measure).run()
        assert errors(shown) == [], measure


def test_a_cell_of_the_lens_shows_the_numbers_of_both_runs() -> None:
    shown = one_view("lens")
    shown.session_state["lens_cell"] = "layer 5, position 14"
    shown.run()
    assert errors(shown) == []
    table = shown.dataframe[0].value
    assert table["likeliest token"].tolist() == ["·Mary", "·John"]
    assert table["its probability"].min() > 0.9


def test_a_cell_that_the_prompt_does_not_have_is_not_shown() -> None:
    shown = one_view("lens")
    shown.session_state["lens_cell"] = "layer 5, position 40"
    shown.run()
    assert errors(shown) == []
    assert len(shown.dataframe) == 0


@pytest.mark.parametrize("part", lens.PARTS)
def test_every_kind_of_part_is_attributed(part: str) -> None:
    shown = one_view("lens")
    shown.selectbox(key="part").set_value(part).run()
    assert errors(shown) == []


@pytest.mark.parametrize("view", ["activations", "lens"])
def test_answers_that_do_not_fit_are_said_in_one_sentence(view: str) -> None:
    shown = one_view(view)
    shown.text_input(key="answer").set_value("").run()
    assert len(errors(shown)) == 1
    assert "No answer was given" in errors(shown)[0]


def test_unequal_prompts_share_no_attention_but_the_page_stays() -> None:
    shown = one_view("activations")
    shown.session_state["align"] = "edges"
    shown.text_area(key="corrupt").set_value(
        "When Mary and John went to the big store, Mary gave a drink to"
    ).run()
    assert not shown.exception


@pytest.mark.parametrize("prompt", ["The Eiffel Tower is in", "red"])
def test_prompts_of_few_words_have_the_rest_of_the_page(prompt: str) -> None:
    shown = one_view("activations")
    shown.text_area(key="clean").set_value(prompt)
    shown.text_area(key="corrupt").set_value(
        prompt.replace("Eiffel", "Willis").replace("red", "blue")
    )
    shown.run()
    assert errors(shown) == []
    assert any(one.value == "**Export**" for one in shown.markdown)
