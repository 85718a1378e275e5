from typing import Any

import pytest

from patchwright.app import state
from patchwright.app.views.patch import sentence
from patchwright.app.widgets.chips import chips_html
from patchwright.app.widgets.heat_map import data_of
from patchwright.experiment import patch, patch_together
from patchwright.figures.grid import grid_of
from patchwright.model.load import Model
from patchwright.prompts.examples import Example, examples
from patchwright.prompts.pair import Pair
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])


@pytest.fixture
def page() -> dict[Any, Any]:
    fresh: dict[Any, Any] = {}
    state.prepare(fresh)
    return fresh


def test_a_fresh_page_has_a_whole_experiment(page: dict[Any, Any]) -> None:
    experiment = state.experiment_of(page, "demo")
    assert isinstance(experiment.pairs, Pair)
    assert experiment.pairs.clean == next(one for one in examples() if one.id == "ioi").pair.clean
    assert (experiment.site, experiment.per) == ("resid_pre", "position")


def test_what_the_user_typed_survives_the_next_run(page: dict[Any, Any]) -> None:
    page["clean"], page["metric"] = "mine", "kl"
    state.prepare(page)
    assert (page["clean"], page["metric"]) == ("mine", "kl")


@pytest.mark.parametrize("example", examples(), ids=lambda one: one.id)
def test_an_example_in_the_controls_is_the_examples_pair(
    page: dict[Any, Any], example: Example
) -> None:
    state.take_example(page, example.id)
    assert state.pair_of(page) == example.pair
    assert state.experiment_of(page, "demo").metric == example.metric


def test_swapping_twice_changes_nothing(page: dict[Any, Any]) -> None:
    before = dict(page)
    state.swap(page)
    assert page["clean"] == before["corrupt"]
    assert page["answer"] == before["wrong"]
    state.swap(page)
    assert page == before


def test_a_kind_of_place_that_the_site_does_not_have_becomes_its_first(
    page: dict[Any, Any],
) -> None:
    page |= {"site": "z", "per": "position"}
    assert state.experiment_of(page, "demo").per == "position"
    page |= {"site": "resid_pre", "per": "head"}
    assert state.experiment_of(page, "demo").per == "position"
    page |= {"site": "mlp_act", "per": "neuron", "neuron_layer": 2}
    assert state.experiment_of(page, "demo").layers == (2,)


def test_tokens_are_escaped_and_differing_ones_marked() -> None:
    html = chips_html("Clean", ["<b>", " &amp", '"'], ["<b>", " x", '"'])
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert "·&amp;amp" in html
    assert html.count('class="pw-chip differs"') == 1
    assert "3 tokens" in html


def test_the_heat_maps_data_is_the_grid_with_nothing_for_what_is_unknown(model: Model) -> None:
    unequal = patch(model, pair_of([1, 2, 3], [1, 4, 5, 3], align="edges"))
    grid = grid_of(unequal)
    data = data_of(grid, "L0.resid_pre@0")
    assert data["selected"] == "L0.resid_pre@0"
    for row, values in enumerate(data["values"]):
        for column, value in enumerate(values):
            known = grid.values[row, column]
            assert value == (None if known != known else known)
    assert None in data["values"][0]


def test_the_sentence_carries_its_numbers(model: Model) -> None:
    one = patch_together(model, PAIR, ["L1H2.z"])
    text = sentence("L1H2.z", one)
    assert one.altered is not None
    assert f"{one.corrupt.metric:.2f} to {one.altered.metric:.2f}" in text
    assert "the clean run's `L1H2.z`" in text
    assert "corrupted run's" in sentence("L1H2.z", patch_together(model, PAIR, ["L1H2.z"], "noise"))
