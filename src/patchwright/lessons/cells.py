"""The cells that a reader can pick: those of the one map that stands for a result."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pandas as pd
import xarray as xr

from patchwright.algorithms.result import Result, cell_name, effect_of

Cell = Mapping[str, Any]
"""A cell's `place`, as its map names it, its labels, and its value in every array over them."""

POSITIONS = ("position", "query", "key")
"""Labels that are positions: below 0 they count from the end."""

_SHOWN_LABELS = {"run": "clean", "prompt": "random"}
"""Of axes that a map does not have, the label that it shows."""

_PART = re.compile(r"L(\d+)(?:H(\d+)|\.mlp)")


def edges_as_sweep(result: Result) -> Result:
    """Scores of edges as an estimated sweep over heads and MLPs; any other result as it is.

    The scores of all edges out of a part add up to the metric's change, to first order, when the
    part is corrupted. `effect` is the share of the gap that is lost so, [layer, part].
    """
    if result.method != "edge_attribution":
        return result
    sums = result.array("edges").sum("receiver").to_series()
    found = {name: match for name in sums.index if (match := _PART.fullmatch(str(name)))}
    labels = [(int(one[1]), f"head {one[2]}" if one[2] else "MLP") for one in found.values()]
    layers, parts = (list(dict.fromkeys(some)) for some in zip(*labels, strict=True))
    index = pd.MultiIndex.from_tuples(labels, names=["layer", "part"])
    change = xr.DataArray.from_series(pd.Series(sums[list(found)].to_numpy(), index))
    patched = result.clean.metric + change.sel(layer=layers, part=parts)
    clean, corrupt = result.clean.metrics(many=False), result.corrupt.metrics(many=False)
    effect = effect_of(patched, clean, corrupt, "noise", result.experiment["metric"])
    arrays = {**result.arrays, "patched": patched.rename("patched"), "effect": effect}
    return replace(result, arrays=arrays, asked=None)


def map_cells(result: Result) -> list[Cell]:
    """Every cell of a result's map; of several runs the clean one's, of several pairs the means."""
    over_pairs = "pair" in result.arrays[result.main].dims
    table = (result.averaged() if over_pairs else result).table()
    for dim, label in _SHOWN_LABELS.items():
        if dim in table:
            table = table[table[dim] == label].drop(columns=dim)
    dims = [str(dim) for dim in result.arrays[result.main].dims if dim in table]
    rows = cast("list[dict[str, Any]]", table.to_dict("records")) if dims else []
    return [{"place": cell_name(None, {dim: row[dim] for dim in dims}), **row} for row in rows]


def map_tokens(result: Result) -> Sequence[str] | None:
    """The tokens along the map's positions; None of several pairs."""
    if "run" not in result.arrays[result.main].dims:
        return result.position_tokens
    texts = result.tokens["clean"]
    return [str(one) for one in texts] if all(isinstance(one, str) for one in texts) else None
