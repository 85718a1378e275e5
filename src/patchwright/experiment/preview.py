"""What can be shown of a sweep before it is done: its baselines, and the cells so far."""

from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from patchwright.algorithms.batches import BUDGET, Progress
from patchwright.algorithms.lens import accumulated
from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result, effect_of
from patchwright.algorithms.runs import run_pairs
from patchwright.algorithms.sweep import choose_cells
from patchwright.experiment.patching import role_coords
from patchwright.experiment.reading import LENS, lens_runs
from patchwright.experiment.results import Work, stopped_sweep
from patchwright.experiment.run import all_tokens, run, unpatched
from patchwright.experiment.types import Ablate, LogitLens, Patch, PathPatch, Trace
from patchwright.model.load import Model

CellByCell = Patch | Ablate | PathPatch | Trace
"""Experiments of one pair or prompt whose cells are finished one after another."""


def baselines_of(experiment: CellByCell, model: Model) -> Result:
    """The sweep's Result without any cell: both unpatched runs, tokens and warnings.

    The runs are those that the sweep of a single pair then starts from. Those of a trace are
    noisy: it begins, and is stopped before its first cell.
    """
    if not isinstance(experiment, Trace):
        return unpatched(experiment, model)
    found = run(experiment, model, lambda _: False)
    warnings = [notice for notice in found.warnings if notice["code"] != "stopped"]
    return replace(found, arrays={}, warnings=warnings)


def accumulated_of(experiment: LogitLens, model: Model) -> xr.DataArray | None:
    """The array `accumulated` of the lens of one pair alone, without its costly columns.

    None where it has none, for want of a wrong answer. Raises what the lens does.
    """
    work = Work(model, None, BUDGET)
    tokens = all_tokens(experiment, model)
    named = lens_runs(experiment, work, tokens)
    (runs,) = run_pairs(model.network, tokens, LENS)
    return accumulated(runs.reader, named(runs)) if runs.pair.wrongs else None


def so_far(
    experiment: CellByCell,
    model: Model,
    unpatched: Result,
    now: Progress | None,
    stopped: bool = False,
) -> Result:
    """The sweep of one pair as it stands: finished cells, estimates where there are any.

    `unpatched` is what `baselines_of` gave. Cells without either are NaN; the array
    `estimated` is 1 where a cell holds an estimate. With `stopped`, a warning says how
    many are there, as of a sweep that goes no further.
    """
    arrays = (
        _of_trace(unpatched, model, now)
        if isinstance(experiment, Trace)
        else _of_sweep(experiment, unpatched, model, now)
    )
    gap = unpatched.clean.metric, unpatched.corrupt.metric
    smallest = METRIC_TABLE[experiment.metric].unit.min_gap
    patched = arrays["patched"]
    arrays["effect"] = effect_of(patched, *gap, experiment.direction, smallest)
    warnings = list(unpatched.warnings)
    if stopped:
        guessed = "estimated" in arrays and bool(arrays["estimated"].any())
        done = 0 if now is None else now.done
        if isinstance(experiment, Trace):
            done = int(patched.notnull().sum())
        warnings.append(stopped_sweep(done, patched.size, "estimates" if guessed else "empty"))
    return replace(
        unpatched,
        experiment=experiment.model_dump(mode="json"),
        arrays=arrays,
        warnings=warnings,
    )


def _of_trace(unpatched: Result, model: Model, now: Progress | None) -> dict[str, xr.DataArray]:
    """Means and spreads over the samples of the places that all samples have."""
    n_samples, n_positions = len(unpatched.corrupt.pairs), len(unpatched.tokens["clean"])
    shape = (n_samples, model.spec.n_layers, n_positions)
    values: NDArray[np.float64] = np.full(shape, np.nan) if now is None else now.patched.copy()
    coords = {"layer": range(shape[1]), "position": range(shape[2])}
    samples = xr.DataArray(
        values,
        dims=["sample", *coords],
        coords={"sample": range(n_samples), **coords},
        name="samples",
    )
    spread = samples.std("sample", ddof=1 if n_samples > 1 else 0, skipna=False)
    mean = samples.mean("sample", skipna=False)
    return {
        "patched": mean.rename("patched"),
        "spread": spread.rename("spread"),
        "samples": samples,
    }


def _of_sweep(
    experiment: Patch | Ablate | PathPatch, unpatched: Result, model: Model, now: Progress | None
) -> dict[str, xr.DataArray]:
    run_patched = "corrupt" if experiment.direction == "denoise" else "clean"
    n_positions = len(unpatched.tokens[run_patched])
    cells = choose_cells(
        model.spec, n_positions, experiment.site, experiment.per,
        experiment.layers, experiment.positions, experiment.heads,
    )  # fmt: skip
    coords = cells.coords(n_positions)
    if isinstance(experiment, Patch) and experiment.roles is not None:
        cells = replace(cells, positions=tuple(range(len(experiment.roles))))
        coords = role_coords(coords, experiment.roles)
    values = np.full(cells.shape(n_positions), np.nan)
    estimated = np.zeros(values.shape)
    if now is not None:
        values = now.patched[0].copy()
    if now is not None and now.estimate is not None:
        unknown = np.isnan(values) & ~np.isnan(now.estimate[0])
        values[unknown] = now.estimate[0][unknown]
        estimated[unknown] = 1
    patched = xr.DataArray(values, dims=list(coords), coords=coords, name="patched")
    return {"patched": patched, "estimated": patched.copy(data=estimated).rename("estimated")}
