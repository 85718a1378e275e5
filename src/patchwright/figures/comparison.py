"""Two results side by side, and their difference, on one scale."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result
from patchwright.errors import InputError
from patchwright.figures.grid import Grid, grids_of, on_one_scale, title_of
from patchwright.places import SITE_TABLE
from patchwright.spelling import run_name


def comparison_grids(one: Result, other: Result) -> list[Grid]:
    """For every panel three: the first result, the second, and the second less the first.

    Over several pairs their means. Raises InputError, with what differs, where the cells
    of the two are not the same cells.
    """
    ours, theirs = grids_of(one), grids_of(other)
    _check_panels(one, ours, other, theirs)
    found: list[Grid] = []
    for a, b in zip(ours, theirs, strict=True):
        _check_cells(a, b)
        labels = [_joint_label(*two) for two in zip(a.columns, b.columns, strict=True)]
        first, second = (replace(one, columns=labels) for one in on_one_scale([a, b]))
        found += _with_difference(first, second)
    return found


def run_differences(one: Result, other: Result) -> list[str]:
    """In what the two are not alike, so that their difference is not of one thing alone.

    Each is a few words that stand behind 'they differ in'.
    """
    found: list[str] = []
    sizes = [len(result.prompts("clean")) for result in (one, other)]
    if sizes[0] != sizes[1]:
        means = ("one pair" if size == 1 else f"a mean over {size} pairs" for size in sizes)
        found.append(f"the prompts ({'; '.join(means)})")
    elif any(one.prompts(run) != other.prompts(run) for run in ("clean", "corrupt")):
        found.append("the prompts")
    names = [str(result.model.get("name", "unnamed")) for result in (one, other)]
    if one.model.get("fingerprint") != other.model.get("fingerprint"):
        same = names[0] == names[1]
        found.append("the model's weights" if same else f"the model ({names[0]}; {names[1]})")
    if one.method != other.method:
        found.append(f"the method ({one.method}; {other.method})")
    for field, (words, names) in _COMPARED_FIELDS.items():
        ours, theirs = (result.experiment.get(field) for result in (one, other))
        if ours != theirs and None not in (ours, theirs):
            found.append(f"{words} ({names[ours]}; {names[theirs]})")
    return found


_COMPARED_FIELDS: dict[str, tuple[str, Mapping[Any, str]]] = {
    "metric": ("the metric", {name: one.label for name, one in METRIC_TABLE.items()}),
    "direction": ("the direction", {"denoise": "A → B", "noise": "B → A"}),
    "site": ("what is changed", {name: one.label for name, one in SITE_TABLE.items()}),
}
"""Fields that are compared: what each is, and what its values are called."""


def _with_difference(first: Grid, second: Grid) -> list[Grid]:
    """The grids and their difference, whose scale is theirs or, about 0, reaches as far."""
    values = second.values - first.values
    known = np.abs(values[np.isfinite(values)])
    limit = max(abs(first.low), abs(first.high), float(known.max(initial=0.0)))
    marks = [one.estimated for one in (first, second) if one.estimated is not None]
    difference = replace(
        first,
        values=values,
        centred=True,
        low=-limit,
        high=limit,
        estimated=np.any(marks, axis=0) if marks else None,
        texts=None,
    )
    grids = [first, second, difference]
    grids = on_one_scale(grids) if first.centred else grids
    names = ("first", "second", "second − first")
    return [
        replace(grid, title=f"{name}: {run_name(grid.title)}" if grid.title else name)
        for name, grid in zip(names, grids, strict=True)
    ]


def _check_panels(one: Result, ours: list[Grid], other: Result, theirs: list[Grid]) -> None:
    kinds = [[(grid.title, grid.unit) for grid in grids] for grids in (ours, theirs)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"'{title_of(one)}' and '{title_of(other)}' show different things ({_units_text(ours)}; "
            f"{_units_text(theirs)}), so they have no difference: compare two runs of one method."
        )


def _check_cells(a: Grid, b: Grid) -> None:
    axes = [(grid.row_title, grid.column_title, grid.values.shape) for grid in (a, b)]
    if axes[0] != axes[1] or a.places != b.places:
        raise InputError(
            f"One run has the cells {_cells_text(a)}, the other {_cells_text(b)}, so they have no "
            "difference: compare runs of the same places."
        )


def _cells_text(grid: Grid) -> str:
    n_rows, n_columns = grid.values.shape
    ends = f"{grid.places[0][0]} to {grid.places[-1][-1]}" if grid.values.size else "none"
    return f"{ends} ({n_rows} {grid.row_title} × {n_columns} {grid.column_title})"


def _units_text(grids: list[Grid]) -> str:
    return ", ".join(dict.fromkeys(grid.unit for grid in grids))


def _joint_label(one: str, other: str) -> str:
    """A column's label; where the two runs read other tokens there, both."""
    return one if one == other else f"{one.rsplit(' ', 1)[0]}/{other}"
