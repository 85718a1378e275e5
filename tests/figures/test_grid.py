from dataclasses import replace

import numpy as np
import pytest

import patchwright as pw
from patchwright.figures.grid import grid_of, title_of
from patchwright.places import parse_place
from patchwright.prompts.builtin_templates import task
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])


@pytest.mark.parametrize(
    ("site", "per"),
    [
        *(("resid_pre", "position"), ("embed", "position"), ("z", "head"), ("attn_out", "layer")),
        *(("k", "head_position"), ("mlp_act", "neuron"), ("embed", "layer")),
    ],
)
def test_each_cell_has_the_effect_of_the_place_it_names(
    model: pw.Model, site: str, per: str
) -> None:
    layers = [0, 2] if per == "neuron" else None
    result = pw.patch(model, PAIR, site, per, layers=layers)
    grid = grid_of(result)
    assert grid.values.shape == (len(grid.rows), len(grid.columns))
    table = result.table().set_index("place")["effect"]
    assert set(table.index) == {place for row in grid.places for place in row}
    for row, names in enumerate(grid.places):
        np.testing.assert_array_equal(grid.values[row], table[names])


def test_layers_grow_upward_and_tokens_read_left_to_right(model: pw.Model) -> None:
    grid = grid_of(pw.patch(model, PAIR))
    assert grid.rows == ["0", "1", "2"]
    assert [label.split()[-1] for label in grid.columns] == ["0", "1", "2", "3"]
    assert (grid.row_title, grid.column_title) == ("layer", "position")


def test_a_flat_gap_shows_the_metric_instead(model: pw.Model) -> None:
    result = pw.patch(model, pair_of([1, 2, 3], [1, 2, 4], answer=[5], wrong=[]), metric="rank")
    flat = replace(result, arrays=result.arrays | {"effect": result.effect * np.nan})
    grid = grid_of(flat)
    assert (grid.centred, grid.unit) == (False, "rank")
    np.testing.assert_array_equal(grid.values, result.patched.values)


def test_the_scale_reaches_the_strongest_effect(model: pw.Model) -> None:
    result = pw.patch(model, PAIR)
    assert grid_of(result).limit == float(abs(result.effect).max())


def test_over_pairs_a_cell_is_the_ratio_of_means(model: pw.Model) -> None:
    result = pw.patch(model, [PAIR, pair_of([6, 2, 3, 4], [8, 5, 3, 4])], "z")
    np.testing.assert_allclose(grid_of(result).values, result.mean_effect.values)
    assert title_of(result).startswith("Share of the logit difference restored by copying a head's")


def test_a_sender_without_a_path_is_empty_and_no_other(model: pw.Model) -> None:
    result = pw.path_patch(model, PAIR, ["L1H0.q"])
    grid = grid_of(result)
    empty = np.isnan(grid.values).tolist()
    for row, places in zip(empty, grid.places, strict=True):
        assert row == [parse_place(place).layer != 0 for place in places]


def test_over_pairs_a_position_is_named_by_the_token_that_all_have(demo: pw.Model) -> None:
    pairs = pw.from_template(task("capital").template, 4, demo.tokenizer)
    columns = grid_of(pw.patch(demo, pairs)).columns
    assert columns[-4:] == ["·capital 2", "·of 3", "4", "·is 5"]


def test_cells_have_the_intervals_of_the_statistics(demo: pw.Model) -> None:
    pairs = pw.from_template(task("capital").template, 6, demo.tokenizer)
    result = pw.patch(demo, pairs, "z", "head")
    found = pw.statistics(result)
    assert grid_of(result).bounds is None
    bounds = grid_of(found.on(result)).bounds
    assert bounds is not None
    np.testing.assert_array_equal(bounds[..., 0], found.low.values)
    np.testing.assert_array_equal(bounds[..., 1], found.high.values)
