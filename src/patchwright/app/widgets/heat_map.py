"""One component for every heat map: hover, click, arrow keys, and no build step."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from patchwright.figures.grid import Grid
from patchwright.spelling import run_name

_HTML = """<div class="map"><canvas tabindex="0" role="img" aria-label="Heat map"></canvas>
<div class="tip" aria-hidden="true"></div><div class="spoken" role="status" aria-live="polite"></div></div>"""

_CSS = """
.map { position: relative; width: 100%; color: var(--st-text-color); }
canvas { width: 100%; display: block; color: inherit; }
canvas:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
.tip { display: none; position: absolute; z-index: 9; pointer-events: none; padding: 4px 8px;
  font: 13px sans-serif; white-space: nowrap; border-radius: 4px; color: var(--st-text-color);
  background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color); }
.spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""


@st.cache_resource
def _component() -> Any:
    script = files("patchwright.app.widgets").joinpath("heat_map.js").read_text(encoding="utf-8")
    return component("patchwright_heat_map", html=_HTML, css=_CSS, js=script)


def heat_map(
    grid: Grid,
    key: str,
    selected: str = "",
    on_choose: Callable[[str], None] | None = None,
    numbered: bool = False,
    nothing: Mapping[str, str] = {},
    empty: str = "no value",
    marked: Sequence[str] = (),
) -> None:
    """Show `grid`; `on_choose` is called with the place of a cell that is clicked.

    A `numbered` map is labelled with positions alone, to be small; its tips have the tokens.
    The cells of places in `nothing` are empty, and its words are said of them; `empty` is said
    of others without a value. The `marked` places are framed as right answers, and the selected
    one then as a reader's.
    """

    def clicked() -> None:
        place = st.session_state[key].place
        if place and on_choose is not None:
            on_choose(place)

    data: dict[str, Any] = data_of(grid, selected, nothing)
    data |= {"clickable": on_choose is not None, "empty": empty, "marked": list(marked)}
    for axis in ("rows", "columns") if numbered else ():
        data[axis + "Short"] = [label.rsplit(" ", 1)[-1] for label in data[axis]]
    _component()(data=data, key=key, on_place_change=clicked)


def panels(
    grids: Sequence[Grid],
    key: str,
    selected: str = "",
    on_choose: Callable[[str], None] | None = None,
    numbered: bool = False,
    marked: Sequence[str] = (),
) -> None:
    """Several maps side by side, each under its title; they stack in a narrow window."""
    for index, (grid, column) in enumerate(zip(grids, st.columns(len(grids)), strict=True)):
        with column:
            st.caption(f"**{run_name(grid.title)}**")
            heat_map(grid, f"{key}-{index}", selected, on_choose, numbered, marked=marked)


def data_of(grid: Grid, selected: str = "", nothing: Mapping[str, str] = {}) -> dict[str, Any]:
    """What the script draws, in JSON types; NaN, and places in `nothing`, become None."""
    return {
        "title": run_name(grid.title),
        "values": [
            [
                value if np.isfinite(value) and place not in nothing else None
                for value, place in zip(row, places, strict=True)
            ]
            for row, places in zip(grid.values.tolist(), grid.places, strict=True)
        ],
        "nothing": dict(nothing),
        "rows": grid.rows,
        "columns": grid.columns,
        "places": grid.places,
        "rowTitle": grid.row_title,
        "columnTitle": grid.column_title,
        "centred": grid.centred,
        "limit": grid.limit,
        "low": grid.low,
        "high": grid.high,
        "unit": grid.unit,
        "selected": selected,
        "estimated": None if grid.estimated is None else grid.estimated.tolist(),
        "texts": grid.texts,
        "unsure": None if grid.unsure is None else grid.unsure.tolist(),
    }
