"""The small picture that stands for a map in a list."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.image import imread
from numpy.typing import NDArray

import patchwright as pw
from every_method import PAIR, every_experiment
from patchwright.figures.grid import Grid, grids_of, unlabelled_grid_of
from patchwright.figures.thumbnail import (
    MOST_COLUMNS,
    MOST_ROWS,
    alt_text,
    shrunk_values,
    thumbnail,
)
from patchwright.methods import METHODS

BLUE, RED, DARK, YELLOW = [33, 102, 172], [178, 24, 43], [68, 1, 84], [253, 231, 37]


def grid(values: Any, centred: bool = True, low: float = -1.0, high: float = 1.0) -> Grid:
    array = np.array(values, float)
    return Grid("", array, [], [], "layer", "position", [], centred, "effect", low, high)


def pixels(one: Grid) -> NDArray[np.int64]:
    """The picture, as any reader of PNG files reads it: [row from above, column, channel]."""
    return np.rint(255 * imread(BytesIO(thumbnail(one)), format="png")).astype(int)


def test_an_effect_is_blue_or_red_and_the_clearer_the_larger_it_is() -> None:
    found = pixels(grid([[1.0, -1.0], [0.0, np.nan], [0.5, 7.0]]))
    # Layers grow upward: the first row is the lowest.
    assert found[2].tolist() == [[*RED, 255], [*BLUE, 255]]
    assert found[1, :, 3].tolist() == [0, 0]
    assert found[0].tolist() == [[*RED, 128], [*RED, 255]]


def test_a_single_effect_is_as_clear_as_its_share_of_the_gap() -> None:
    assert pixels(grid([[-0.2]], low=-0.2, high=0.0)).tolist() == [[[*BLUE, 51]]]


def test_amounts_go_from_dark_to_bright_and_what_is_missing_is_see_through() -> None:
    found = pixels(grid([[0.0, 4.0, np.nan]], centred=False, low=0.0, high=4.0))
    assert found[0, :2].tolist() == [[*DARK, 255], [*YELLOW, 255]]
    assert found[0, 2, 3] == 0


@given(
    values=hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 3 * MOST_ROWS), st.integers(1, 3 * MOST_COLUMNS)),
        elements=st.one_of(st.floats(-2, 2, width=16), st.just(np.nan)),
    ),
    centred=st.booleans(),
)
def test_a_large_map_keeps_the_strongest_of_what_a_pixel_stands_for(
    values: NDArray[np.float64], centred: bool
) -> None:
    one = grid(values, centred)
    small = shrunk_values(one)
    assert small.shape == (min(len(values), MOST_ROWS), min(values.shape[1], MOST_COLUMNS))
    known = values[np.isfinite(values)]
    assert set(small[np.isfinite(small)]) <= set(known)
    assert np.isfinite(small).any() == bool(known.size)
    if known.size:
        size = np.abs if centred else np.asarray
        assert size(small[np.isfinite(small)]).max() == size(known).max()
    assert pixels(one).shape[:2] == small.shape


def test_it_is_said_for_those_who_do_not_see_it() -> None:
    assert (
        alt_text(grid([[0.5, -0.25], [0.0, np.nan]])) == "Map of 2 × 2 cells, from -0.25 to 0.50."
    )
    assert alt_text(grid([[np.nan]])) == "Map of 1 × 1 cells, none of which has a value."


@pytest.mark.parametrize("pairs", [PAIR, (PAIR, PAIR)], ids=["one pair", "pairs"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_picture(demo: pw.Model, name: str, pairs: Any) -> None:
    result = pw.run(every_experiment(pairs)[name], demo)
    bare, whole = unlabelled_grid_of(result), grids_of(result)[0]
    assert (bare.centred, bare.low, bare.high) == (whole.centred, whole.low, whole.high)
    assert bare.values.shape == whole.values.shape
    assert pixels(bare).shape[2] == 4
