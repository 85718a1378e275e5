"""Messages to the page's components: what is packed is what the browser unpacks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_pages import unpacked
from patchwright.app.widgets.message import pack_message

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
CELL = st.none() | st.floats(-100, 100, width=32)
TOKENS = st.lists(st.tuples(st.text(max_size=3), st.floats(0, 1, width=32)), max_size=3)
PLACES = {
    "parts": lambda row, column: f"L{row}H{column}.z",
    "positions": lambda row, column: f"L{row}.resid_pre@{column}",
    "none in common": lambda row, column: f"{column}{'x' * row * column}",
}


def table(rows: int, columns: int, cell: Any) -> Any:
    return st.lists(
        st.lists(cell, min_size=columns, max_size=columns), min_size=rows, max_size=rows
    )


@st.composite
def maps(draw: st.DrawFn) -> dict[str, Any]:
    rows, columns = draw(SIZES)
    name = draw(st.sampled_from(list(PLACES.values())))
    return {
        "values": draw(table(rows, columns, CELL)),
        "estimated": draw(st.none() | table(rows, columns, st.booleans())),
        "unsure": draw(st.none() | table(rows, columns, st.booleans())),
        "places": [[name(row, column) for column in range(columns)] for row in range(rows)],
        "tops": draw(st.none() | table(rows, columns, TOKENS)),
        "title": draw(st.text()),
    }


@given(st.lists(maps(), max_size=3), st.text())
def test_what_is_packed_is_unpacked(several: list[dict[str, Any]], said: str) -> None:
    message = pack_message({"maps": several, "said": said})
    assert unpacked(message) == {"maps": several, "said": said}


def test_the_places_of_a_large_map_are_not_written_out() -> None:
    rows, columns = 1200, 15
    places = [[f"L{row // 25}H{row % 25}.z@{at}" for at in range(columns)] for row in range(rows)]
    one = {"values": [[0.5] * columns] * rows, "estimated": None, "unsure": None}
    message = pack_message({"maps": [{**one, "places": places, "tops": None}]})
    assert len(message) == pytest.approx(rows * columns * 4, rel=0.5)
