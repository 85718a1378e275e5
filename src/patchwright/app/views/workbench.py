"""What the workbench of a tab draws: maps, what stands around them, and what a click on them means."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import address_bar, session_state
from patchwright.app.session_jobs import stop
from patchwright.app.views import controls, inspector, pins
from patchwright.app.views.inspector import Json
from patchwright.app.widgets.heat_map import MAP_HEIGHT, map_data
from patchwright.app.widgets.workbench import workbench
from patchwright.figures.grid import Grid, top_tokens_of

SHARED_HEIGHT = 240
"""Pixels that the rows of several maps share."""

MOST_BESIDE = 48
"""Columns up to which several maps fit beside one another."""


@dataclass(frozen=True)
class Maps:
    """What is drawn: one map, or several of one result on one scale, each under its caption."""

    grids: Sequence[Grid]
    result: Result
    usual: str
    """The place that is looked at until one is chosen."""
    captions: Sequence[str] = ("",)
    progress: Json | None = None
    legend: str = ""
    """What the colour bar's numbers are; the unit where nothing is said."""
    shared_bar: bool = False
    """Whether the maps are of one kind, and stand side by side under one colour bar if they can."""
    spreads: Sequence[list[list[float | None]]] = ()
    """Of each map, where it is known: how far its cells' values spread, [row][column]."""
    nothing: Mapping[str, str] = field(default_factory=dict[str, str])
    """Places without a value, and why."""
    of_place: bool = False
    """Whether all maps are of one place, so that no cell is another one; they stand side by side."""


@dataclass(frozen=True)
class Bench:
    """What stands around the maps: what is said of the selected place, and which places are a set."""

    inspector: Json
    """The place, its title, its sentence, its facts."""
    gathered: Json | None
    """The bar below the maps, if there is one."""
    marked: Sequence[str] = ()
    """The places that are marked as added."""
    acts: Mapping[str, Callable[[Any], None]] = field(default_factory=dict[str, Any])
    """What a person can do on this tab alone, or does otherwise than elsewhere."""


def strongest_place(grid: Grid, result: Result) -> str:
    """The place of the largest effect so far, else the first one."""
    top = result.top(1)["place"]
    return grid.places[0][0] if top.empty else str(top.iloc[0])


def place_on_maps(chosen: str, maps: Maps) -> str:
    """The place that was chosen if one of the maps has it, else the usual one."""
    if not chosen:
        return maps.usual
    chosen = controls.absolute_place(chosen, maps.result)
    return chosen if _has_place(maps, chosen) else maps.usual


def _has_place(maps: Maps, place: str) -> bool:
    return any(place in row for grid in maps.grids for row in grid.places)


def pin_facts(maps: Maps, chosen: str, effect: Callable[[str], float]) -> list[inspector.Fact]:
    """The effect of the pinned place, if the maps have it, and how far the selected one is from it."""
    one: str = st.session_state["pinned"]
    if one == chosen or not _has_place(maps, one):
        return []
    return inspector.pin_facts(one, effect(one), effect(chosen))


def show(page: str, maps: Maps, bench: Bench, slots: Sequence[str]) -> None:
    """Draw the one workbench of the page; Stop ends the work in `slots`."""
    now, chosen, many = st.session_state, str(bench.inspector["place"]), len(maps.grids)
    texts = maps.grids[0].texts is not None
    data = {
        "state": "rest" if maps.progress is None else "computing",
        "progress": maps.progress,
        "beside": (maps.shared_bar or maps.of_place) and len(maps.grids[0].columns) <= MOST_BESIDE,
        "maps": [
            {
                **map_data(grid, chosen, maps.nothing, numbered=maps.of_place),
                "caption": maps.captions[i],
                "tops": top_tokens_of(maps.result) if many == 1 else None,
                "spreads": maps.spreads[i] if maps.spreads else None,
                "legend": maps.legend or grid.unit,
                "scaled": not maps.shared_bar or i == 0,
                "set": bench.marked,
                "pinned": now["pinned"],
                "threshold": 0.0 if texts else now["threshold"] / 100,
                "sliding": not texts,
                "clickable": not maps.of_place,
                "room": MAP_HEIGHT
                if many == 1 or maps.shared_bar or maps.of_place
                else SHARED_HEIGHT / many,
            }
            for i, grid in enumerate(maps.grids)
        ],
        "inspector": {"isPinned": chosen == now["pinned"], **bench.inspector},
        "set": bench.gathered,
    }
    workbench(data, "workbench", {**ACTIONS, "stop": lambda _: stop(slots), **bench.acts})
    address_bar.write_in_fragment(page)


def _choose(chosen: Any) -> None:
    session_state.choose_place(st.session_state, str(chosen))


def _add(chosen: Any) -> None:
    session_state.add_to_set(st.session_state, str(chosen))


def _drop(chosen: Any) -> None:
    session_state.drop_from_set(st.session_state, str(chosen))


def _set_threshold(share: Any) -> None:
    st.session_state["threshold"] = round(100 * float(share))


ACTIONS: dict[str, Callable[[Any], None]] = {
    "place": _choose,
    "add": _add,
    "drop": _drop,
    "pin": lambda place: pins.pin_place(str(place)),
    "threshold": _set_threshold,
    "like": lambda _: session_state.make_set(st.session_state),
}
"""What follows from what a person does in the workbench."""
