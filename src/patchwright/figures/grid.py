"""A result laid out as rows and columns: what every heat map draws.

Layers grow upward and tokens read left to right, on the page, on paper and in
the terminal; one scale, centred at 0, belongs to effects.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from patchwright.methods.result import Result, place_of
from patchwright.prompts.tokens import visible


@dataclass(frozen=True)
class Grid:
    """Values [row, column] with their labels; the first row is the lowest.

    `centred` says that values are effects, unitless around 0; else they are
    `patched` in the metric's unit, because the gap was too small for effects.
    `places` names each cell. NaN: not computed, or without a counterpart.
    """

    values: NDArray[np.float64]
    rows: list[str]
    columns: list[str]
    row_title: str
    column_title: str
    places: list[list[str]]
    centred: bool
    unit: str

    @property
    def limit(self) -> float:
        """The largest distance from 0 (at least 0.01), the end of a centred scale."""
        known = np.abs(self.values[np.isfinite(self.values)])
        return max(float(known.max(initial=0.0)), 0.01)


def grid_of(result: Result) -> Grid:
    """The heat map of a sweep; over several pairs the ratio of means."""
    averaged = "pair" in result.patched.dims
    effect = result.mean_effect
    patched = result.patched.mean("pair") if averaged else result.patched
    centred = bool(effect.notnull().any()) or not bool(patched.notnull().any())
    array = _two_axes(effect if centred else patched)
    site = result.experiment["site"]
    texts = result.position_tokens
    rows = [_label(array, array.dims[0], i, texts) for i in range(array.shape[0])]
    columns = [_label(array, array.dims[1], i, texts) for i in range(array.shape[1])]
    places = [
        [_place(site, array, row, column) for column in range(array.shape[1])]
        for row in range(array.shape[0])
    ]
    return Grid(
        array.values.astype(np.float64),
        rows,
        columns,
        _title(str(array.dims[0])),
        _title(str(array.dims[1])),
        places,
        centred,
        "effect" if centred else result.experiment["metric"],
    )


def title_of(result: Result) -> str:
    """What was done, in a line: for the head of a figure."""
    done = result.experiment
    return f"{done['direction'].capitalize()}: patching {done['site']}, {done['metric']}"


def _two_axes(array: xr.DataArray) -> xr.DataArray:
    """layer × head × position as (layer, head) × position; a single axis gets a second."""
    if array.ndim == 3:
        return array.stack(place=("layer", "head")).transpose("place", "position")
    if array.ndim == 1:
        return array.expand_dims(all=[0], axis=1)
    return array


def _label(array: xr.DataArray, dim: object, index: int, texts: object) -> str:
    value = array[dim].values[index]
    if dim == "place":
        return f"{value[0]}.{value[1]}"
    if dim == "all":
        return "all"
    if dim == "position" and isinstance(texts, list):
        return f"{visible(str(texts[value]))} {value}"
    return str(value)


def _title(dim: str) -> str:
    return {"place": "layer.head", "all": "positions"}.get(dim, dim)


def _place(site: str, array: xr.DataArray, row: int, column: int) -> str:
    cell: dict[str, int] = {}
    for dim, index in zip(array.dims, (row, column), strict=True):
        value = array[dim].values[index]
        if dim == "place":
            cell |= {"layer": value[0], "head": value[1]}
        elif dim != "all":
            cell[str(dim)] = value
    return place_of(site, cell)
