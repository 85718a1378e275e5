"""Every heat map of the page: hover, click, arrow keys, and no build step."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from patchwright.app.widgets.message import pack_message
from patchwright.figures.grid import Grid
from patchwright.spelling import run_name

_HTML = """<div class="workbench"><div class="map"></div>
<div class="spoken" role="status" aria-live="polite"></div></div>"""

_SCRIPTS = (
    *("message.js", "map_logic.js", "heat_map.js"),
    *("graph_logic.js", "circuit_graph.js", "workbench.js"),
)

MAP_HEIGHT = 300
"""Pixels that the rows of a map share."""

THRESHOLD = 0.05
"""Of the scale's end: effects nearer to 0 are drawn as nothing, until a reader asks for them."""


def read_widget_file(name: str) -> str:
    """A file of this folder that the page's components are made of."""
    return files("patchwright.app.widgets").joinpath(name).read_text(encoding="utf-8")


def script() -> str:
    """The components' one script: what is pure, the map, the graph, and what stands around them."""
    return "\n".join(map(read_widget_file, _SCRIPTS))


@st.cache_resource
def _component() -> Any:
    return component(
        "patchwright_map", html=_HTML, css=read_widget_file("workbench.css"), js=script()
    )


def heat_map(
    grid: Grid,
    key: str,
    selected: str = "",
    on_choose: Callable[[str], None] | None = None,
    numbered: bool = False,
    nothing: Mapping[str, str] = {},
    empty: str = "no value",
    marked: Sequence[str] = (),
    asked: Sequence[str] | None = None,
) -> None:
    """Show `grid`; `on_choose` is called with the place of a cell that is clicked.

    A `numbered` map is labelled with positions alone, to be small; its tips have the tokens.
    The cells of places in `nothing` are empty, and its words are said of them; `empty` is said
    of others without a value. The `marked` places are framed as right answers, and the selected
    one then as a reader's. Where some cells are `asked` for, no other one can be selected. A map
    without values has no colour bar, which would tell the largest.
    """

    def handle_click() -> None:
        place = st.session_state[key].place
        if place and on_choose is not None:
            on_choose(place)

    data = map_data(grid, selected, nothing, numbered)
    data |= {"clickable": on_choose is not None, "empty": empty, "marked": list(marked)}
    data |= {"asked": asked, "scaled": bool(np.isfinite(grid.values).any())}
    message = pack_message({"state": "rest", "maps": [data]})
    _component()(data=message, key=key, on_place_change=handle_click)


def heat_maps(
    grids: Sequence[Grid],
    key: str,
    selected: str = "",
    on_choose: Callable[[str], None] | None = None,
    numbered: bool = False,
    marked: Sequence[str] = (),
    last: int | None = None,
) -> None:
    """Several maps side by side, each under its title; they stack in a narrow window.

    Cells are selected and marked on the first ones, before the `last`.
    """
    for index, (grid, column) in enumerate(zip(grids, st.columns(len(grids)), strict=True)):
        here = last is None or index < last
        with column:
            st.caption(f"**{run_name(grid.title)}**")
            heat_map(
                grid,
                f"{key}-{index}",
                selected if here else "",
                on_choose,
                numbered,
                marked=marked if here else (),
            )


def map_data(
    grid: Grid,
    selected: str = "",
    nothing: Mapping[str, str] = {},
    numbered: bool = False,
) -> dict[str, Any]:
    """What the script draws, in JSON types; NaN, and places in `nothing`, become None."""
    data: dict[str, Any] = {
        "title": run_name(grid.title),
        "caption": "",
        "values": [
            [
                value if np.isfinite(value) and place not in nothing else None
                for value, place in zip(row, places, strict=True)
            ]
            for row, places in zip(grid.values.tolist(), grid.places, strict=True)
        ],
        "nothing": dict(nothing),
        "empty": "no value",
        "rows": grid.rows,
        "columns": grid.columns,
        "places": grid.places,
        "rowTitle": grid.row_title,
        "columnTitle": grid.column_title,
        "placed": grid.column_title in ("position", "key", "role"),
        "bands": [row.split(".")[0] for row in grid.rows] if "." in grid.row_title else None,
        "centred": grid.centred,
        "limit": grid.limit,
        "low": grid.low,
        "high": grid.high,
        "unit": grid.unit,
        "legend": "",
        "scaled": True,
        "selected": selected,
        "estimated": None if grid.estimated is None else grid.estimated.tolist(),
        "texts": grid.texts,
        "tops": None,
        "spreads": None,
        "bounds": _bounds(grid),
        "unsure": None if grid.unsure is None else grid.unsure.tolist(),
        "marked": [],
        "asked": None,
        "set": [],
        "pinned": "",
        "clickable": False,
        "threshold": THRESHOLD if grid.texts is None else 0.0,
        "sliding": False,
        "room": MAP_HEIGHT,
    }
    for axis in ("rows", "columns") if numbered else ():
        data[axis + "Short"] = [label.rsplit(" ", 1)[-1] for label in data[axis]]
    return data


def _bounds(grid: Grid) -> list[list[list[float] | None]] | None:
    """The ends of each cell's interval, None where it has none."""
    if grid.bounds is None or not grid.centred:
        return None
    return [
        [ends if np.isfinite(ends).all() else None for ends in row] for row in grid.bounds.tolist()
    ]
