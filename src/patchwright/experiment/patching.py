"""The experiments that change runs: a value of the metric for each place."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from patchwright.algorithms.ablation import Ablation, substitute
from patchwright.algorithms.attribution import Estimating, attribute, compared
from patchwright.algorithms.likeliest import Likeliest
from patchwright.algorithms.metrics import check_answers
from patchwright.algorithms.paths import ON_PATHS, Paths, path_patch, receivers_of
from patchwright.algorithms.result import CHOICE
from patchwright.algorithms.runs import averaged, baselines, read_both, run_in_groups, stacked
from patchwright.algorithms.sweep import (
    Cells,
    Promising,
    Swept,
    choose_cells,
    patched_tokens,
    sweep,
    together,
)
from patchwright.algorithms.tracing import Tracing, trace
from patchwright.axes import Direction
from patchwright.errors import ExperimentError
from patchwright.experiment.results import (
    Found,
    Work,
    check_one_length,
    found_in,
    stopped_sweep,
    without_positions,
)
from patchwright.experiment.types import (
    Ablate,
    AblateTogether,
    Ablating,
    Attribute,
    Patch,
    PatchTogether,
    PathPatch,
    Trace,
)
from patchwright.model.load import Model
from patchwright.model.rows import CORE
from patchwright.notices import Notice
from patchwright.places import Place, Site, parse_place
from patchwright.prompts.pair import Pair, TokenPair, prompt_ids, tokenize_prompt
from patchwright.prompts.roles import role_position
from patchwright.prompts.subject import find_subject
from patchwright.prompts.tokens import Tokenizer

READ_AT_ONCE = 64
"""Runs whose logits are there at one time when baselines are read."""


def run_sweep(experiment: Patch | Ablate, work: Work, tokens: list[TokenPair]) -> Found:
    """`patched` of every cell; by attribution also which are `estimated`."""
    cells, coords = _cells(experiment, work.model, tokens)
    missing = None
    if isinstance(experiment, Patch) and experiment.roles is not None:
        asked = experiment.roles, experiment.direction
        cells, missing = at_roles(cells, *asked, experiment.pair_list, tokens, work.model.tokenizer)
        coords = role_coords(coords, experiment.roles)
    network, budget = work.model.network, work.budget
    how = (experiment.direction, experiment.metric)
    source = promising = None
    if isinstance(experiment, Ablate):
        source = substitute(network, _ablation(experiment, work.model), [experiment.site])
    elif experiment.order == "attribution":
        if experiment.most is not None and experiment.most < 1:
            raise ExperimentError(f"most={experiment.most}: compute at least 1 cell exactly.")
        estimating = Estimating("gradient", 1)
        estimate = attribute(network, tokens, cells, *how, estimating, budget)
        promising = Promising(estimate.values, experiment.most)
    elif experiment.most is not None:
        raise ExperimentError("'most' needs an order to choose by: add order='attribution'.")
    hints = source, promising, work.top
    swept = sweep(network, tokens, cells, *how, work.progress, budget, *hints)
    if missing is not None:
        for pair, role in zip(*np.nonzero(missing), strict=True):
            swept.values[pair, ..., role] = np.nan
            swept.estimated[pair, ..., role] = False
        if swept.top is not None:
            swept.top.forget(np.isnan(swept.values))
    return _swept(experiment, work, swept, coords)


def _ablation(experiment: Ablating, model: Model) -> Ablation:
    prompts = [prompt_ids(one, model.tokenizer, experiment.bos) for one in experiment.prompts]
    longest = max(map(len, prompts), default=0)
    if longest > model.spec.n_context:
        raise ExperimentError(
            f"A reference prompt has {longest} tokens, and {model.name} takes at most "
            f"{model.spec.n_context}: shorten it."
        )
    return Ablation(experiment.how, tuple(prompts), experiment.by_position, experiment.seed)


def run_attribute(experiment: Attribute, work: Work, tokens: list[TokenPair]) -> Found:
    """`patched` as estimated; with `exact` the sweep beside it, and how they agree."""
    cells, coords = _cells(experiment, work.model, tokens)
    network, budget = work.model.network, work.budget
    how = (experiment.direction, experiment.metric)
    estimating = Estimating(experiment.how, experiment.steps)
    estimate = attribute(network, tokens, cells, *how, estimating, budget)
    found = _swept(experiment, work, estimate, coords)
    if not experiment.exact:
        return found
    exact = sweep(network, tokens, cells, *how, work.progress, budget)
    found.arrays["exact"] = found.arrays["patched"].copy(data=exact.values)
    bases = found.corrupts if experiment.direction == "denoise" else found.cleans
    base = np.array([one.metric for one in bases]).reshape(-1, *[1] * (exact.values.ndim - 1))
    stopped = exact.done < exact.values.size
    if stopped:
        found.notices.append(stopped_sweep(exact.done, exact.values.size))
    if not stopped or np.isfinite(exact.values).sum() > 1:
        found.details.update(compared(estimate.values - base, exact.values - base))
    return found


def _cells(
    experiment: Patch | Ablate | Attribute | PathPatch, model: Model, tokens: Sequence[TokenPair]
) -> tuple[Cells, dict[str, Any]]:
    """The cells that all pairs share, and the labels of their axes.

    Raises UnequalLengthsError where positions of pairs of different lengths would meet.
    """
    lengths = [len(patched_tokens(pair, experiment.direction)) for pair in tokens]
    cells = choose_cells(
        model.spec,
        lengths[0],
        experiment.site,
        experiment.per,
        experiment.layers,
        experiment.positions,
        experiment.heads,
    )
    by_role = isinstance(experiment, Patch) and experiment.roles is not None
    if by_role and cells.positions is not None:
        raise ExperimentError("Give either roles or positions: roles name each pair's positions.")
    if (cells.by_position and not by_role) or cells.positions is not None:
        check_one_length(lengths, *_instead_of_positions(experiment, cells))
    return cells, cells.coords(lengths[0])


def _instead_of_positions(
    experiment: Patch | Ablate | Attribute | PathPatch, cells: Cells
) -> list[str]:
    """What can be done with pairs of different lengths, as advice."""
    if not cells.by_position:
        return ["name no positions"]
    others = without_positions(experiment.site)
    if cells.positions is not None:
        return [f"name no positions, and {others}"]
    roles = ["patch where each has the same role: roles=['last'] (--roles last)"]
    return [others, *(roles if isinstance(experiment, Patch) else [])]


def at_roles(
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
    if not cells.by_position:
        raise ExperimentError(
            f"Roles are positions, and a sweep per {cells.per} has none: choose per position or "
            "head_position."
        )
    if not roles or len(set(roles)) < len(roles):
        raise ExperimentError("Name at least one role, and none twice, as in subject, last.")
    found: list[Cells] = []
    missing = np.zeros((len(pairs), len(roles)), dtype=np.bool_)
    for i, (pair, own) in enumerate(zip(pairs, tokens, strict=True)):
        clean = [role_position(pair, own.clean, tokenizer, role) for role in roles]
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


def run_path_patch(experiment: PathPatch, work: Work, tokens: list[TokenPair]) -> Found:
    """`patched` of every sender, by way of the receivers."""
    cells, coords = _cells(experiment, work.model, tokens)
    n_positions = len(patched_tokens(tokens[0], experiment.direction))
    receivers = receivers_of(experiment.receivers, work.model.spec, n_positions)
    if any(place.position is not None for place in receivers):
        lengths = (len(patched_tokens(pair, experiment.direction)) for pair in tokens)
        check_one_length(lengths, "name receivers without positions")
    swept = path_patch(
        work.model.network,
        tokens,
        cells,
        Paths(receivers, experiment.mlps, experiment.norms),
        experiment.direction,
        experiment.metric,
        work.progress,
        work.budget,
    )
    return _swept(experiment, work, swept, coords)


def run_unpatched(
    experiment: Patch | Ablate | PathPatch, work: Work, tokens: list[TokenPair]
) -> Found:
    """The runs that a sweep starts from, read as the sweep reads them, and no cell."""
    keep = CORE | frozenset[Site]({experiment.site})
    if isinstance(experiment, PathPatch):
        keep |= ON_PATHS
    groups = run_in_groups(work.model.network, tokens, keep, work.budget)
    read = (read_both(group, experiment.metric) for group in groups)
    found = found_in(experiment, work, [one.forgotten() for some in read for one in some], {})
    found.details.update(_details(experiment))
    return found


def _details(experiment: Patch | Ablate | PathPatch | Attribute) -> dict[str, Any]:
    if not isinstance(experiment, PathPatch):
        return {}
    return {"mlps": experiment.mlps, "norms": experiment.norms}


def _swept(
    experiment: Patch | Ablate | Attribute | PathPatch,
    work: Work,
    swept: Swept,
    coords: dict[str, Any],
) -> Found:
    patched = xr.DataArray(swept.values, dims=["pair", *coords], coords=coords)
    arrays = {"patched": patched}
    if isinstance(experiment, Patch) and experiment.order == "attribution":
        arrays["estimated"] = patched.copy(data=swept.estimated.astype(np.float64))
    if swept.top is not None:
        arrays |= _likeliest(swept.top, patched, work)
    found = found_in(experiment, work, swept.runs, arrays, done=swept.done)
    found.details.update(_details(experiment))
    return found


def _likeliest(top: Likeliest, patched: xr.DataArray, work: Work) -> dict[str, xr.DataArray]:
    """The arrays `top`, texts, `top_id` and `top_probability`: as `patched`, and by choice from 1."""
    texts = {token: work.text(token) for token in np.unique(top.tokens).tolist() if token >= 0}
    named = np.array([texts.get(token, "") for token in top.tokens.ravel().tolist()], dtype=np.str_)
    ids = np.where(top.tokens < 0, np.nan, top.tokens)
    coords = {**patched.coords, CHOICE: range(1, ids.shape[-1] + 1)}
    values = {"top": named.reshape(ids.shape), "top_id": ids, "top_probability": top.probabilities}
    dims = [*patched.dims, CHOICE]
    return {name: xr.DataArray(one, dims=dims, coords=coords) for name, one in values.items()}


def run_together(
    experiment: PatchTogether | AblateTogether, work: Work, tokens: list[TokenPair]
) -> Found:
    """`patched` of one run in which all places are patched, or ablated."""
    places = places_of(experiment.places)
    if not places:
        raise ExperimentError("No place was named: name at least one, as in L9H6.z@-1.")
    network, source = work.model.network, None
    if isinstance(experiment, AblateTogether):
        sites: list[Site] = [place.site for place in places]
        source = substitute(network, _ablation(experiment, work.model), sites)
    how = (experiment.direction, work.budget)
    ran = together(network, tokens, places, *how, source=source)
    runs, altered = [one for one, _ in ran], [some for _, some in ran]
    found = found_in(experiment, work, runs, {}, len(ran), altered)
    values = [one.metric for one in found.altered]
    found.arrays["patched"] = xr.DataArray(values, dims=["pair"])
    return found


def places_of(written: Iterable[str]) -> list[Place]:
    """Places by their names."""
    return [parse_place(place) for place in written]


def run_trace(experiment: Trace, work: Work) -> Found:
    """`patched`: the mean over samples; their `spread`; the `samples` themselves."""
    model, metric = work.model, experiment.metric
    prompt = tokenize_prompt(
        experiment.prompt,
        experiment.answer,
        experiment.wrong,
        model.tokenizer,
        n_vocab=model.n_tokens,
        n_context=model.spec.n_context,
        bos=experiment.bos,
    )
    check_answers(metric, prompt)
    subject = find_subject(
        experiment.prompt, prompt.clean, model.tokenizer, experiment.subject, experiment.occurrence
    )
    tracing = Tracing(
        experiment.site,
        subject.positions,
        experiment.noise,
        experiment.samples,
        experiment.window,
        experiment.seed,
        experiment.sever,
    )
    traced = trace(model.network, prompt, tracing, metric, work.progress, work.budget)
    coords = {"layer": range(model.spec.n_layers), "position": range(len(prompt.clean))}
    samples = xr.DataArray(
        traced.values,
        dims=["sample", *coords],
        coords={"sample": range(experiment.samples), **coords},
    )
    # Samples that came in turn may have been stopped between two turns: no place has them all.
    over, notices = np.arange(experiment.samples), [*subject.notices]
    whole = np.flatnonzero(np.isfinite(traced.values).all(axis=(1, 2)))
    if bool(np.isnan(traced.values).any(axis=0).all()) and whole.size:
        over = whole
        message = (
            f"Stopped after {whole.size} of {experiment.samples} samples: means are over these."
        )
        notices.append(Notice(code="stopped", message=message))
    meant = samples.isel(sample=over)
    arrays = {
        "patched": meant.mean("sample", skipna=False),
        "spread": meant.std("sample", ddof=1 if over.size > 1 else 0, skipna=False),
        "samples": samples,
    }
    asked = [traced.clean, *(traced.noisy[i] for i in over)]
    clean, *noisy = (
        one
        for first in range(0, len(asked), READ_AT_ONCE)
        for one in baselines(
            traced.reader.of(stacked(asked[first : first + READ_AT_ONCE])), metric, work.text
        )
    )
    details = {
        "sigma": traced.sigma,
        "subject": list(subject.positions),
        "subject_tokens": [prompt.clean_texts[i] for i in subject.positions],
    }
    arrays = {name: array.expand_dims("pair") for name, array in arrays.items()}
    done = int(arrays["patched"].notnull().sum())
    return Found(
        [prompt], [clean], [averaged(noisy)], arrays, done, details=details, notices=notices
    )
