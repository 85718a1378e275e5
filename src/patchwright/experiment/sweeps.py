"""What all sweeps share: their cells, their unpatched runs, and what they found as arrays."""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from patchwright.algorithms.batches import Progress
from patchwright.algorithms.likeliest import TopTokens
from patchwright.algorithms.pair_runs import run_in_groups
from patchwright.algorithms.result import Result
from patchwright.algorithms.sweep import (
    Cells,
    Priority,
    Source,
    SweepValues,
    choose_cells,
    patched_tokens,
    sweep,
)
from patchwright.axes import BUDGET, CHOICE, Direction
from patchwright.errors import ExperimentError
from patchwright.experiment.assembly import (
    RawResult,
    RunContext,
    as_result,
    check_equal_lengths,
    other_pers_advice,
    raw_result,
)
from patchwright.experiment.patching import Sweep
from patchwright.model.load import Model
from patchwright.model.requests import BASE_SITES
from patchwright.prompts.pair import Pair, TokenPair
from patchwright.prompts.roles import role_position
from patchwright.prompts.tokens import Tokenizer


def cells_of(
    experiment: Sweep, model: Model, tokens: Sequence[TokenPair]
) -> tuple[Cells, dict[str, Any]]:
    """The cells that all pairs share, and the labels of their axes.

    Raises UnequalLengthsError where positions of pairs of different lengths would meet.
    """
    lengths = [len(patched_tokens(pair, experiment.direction)) for pair in tokens]
    cells = _experiment_cells(experiment, model, lengths[0])
    by_role = experiment.role_names is not None
    if by_role and cells.positions is not None:
        raise ExperimentError("Give either roles or positions: roles name each pair's positions.")
    if (cells.over_positions and not by_role) or cells.positions is not None:
        check_equal_lengths(lengths, *_unequal_length_advice(experiment, cells))
    return cells, cells.coords(lengths[0])


def _experiment_cells(experiment: Sweep, model: Model, n_positions: int) -> Cells:
    return choose_cells(
        model.spec,
        n_positions,
        experiment.site,
        experiment.per,
        experiment.layers,
        experiment.positions,
        experiment.heads,
    )


def _unequal_length_advice(experiment: Sweep, cells: Cells) -> list[str]:
    """What can be done with pairs of different lengths, as advice."""
    if not cells.over_positions:
        return ["name no positions"]
    others = other_pers_advice(experiment.site)
    if cells.positions is not None:
        return [f"name no positions, and {others}"]
    roles = ["patch where each has the same role: roles=['last'] (--roles last)"]
    return [others, *(roles if "roles" in type(experiment).model_fields else [])]


def patch_cells(
    experiment: Sweep,
    work: RunContext,
    tokens: Sequence[TokenPair],
    cells: Cells | Sequence[Cells],
    source: Source | None = None,
    priority: Priority | None = None,
) -> SweepValues:
    """Patch the cells of an experiment, one at a time; see `algorithms.sweep`."""
    return sweep(
        work.model.network,
        tokens,
        cells,
        experiment.direction,
        experiment.metric,
        work.progress,
        work.budget,
        source,
        priority,
        work.top,
    )


def cells_at_roles(
    cells: Cells,
    roles: Sequence[str],
    direction: Direction,
    pairs: Sequence[Pair],
    tokens: Sequence[TokenPair],
    tokenizer: Tokenizer | None,
) -> tuple[list[Cells], NDArray[np.bool_]]:
    """Each pair's own cells, at the positions where its roles stand in the run that is patched.

    [pair, role] says which have no counterpart there; their cells stand at another
    position and have no meaning. Raises ExperimentError for roles that no sweep can
    have, PromptError for one that a pair does not have.
    """
    if not cells.over_positions:
        raise ExperimentError(
            f"Roles are positions, and a sweep per {cells.per} has none: choose per position or "
            "head_position."
        )
    if not roles or len(set(roles)) < len(roles):
        raise ExperimentError("Name at least one role, and none twice, as in subject, last.")
    found: list[Cells] = []
    missing = np.zeros((len(pairs), len(roles)), dtype=np.bool_)
    for i, (pair, own) in enumerate(zip(pairs, tokens, strict=True)):
        clean = [
            role_position(pair.clean, pair.roles, own.clean, tokenizer, role) for role in roles
        ]
        into = {a: b if direction == "denoise" else a for a, b in own.matching}
        missing[i] = [position not in into for position in clean]
        found.append(replace(cells, positions=tuple(into.get(one, 0) for one in clean)))
    return found, missing


def role_coords(coords: dict[str, Any], roles: Sequence[str]) -> dict[str, Any]:
    """The labels of a sweep's axes with roles in the place of positions."""
    return {
        "role" if dim == "position" else dim: list(roles) if dim == "position" else labels
        for dim, labels in coords.items()
    }


def run_unpatched(experiment: Sweep, model: Model) -> Result:
    """The runs that a sweep starts from, read as the sweep reads them, and no cell."""
    started = perf_counter()
    work, tokens = RunContext(model, None, BUDGET), experiment.tokens(model)
    keep, metric = BASE_SITES | experiment.kept_sites, experiment.metric
    groups = run_in_groups(model.network, tokens, keep, work.budget, metric)
    runs = [one.without_activations() for group in groups for one in group]
    found = raw_result(experiment, work, runs, {})
    found.details.update(experiment.extra_details)
    return as_result(experiment, work, found, perf_counter() - started)


def partial_arrays(
    experiment: Sweep, unpatched: Result, model: Model, now: Progress | None
) -> dict[str, xr.DataArray]:
    """The arrays of a sweep: finished cells, estimates where there are any.

    Of a sweep that goes on over more pairs than `experiment` has, those of its pairs.
    """
    n, texts = len(experiment.pair_list), unpatched.tokens
    run_patched = texts["corrupt" if experiment.direction == "denoise" else "clean"]
    n_positions = len(run_patched[0] if experiment.many else run_patched)
    cells = _experiment_cells(experiment, model, n_positions)
    coords = cells.coords(n_positions)
    if experiment.role_names is not None:
        cells = replace(cells, positions=tuple(range(len(experiment.role_names))))
        coords = role_coords(coords, experiment.role_names)
    values = np.full((n, *cells.shape(n_positions)), np.nan)
    estimated = np.zeros(values.shape)
    if now is not None:
        values = now.patched[:n].copy()
    if now is not None and now.estimate is not None:
        unknown = np.isnan(values) & ~np.isnan(now.estimate[:n])
        values[unknown] = now.estimate[:n][unknown]
        estimated[unknown] = 1
    every = {"pair": range(n), **coords}
    patched = xr.DataArray(values, dims=list(every), coords=every, name="patched")
    found = {"patched": patched, "estimated": patched.copy(data=estimated).rename("estimated")}
    if experiment.many:
        return found
    return {name: array.isel(pair=0, drop=True) for name, array in found.items()}


def raw_sweep_result(
    experiment: Sweep,
    work: RunContext,
    swept: SweepValues,
    coords: dict[str, Any],
    estimated: bool = False,
) -> RawResult:
    """What a sweep found: `patched` of every cell, and which are `estimated` where any may be."""
    patched = xr.DataArray(swept.values, dims=["pair", *coords], coords=coords)
    arrays = {"patched": patched}
    if estimated:
        arrays["estimated"] = patched.copy(data=swept.estimated.astype(np.float64))
    if swept.top is not None:
        arrays |= _top_token_arrays(swept.top, patched, work)
    found = raw_result(experiment, work, swept.runs, arrays, done=swept.done)
    found.details.update(experiment.extra_details)
    return found


def _top_token_arrays(
    top: TopTokens, patched: xr.DataArray, work: RunContext
) -> dict[str, xr.DataArray]:
    """The arrays `top`, texts, `top_id` and `top_probability`: as `patched`, and by choice from 1."""
    texts = {
        token: work.token_text(token) for token in np.unique(top.tokens).tolist() if token >= 0
    }
    named = np.array([texts.get(token, "") for token in top.tokens.ravel().tolist()], dtype=np.str_)
    ids = np.where(top.tokens < 0, np.nan, top.tokens)
    coords = {**patched.coords, CHOICE: range(1, ids.shape[-1] + 1)}
    values = {"top": named.reshape(ids.shape), "top_id": ids, "top_probability": top.probabilities}
    dims = [*patched.dims, CHOICE]
    return {name: xr.DataArray(one, dims=dims, coords=coords) for name, one in values.items()}
