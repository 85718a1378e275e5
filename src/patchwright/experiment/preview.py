"""What can be shown of a sweep before it is done: its baselines, and the cells so far."""

from dataclasses import replace

import numpy as np
import xarray as xr

from patchwright.axes import DIMS
from patchwright.experiment.run import run
from patchwright.experiment.types import Patch
from patchwright.methods.batches import Progress
from patchwright.methods.metrics import MIN_GAP, UNITS
from patchwright.methods.result import Result, effect_of
from patchwright.methods.sweep import choose_cells
from patchwright.model.load import Model


def baselines_of(experiment: Patch, model: Model) -> Result:
    """The sweep's Result without any cell: both unpatched runs, tokens and warnings."""
    layers = None if experiment.site == "embed" else (0,)
    smallest = {"per": "layer", "layers": layers, "positions": None, "heads": None}
    # The same site, so that the same activations are kept and the numbers are those of the sweep
    # to the last bit; stopped before its first cell.
    asked = experiment.model_copy(update={**smallest, "order": "layers", "most": None})
    found = run(asked, model, lambda _: False)
    warnings = [notice for notice in found.warnings if notice["code"] != "stopped"]
    return replace(
        found, experiment=experiment.model_dump(mode="json"), arrays={}, warnings=warnings
    )


def so_far(experiment: Patch, model: Model, unpatched: Result, now: Progress | None) -> Result:
    """The sweep of one pair as it stands: finished cells, estimates where there are any.

    `unpatched` is what `baselines_of` gave. Cells without either are NaN; the array
    `estimated` is 1 where a cell holds an estimate.
    """
    run_patched = "corrupt" if experiment.direction == "denoise" else "clean"
    n_positions = len(unpatched.tokens[run_patched])
    cells = choose_cells(
        model.spec, n_positions, experiment.site, experiment.per,
        experiment.layers, experiment.positions, experiment.heads,
    )  # fmt: skip
    values = np.full(cells.shape(n_positions), np.nan)
    estimated = np.zeros(values.shape)
    if now is not None:
        values = now.patched[0].copy()
    if now is not None and now.estimate is not None:
        unknown = np.isnan(values) & ~np.isnan(now.estimate[0])
        values[unknown] = now.estimate[0][unknown]
        estimated[unknown] = 1
    coords = cells.coords(n_positions)
    patched = xr.DataArray(values, dims=DIMS[experiment.per], coords=coords, name="patched")
    gap = unpatched.clean.metric, unpatched.corrupt.metric
    smallest = MIN_GAP[UNITS[experiment.metric]]
    effect = effect_of(patched, *gap, experiment.direction, smallest)
    marks = patched.copy(data=estimated).rename("estimated")
    arrays = {"patched": patched, "effect": effect, "estimated": marks}
    return replace(unpatched, experiment=experiment.model_dump(mode="json"), arrays=arrays)
