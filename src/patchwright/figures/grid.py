"""A result laid out as rows and columns: what every heat map draws.

Layers grow upward and tokens read left to right, on the page, on paper and in
the terminal; one scale, centred at 0, belongs to effects and contributions.
Panels of one result are compared, so they share their scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import CHOICE, Result, cell_name
from patchwright.algorithms.scale import has_scale, measure_label
from patchwright.algorithms.statistics import stored_statistics
from patchwright.experiment.base import Experiment
from patchwright.experiment.patching import Sweep, Together
from patchwright.methods import METHODS
from patchwright.methods.trace import Trace
from patchwright.places import parse_place
from patchwright.prompts.tokens import visible
from patchwright.spelling import run_name

Scale = tuple[bool, str, float, float]
"""Of a grid: whether it is centred, its unit, its lowest and its highest value."""


@dataclass(frozen=True)
class Grid:
    """Values [row, column] with their labels; the first row is the lowest.

    `centred` says that the scale is centred at 0, from -`limit` to `limit`; else
    it goes from `low` to `high`. `places` names each cell. NaN: not computed, or
    without a counterpart or a path. `estimated` marks the cells that hold an estimate; `texts`
    stand in the cells in the place of their numbers. `unsure` marks the cells that over
    the result's pairs do not differ from zero, where its statistics are known; `bounds`
    [row, column, 2] are then the ends of each cell's interval, NaN where it has none.
    """

    title: str
    values: NDArray[np.float64]
    rows: list[str]
    columns: list[str]
    row_title: str
    column_title: str
    places: list[list[str]]
    centred: bool
    unit: str
    low: float
    high: float
    estimated: NDArray[np.bool_] | None = None
    texts: list[list[str]] | None = None
    unsure: NDArray[np.bool_] | None = None
    bounds: NDArray[np.float64] | None = None

    @property
    def limit(self) -> float:
        """The end of a centred scale: the largest distance from 0, at least 0.01."""
        return max(abs(self.low), abs(self.high), 0.01)


def grid_of(result: Result) -> Grid:
    """The heat map of a sweep; over several pairs the ratio of means."""
    return grids_of(result)[0]


def grids_of(result: Result) -> list[Grid]:
    """The panels of a result's figure, on one scale."""
    averaged, panels, scale = _panels_and_scale(result)
    return [_make_grid(averaged, title, array, scale) for title, array in panels.items()]


def unlabelled_grid_of(result: Result) -> Grid:
    """The first panel without labels and places, which take longest: for what draws no words."""
    _, panels, scale = _panels_and_scale(result)
    title, array = next(iter(panels.items()))
    rows, columns = map(str, array.dims)
    return Grid(title, array.values.astype(np.float64), [], [], rows, columns, [], *scale)


def _panels_and_scale(result: Result) -> tuple[Result, dict[str, xr.DataArray], Scale]:
    """A result's mean over its pairs, its panels, and their scale."""
    averaged = result.averaged() if "pair" in result.arrays[result.main].dims else result
    name, panels = _panels(averaged)
    known = [values[np.isfinite(values)] for values in (one.values for one in panels.values())]
    kind, metric = type(asked_of(result)), name == "patched"
    least, most = (np.inf, -np.inf) if metric else (0.0, 0.0)  # No metric need come near 0.
    low = min(float(one.min(initial=least)) for one in known)
    high = max(float(one.max(initial=most)) for one in known)
    if name in ("pattern", "induction", "probability"):
        low, high = 0.0, 1.0
    of_method = (kind.unit if name == kind.main else "") or name
    unit = result.experiment["metric"] if metric else of_method
    return averaged, panels, (kind.centred and not metric, unit, low, high)


def on_one_scale(grids: Sequence[Grid]) -> list[Grid]:
    """Grids of several results that are compared, each on the scale of them all."""
    low, high = min(one.low for one in grids), max(one.high for one in grids)
    return [replace(one, low=low, high=high) for one in grids]


def grid_of_array(
    result: Result,
    name: str,
    unit: str,
    title: str = "",
    at: Mapping[str, object] = {},
    centred: bool = False,
    bounds: tuple[float, float] | None = None,
) -> Grid:
    """One array of a result of one pair, `at` some of its labels, as a heat map.

    The scale goes over `bounds`, or over the values. A `title` that names a run gives
    positions that run's tokens.
    """
    array = result.array(name).sel(dict(at), drop=True)
    known = array.values[np.isfinite(array.values)]
    low, high = bounds or (float(known.min(initial=0.0)), float(known.max(initial=0.0)))
    return _make_grid(result, title, _two_axes(array), (centred, unit, low, high))


def top_tokens_of(result: Result) -> list[list[list[tuple[str, float]]]] | None:
    """Each cell's likeliest next tokens with their probabilities, [row][column][token].

    None where the result has none: they are computed only when `run` is asked for them.
    """
    if "top_probability" not in result.arrays or "pair" in result.arrays["top"].dims:
        return None
    words, numbers = (
        [_two_axes(array.sel({CHOICE: choice}, drop=True)).values for choice in array[CHOICE]]
        for array in (result.arrays["top"], result.arrays["top_probability"])
    )
    return [
        [
            [
                (visible(str(word[row, column])), float(number[row, column]))
                for word, number in zip(words, numbers, strict=True)
                if np.isfinite(number[row, column])
            ]
            for column in range(words[0].shape[1])
        ]
        for row in range(words[0].shape[0])
    ]


def unit_of(result: Result, grid: Grid) -> str:
    """What the numbers of a panel of `result` are, in words."""
    if grid.unit == "effect":
        return measure_label(result)
    return next((one.label for one in METRIC_TABLE.values() if one.name == grid.unit), grid.unit)


def title_of(result: Result) -> str:
    """What was done, in a line: for the head of a figure."""
    return asked_of(result).title(result)


def title_of_all(results: Sequence[Result], between: str) -> str:
    """One title for several results that are panels of a figure."""
    asked = asked_of(results[0])
    if len(results) > 1 and isinstance(asked, Trace):
        return asked.panels_title(results[0])
    return between.join(dict.fromkeys(map(title_of, results)))


def note_of(result: Result) -> str:
    """More of how it was done, in sentences."""
    return asked_of(result).note(result)


def is_one_number(result: Result) -> bool:
    """Whether the result is a single number a pair: places that were changed together."""
    return isinstance(asked_of(result), Together)


def asked_of(result: Result) -> Experiment:
    """The experiment of a result, which was checked when the result was read."""
    if isinstance(result.asked, Experiment):
        return result.asked
    return METHODS[result.method].model_construct(**result.experiment)


def short_number(value: float) -> str:
    """A number as it stands in a cell: two digits (from 10 on one), no minus sign before nothing."""
    shown = f"{value:.{2 if abs(value) < 10 else 1}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown


def _panels(result: Result) -> tuple[str, dict[str, xr.DataArray]]:
    """The array that is drawn, and its two-dimensional panels by title."""
    name = result.main
    if result.method == "head_scores":
        scores = ("previous", "duplicate", "induction")
        return name, {f"{one} token": result.arrays[one].sel(prompt="random") for one in scores}
    if name == "faithfulness":
        columns = {"circuit": "faithfulness", "complement": "complement", "random": "random"}
        known = has_scale(result)
        curves = [
            result.arrays[one].mean(set(result.arrays[one].dims) - {"size"}).where(known)
            for one in columns.values()
        ]
        kinds = xr.DataArray(list(columns), dims=["edges"], name="edges")
        return name, {"": xr.concat(curves, kinds, coords="minimal").transpose("size", "edges")}
    array = result.arrays[name]
    if name == "effect" and not has_scale(result) and bool(result.patched.notnull().any()):
        name, array = "patched", result.patched
    if name == "components":
        return name, {"": _two_axes(array.transpose("component", "run"))}
    if "run" in array.dims:
        runs = [str(run) for run in array["run"].values]
        return name, {run: _two_axes(array.sel(run=run)) for run in runs}
    return name, {"": _two_axes(array)}


def _make_grid(result: Result, title: str, array: xr.DataArray, scale: Scale) -> Grid:
    texts = _position_texts(result, title)
    rows, columns = (
        [_tick_label(array, array.dims[axis], i, texts) for i in range(array.shape[axis])]
        for axis in (0, 1)
    )
    site = result.experiment.get("site")
    places = [
        [_cell_place(site, array, row, column) for column in range(array.shape[1])]
        for row in range(array.shape[0])
    ]
    values = array.values.astype(np.float64)
    if site is not None and (reached := _reachable_cells(result, places)) is not None:
        values = np.where(reached, values, np.nan)
    titles = _axis_title(array.dims[0]), _axis_title(array.dims[1])
    estimated = None
    if "estimated" in result.arrays and array.name in ("patched", "effect"):
        estimated = _two_axes(result.arrays["estimated"]).values > 0
    unsure, low_end, high_end = (
        _cell_statistics(result, array, one) for one in ("unsure", "low", "high")
    )
    bounds = None if low_end is None or high_end is None else np.stack([low_end, high_end], axis=-1)
    words = None
    if result.method == "logit_lens" and "top" in result.arrays:
        top = result.arrays["top"].sel(run=title).transpose(*array.dims)
        words = [[visible(str(text)) for text in row] for row in top.values]
    return Grid(
        title, values, rows, columns, *titles, places, *scale, estimated, words, unsure, bounds
    )


def _reachable_cells(result: Result, places: Sequence[Sequence[str]]) -> NDArray[np.bool_] | None:
    """Which patches can move anything: of the others there is nothing to show, not a 0."""
    asked = asked_of(result)
    if not isinstance(asked, Sweep) or type(asked).can_have_effect is Sweep.can_have_effect:
        return None
    layers = np.array([[parse_place(one).layer or 0 for one in row] for row in places])
    parallel = bool(result.model.get("parallel"))
    reached = [
        layer for layer in np.unique(layers).tolist() if asked.can_have_effect(layer, parallel)
    ]
    return np.isin(layers, reached)


def _cell_statistics(result: Result, array: xr.DataArray, name: str) -> NDArray[Any] | None:
    """Of the cells of a panel of the main array, what the result's statistics have of this name."""
    found = stored_statistics(result)
    if found is None or array.name != found.array:
        return None
    cells: xr.DataArray = getattr(found, name)
    for dim in [dim for dim in cells.dims if dim not in array.dims and dim in array.coords]:
        if array[dim].ndim == 0:
            cells = cells.sel({dim: array[dim].item()}, drop=True)
    cells = _two_axes(cells)
    return cells.transpose(*array.dims).values if set(cells.dims) == set(array.dims) else None


def _two_axes(array: xr.DataArray) -> xr.DataArray:
    """layer × head × position (or role) as (layer, head) × it; where axes lack they are added."""
    if array.ndim == 3:
        return array.stack(place=("layer", "head")).transpose("place", array.dims[-1])
    if array.ndim == 0:
        array = array.expand_dims(places=["together"])
    if array.ndim == 1:
        return array.expand_dims(all=[0], axis=1)
    return array


def _position_texts(result: Result, title: str) -> list[str] | None:
    """The token at each position: both runs' where they differ, one's in a panel that names it."""
    texts = result.position_tokens
    if texts is None:
        return shared_position_texts(result)
    if title in result.tokens:
        return [visible(str(text)) for text in result.tokens[title]]
    clean, corrupt = (result.tokens[run] for run in ("clean", "corrupt"))
    if len(clean) != len(corrupt):
        return [visible(str(text)) for text in texts]
    pairs = (
        (visible(str(one)), visible(str(other))) for one, other in zip(clean, corrupt, strict=True)
    )
    return [one if one == other else f"{one}→{other}" for one, other in pairs]


def shared_position_texts(result: Result) -> list[str] | None:
    """Of many pairs the token that all their prompts have at a position; nothing where they differ."""
    prompts = [texts for some in result.tokens.values() for texts in some]
    if len({len(texts) for texts in prompts}) > 1:
        return None
    there = [{visible(str(text)) for text in column} for column in zip(*prompts, strict=True)]
    return [min(some) if len(some) == 1 else "" for some in there]


def _tick_label(array: xr.DataArray, dim: object, index: int, texts: list[str] | None) -> str:
    value = array[dim].values[index]
    if dim == "place":
        return f"{value[0]}.{value[1]}"
    if dim == "all":
        return "all"
    if dim in ("position", "query", "key") and texts is not None:
        return f"{texts[value]} {value}".strip() if value < len(texts) else str(value)
    return visible(str(value)) if dim == "role" else run_name(value)


def _axis_title(dim: object) -> str:
    return {"place": "layer.head", "all": "positions"}.get(str(dim), str(dim))


def _cell_place(site: str | None, array: xr.DataArray, row: int, column: int) -> str:
    cell: dict[str, Any] = {}
    for dim, index in zip(array.dims, (row, column), strict=True):
        value = array[dim].values[index]
        if dim == "place":
            cell |= {"layer": value[0], "head": value[1]}
        elif dim != "all":
            cell[str(dim)] = value
    return cell_name(site, cell)
