"""Whether there is something to conclude: a gap that is a scale, and a place that moves the metric.

An effect is a share of the gap between the clean and the corrupted run. Where these hardly
differ, a large share is a large part of nothing: the numbers stay in the result, but nothing
is ranked, drawn or said by them. What a patch moved in the metric's own unit stands.
"""

import numpy as np
import xarray as xr

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result
from patchwright.axes import Metric
from patchwright.warnings import Notice

SHARE_ARRAYS = ("effect", "faithfulness")
"""Main arrays that are shares of a gap."""


def has_scale(result: Result) -> bool:
    """Whether the two runs differ enough, over several pairs on average, to rank by effects.

    As far apart as the unit's `small_gap`: below, the result warns that the gap is small or flat.
    """
    metric: Metric = result.experiment["metric"]
    # Of a circuit whose outside is a mean, the corrupted end is not the corrupted run.
    gap = result.details.get("gap", result.clean.metric - result.corrupt.metric)
    return abs(gap) >= METRIC_TABLE[metric].unit.small_gap


def usable_effect(result: Result) -> xr.DataArray:
    """`mean_effect`, empty where the gap is no scale for it. Raises InputError as `effect` does."""
    effect = result.mean_effect
    return effect if has_scale(result) else xr.full_like(effect, np.nan)


def measure_label(result: Result) -> str:
    """What is compared between places, in words: 'share of the logit difference restored'.

    The metric itself where the gap is too small for shares.
    """
    metric: Metric = result.experiment["metric"]
    spec = METRIC_TABLE[metric]
    if not has_scale(result):
        return spec.label
    done = "restored" if result.experiment["direction"] == "denoise" else "lost"
    return f"share of the {'gap in ' if spec.lower_is_better else ''}{spec.label} {done}"


def metric_change(result: Result) -> xr.DataArray:
    """How far each patch moved the metric from the run that was patched, in the metric's unit.

    With a `pair` dim where the result has one. Raises InputError where nothing was patched.
    """
    return result.patched - result.base.metrics("pair" in result.patched.dims)


def nothing_moved(result: Result) -> bool:
    """Whether none of the places that were computed moves the metric by more than a flat gap.

    False of a result without places, and of a stopped one: what moves may be among the rest.
    """
    stopped = any(notice["code"] == "stopped" for notice in result.warnings)
    if stopped or not result.arrays or result.main not in ("effect", "edges"):
        return False
    distance = abs(metric_change(result) if result.main == "effect" else result.array("edges"))
    places = set(distance.dims) - {"pair"}
    metric: Metric = result.experiment["metric"]
    return (
        bool(places)
        and bool(distance.notnull().any())
        and float(distance.max()) <= METRIC_TABLE[metric].unit.min_gap
    )


def nothing_moved_notices(result: Result) -> list[Notice]:
    """The warning that nothing moved, where that is so."""
    if not nothing_moved(result):
        return []
    metric: Metric = result.experiment["metric"]
    unit = METRIC_TABLE[metric].unit
    what = "edge" if result.main == "edges" else "place"
    return [
        Notice(
            code="nothing_moved",
            message=f"No {what} that was computed moves {metric} by more than "
            f"{unit.min_gap:g}{unit.suffix}, so there is nothing to rank. Choose other places, or "
            "prompts whose answers differ more.",
        )
    ]
