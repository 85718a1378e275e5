"""An experiment and a loaded model -> a Result."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr

from patchwright.axes import DIMS
from patchwright.errors import ExperimentError, UnequalLengthsError
from patchwright.experiment.types import (
    Ablate,
    Attention,
    Attribute,
    Difference,
    EdgeAttribution,
    EvaluateCircuit,
    Experiment,
    HeadScores,
    LogitAttribution,
    LogitLens,
    OnPairs,
    Patch,
    PatchTogether,
    PathPatch,
    Sweep,
    Trace,
)
from patchwright.methods.ablation import Ablation, substitute
from patchwright.methods.attention import PATTERN, head_scores, patterns
from patchwright.methods.attribution import Estimating, attribute, compared
from patchwright.methods.batches import BUDGET, OnProgress
from patchwright.methods.circuits import area, edge_scores, measure, random_circuits
from patchwright.methods.difference import difference
from patchwright.methods.direct import KEEP, logit_attribution
from patchwright.methods.lens import accumulated, logit_lens
from patchwright.methods.metrics import MIN_GAP, UNITS, Reader, check_answers
from patchwright.methods.paths import Paths, path_patch, receivers_of
from patchwright.methods.result import Baseline, Result, effect_of
from patchwright.methods.runs import PairRuns, averaged, baseline, notices, run_in_groups
from patchwright.methods.sweep import (
    Cells,
    Promising,
    Swept,
    choose_cells,
    patched_tokens,
    sweep,
    together,
)
from patchwright.methods.tracing import Tracing, trace
from patchwright.model.edges import Graph
from patchwright.model.forward import CORE, Run
from patchwright.model.load import Model
from patchwright.notices import Notice
from patchwright.places import Place, Site, parse_place
from patchwright.prompts.pair import Pair, TokenPair, prompt_ids, tokenize, tokenize_prompt
from patchwright.prompts.subject import subject_positions
from patchwright.prompts.tokens import token_texts

AnyExperiment = (
    Patch
    | PatchTogether
    | PathPatch
    | Ablate
    | Attribute
    | Trace
    | Difference
    | EdgeAttribution
    | EvaluateCircuit
    | Attention
    | HeadScores
    | LogitLens
    | LogitAttribution
)


@dataclass(frozen=True)
class _Work:
    """A model, and how the work on it is bounded and watched."""

    model: Model
    progress: OnProgress | None
    budget: int

    def text(self, token: int) -> str:
        """A token id as text."""
        return token_texts([token], self.model.tokenizer)[0]


@dataclass(frozen=True)
class _Found:
    """What a method found: arrays [pair, ...], and each pair's base runs as baselines.

    `done` counts the cells of `patched` that have their answer.
    """

    tokens: list[TokenPair]
    cleans: list[Baseline]
    corrupts: list[Baseline]
    arrays: dict[str, xr.DataArray]
    done: int = 0
    altered: list[Baseline] = field(default_factory=list[Baseline])
    details: dict[str, Any] = field(default_factory=dict[str, Any])


def run(
    experiment: AnyExperiment,
    model: Model,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Do what the experiment says, on a loaded model.

    `progress` is called between batches and stops the work by returning False;
    `budget` bounds the bytes that altered runs take. Raises InputError where the
    prompts, answers or places do not fit the model.
    """
    started = perf_counter()
    work = _Work(model, progress, budget)
    if isinstance(experiment, Trace):
        found, many = _trace(experiment, work), False
    else:
        many = not isinstance(experiment.pairs, Pair)
        if not experiment.pair_list:
            raise ExperimentError("The list of pairs is empty: give at least one pair.")
        tokens = [tokens_of(pair, experiment, model) for pair in experiment.pair_list]
        found = _on_pairs(experiment, work, tokens)
    return _result(experiment, work, found, many, perf_counter() - started)


def tokens_of(pair: Pair, experiment: Experiment, model: Model) -> TokenPair:
    """`pair` in the model's tokens, checked against model and metric."""
    spec = model.spec
    tokens = tokenize(
        pair,
        model.tokenizer,
        n_vocab=spec.n_vocab,
        n_context=spec.n_context,
        bos=experiment.bos,
    )
    check_answers(experiment.metric, tokens)
    return tokens


def _on_pairs(experiment: OnPairs, work: _Work, tokens: list[TokenPair]) -> _Found:
    if isinstance(experiment, Patch | Ablate):
        return _sweep(experiment, work, tokens)
    if isinstance(experiment, Attribute):
        return _attribute(experiment, work, tokens)
    if isinstance(experiment, PathPatch):
        return _path_patch(experiment, work, tokens)
    if isinstance(experiment, PatchTogether):
        return _together(experiment, work, tokens)
    if isinstance(experiment, EdgeAttribution):
        return _edge_attribution(experiment, work, tokens)
    if isinstance(experiment, EvaluateCircuit):
        return _evaluate_circuit(experiment, work, tokens)
    if isinstance(experiment, Difference):
        return _difference(experiment, work, tokens)
    if isinstance(experiment, Attention):
        return _attention(experiment, work, tokens)
    if isinstance(experiment, HeadScores):
        return _head_scores(experiment, work, tokens)
    if isinstance(experiment, LogitLens):
        return _logit_lens(experiment, work, tokens)
    assert isinstance(experiment, LogitAttribution), f"no method for {type(experiment).__name__}"
    return _logit_attribution(experiment, work, tokens)


def _sweep(experiment: Patch | Ablate, work: _Work, tokens: list[TokenPair]) -> _Found:
    _check_one_length(len(patched_tokens(pair, experiment.direction)) for pair in tokens)
    n_positions = len(patched_tokens(tokens[0], experiment.direction))
    cells = _cells(experiment, work.model, n_positions)
    network, budget = work.model.network, work.budget
    how = (experiment.direction, experiment.metric)
    source = promising = None
    if isinstance(experiment, Ablate):
        source = substitute(network, _ablation(experiment, work.model), experiment.site)
    elif experiment.order == "attribution":
        if experiment.most is not None and experiment.most < 1:
            raise ExperimentError(f"most={experiment.most}: compute at least 1 cell exactly.")
        estimating = Estimating("gradient", 1)
        estimate = attribute(network, tokens, cells, *how, estimating, budget)
        promising = Promising(estimate.values, experiment.most)
    elif experiment.most is not None:
        raise ExperimentError("'most' needs an order to choose by: add order='attribution'.")
    swept = sweep(network, tokens, cells, *how, work.progress, budget, source, promising)
    return _swept(experiment, work, swept, cells.coords(n_positions))


def _ablation(experiment: Ablate, model: Model) -> Ablation:
    prompts = [prompt_ids(one, model.tokenizer, experiment.bos) for one in experiment.prompts]
    return Ablation(experiment.how, tuple(prompts), experiment.by_position, experiment.seed)


def _attribute(experiment: Attribute, work: _Work, tokens: list[TokenPair]) -> _Found:
    _check_one_length(len(patched_tokens(pair, experiment.direction)) for pair in tokens)
    n_positions = len(patched_tokens(tokens[0], experiment.direction))
    cells = _cells(experiment, work.model, n_positions)
    network, budget = work.model.network, work.budget
    how = (experiment.direction, experiment.metric)
    estimating = Estimating(experiment.how, experiment.steps)
    estimate = attribute(network, tokens, cells, *how, estimating, budget)
    coords = cells.coords(n_positions)
    found = _swept(experiment, work, estimate, coords)
    if not experiment.exact:
        return found
    exact = sweep(network, tokens, cells, *how, work.progress, budget)
    found.arrays["exact"] = found.arrays["patched"].copy(data=exact.values)
    bases = found.corrupts if experiment.direction == "denoise" else found.cleans
    base = np.array([one.metric for one in bases]).reshape(-1, *[1] * (exact.values.ndim - 1))
    found.details.update(compared(estimate.values - base, exact.values - base))
    return found


def _cells(experiment: Sweep, model: Model, n_positions: int) -> Cells:
    return choose_cells(
        model.spec,
        n_positions,
        experiment.site,
        experiment.per,
        experiment.layers,
        experiment.positions,
        experiment.heads,
    )


def _path_patch(experiment: PathPatch, work: _Work, tokens: list[TokenPair]) -> _Found:
    _check_one_length(len(patched_tokens(pair, experiment.direction)) for pair in tokens)
    n_positions = len(patched_tokens(tokens[0], experiment.direction))
    cells = _cells(experiment, work.model, n_positions)
    receivers = receivers_of(experiment.receivers, work.model.spec, n_positions)
    swept = path_patch(
        work.model.network,
        tokens,
        cells,
        Paths(receivers, experiment.mlps),
        experiment.direction,
        experiment.metric,
        work.progress,
        work.budget,
    )
    found = _swept(experiment, work, swept, cells.coords(n_positions))
    found.details.update({"mlps": experiment.mlps, "norms": "recompute"})
    return found


def _swept(
    experiment: Patch | Ablate | Attribute | PathPatch,
    work: _Work,
    swept: Swept,
    coords: dict[str, list[int]],
) -> _Found:
    dims = ["pair", *DIMS[experiment.per]]
    patched = xr.DataArray(swept.values, dims=dims, coords=coords)
    arrays = {"patched": patched}
    if isinstance(experiment, Patch) and experiment.most is not None:
        arrays["estimated"] = patched.copy(data=swept.estimated.astype(np.float64))
    return _found(experiment, work, swept.runs, arrays, done=swept.done)


def _together(experiment: PatchTogether, work: _Work, tokens: list[TokenPair]) -> _Found:
    places = _places(experiment.places)
    if not places:
        raise ExperimentError("No place was named: name at least one, as in L9H6.z@-1.")
    ran = together(work.model.network, tokens, places, experiment.direction, work.budget)
    altered = [baseline(one.reader, runs, experiment.metric, work.text) for one, runs in ran]
    patched = xr.DataArray([one.metric for one in altered], dims=["pair"])
    runs = [one for one, _ in ran]
    found = _found(experiment, work, runs, {"patched": patched}, done=len(ran))
    found.altered.extend(altered)
    return found


def _places(written: Iterable[str]) -> list[Place]:
    return [parse_place(place) for place in written]


Measure = Callable[[PairRuns], dict[str, xr.DataArray]]


def _measured(
    experiment: OnPairs,
    work: _Work,
    tokens: list[TokenPair],
    keep: Iterable[Site],
    measure: Measure,
) -> _Found:
    """What `measure` finds in the unpatched runs of each pair."""
    arrays: dict[str, list[xr.DataArray]] = {}
    runs: list[PairRuns] = []
    for group in run_in_groups(work.model.network, tokens, CORE | frozenset(keep), work.budget):
        for one in group:
            for name, array in measure(one).items():
                arrays.setdefault(name, []).append(array)
            runs.append(one.forgotten())
    joined = {name: xr.concat(some, "pair").rename(name) for name, some in arrays.items()}
    return _found(experiment, work, runs, joined)


def _difference(experiment: Difference, work: _Work, tokens: list[TokenPair]) -> _Found:
    _check_one_length(len(pair.clean) for pair in tokens)
    site, per = experiment.site, experiment.per
    return _measured(experiment, work, tokens, [site], lambda runs: difference(runs, site, per))


def _attention(experiment: Attention, work: _Work, tokens: list[TokenPair]) -> _Found:
    _check_one_length(len(pair.clean) for pair in tokens)
    layer, head = experiment.layer, experiment.head

    def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
        both = patterns(work.model.network, runs, layer, head)
        change = both.sel(run="clean", drop=True) - both.sel(run="corrupt", drop=True)
        return {"pattern": both, "difference": change}

    return _measured(experiment, work, tokens, PATTERN, measure)


def _head_scores(experiment: HeadScores, work: _Work, tokens: list[TokenPair]) -> _Found:
    asked = experiment.length, experiment.repeats, experiment.seed
    return _measured(
        experiment,
        work,
        tokens,
        PATTERN,
        lambda runs: head_scores(work.model.network, runs, *asked),
    )


def _logit_lens(experiment: LogitLens, work: _Work, tokens: list[TokenPair]) -> _Found:
    for pair in tokens:
        check_answers("rank", pair)
    _check_one_length(max(len(pair.clean), len(pair.corrupt)) for pair in tokens)
    keep = frozenset[Site]({"resid_post"})
    places, network = _places(experiment.places), work.model.network
    patched: dict[int, Run] = {}
    if places:
        ran = together(network, tokens, places, experiment.direction, work.budget, keep)
        patched = {id(one.pair): runs[0] for one, runs in ran}

    def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
        named = {"clean": runs.clean[0], "corrupt": runs.corrupt[0]}
        if places:
            named["patched"] = patched[id(runs.pair)]
        lens = logit_lens(runs.reader, named, work.text)
        if "logit_diff" in lens:
            lens["accumulated"] = accumulated(lens, named)
        return lens

    return _measured(experiment, work, tokens, keep, measure)


def _logit_attribution(
    experiment: LogitAttribution, work: _Work, tokens: list[TokenPair]
) -> _Found:
    for pair in tokens:
        check_answers("logit_diff" if pair.wrongs else "logit", pair)
    _check_one_length(len(pair.clean) for pair in tokens)
    part = experiment.part
    if part == "position" and any(len(pair.clean) != len(pair.corrupt) for pair in tokens):
        raise UnequalLengthsError(
            "Prompts of unequal length share no source positions: attribute to heads or layers."
        )
    keep: set[Site] = {"embed", "attn_out", "mlp_out", *KEEP[part]}

    def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
        named = {"clean": runs.clean[0], "corrupt": runs.corrupt[0]}
        return logit_attribution(work.model.network, runs.pair, named, part)

    return _measured(experiment, work, tokens, keep, measure)


def _edge_attribution(experiment: EdgeAttribution, work: _Work, tokens: list[TokenPair]) -> _Found:
    graph = Graph(work.model.spec)
    scores = edge_scores(work.model.network, tokens, experiment.metric, experiment.steps)
    coords = {"receiver": graph.receivers, "sender": graph.senders}
    edges = xr.DataArray(scores, dims=list(coords), coords=coords)
    found = _measured(experiment, work, tokens, (), lambda _: {})
    found.arrays["edges"] = edges
    return found


def _evaluate_circuit(experiment: EvaluateCircuit, work: _Work, tokens: list[TokenPair]) -> _Found:
    graph, network = Graph(work.model.spec), work.model.network
    edges, every = list(experiment.edges), set(graph.edges)
    sizes = list(dict.fromkeys(experiment.sizes))
    if not sizes or sizes != sorted(sizes) or not 0 <= sizes[0] <= sizes[-1] <= len(edges):
        raise ExperimentError(
            f"Sizes {sizes}: give rising numbers of edges from 0 to {len(edges)}."
        )
    circuits = [edges[:size] for size in sizes]
    circuits += [sorted(every - set(edges[:size])) for size in sizes]
    for size in sizes:
        circuits += random_circuits(
            graph, min(size, len(every)), experiment.randoms, experiment.seed
        )
    measured = measure(network, tokens, circuits, experiment.metric, experiment.outside)
    n, values = len(sizes), np.array(measured.faithfulness)
    randoms = values[2 * n :].reshape(n, experiment.randoms)
    coords = {"size": sizes}
    found = _measured(experiment, work, tokens, (), lambda _: {})
    found.arrays["faithfulness"] = xr.DataArray(values[:n], dims=["size"], coords=coords)
    found.arrays["complement"] = xr.DataArray(values[n : 2 * n], dims=["size"], coords=coords)
    found.arrays["random"] = xr.DataArray(randoms, dims=["size", "sample"], coords=coords)
    found.details["area"] = area(sizes, values[:n].tolist())
    if experiment.randoms:
        found.details["random_area"] = area(sizes, randoms.mean(axis=1).tolist())
    return found


def _trace(experiment: Trace, work: _Work) -> _Found:
    model, metric = work.model, experiment.metric
    prompt = tokenize_prompt(
        experiment.prompt,
        experiment.answer,
        experiment.wrong,
        model.tokenizer,
        n_vocab=model.spec.n_vocab,
        n_context=model.spec.n_context,
        bos=experiment.bos,
    )
    check_answers(metric, prompt)
    subject = subject_positions(prompt.clean_texts, experiment.subject, experiment.occurrence)
    tracing = Tracing(
        experiment.site,
        subject,
        experiment.noise,
        experiment.samples,
        experiment.window,
        experiment.seed,
        experiment.sever,
    )
    traced = trace(model.network, prompt, tracing, metric, work.progress, work.budget)
    spread = traced.values.std(axis=0, ddof=1 if experiment.samples > 1 else 0)
    coords = {"layer": range(model.spec.n_layers), "position": range(len(prompt.clean))}
    samples = xr.DataArray(
        traced.values,
        dims=["sample", *coords],
        coords={"sample": range(experiment.samples), **coords},
    )
    arrays = {
        "patched": samples.mean("sample", skipna=False),
        "spread": xr.DataArray(spread, dims=list(coords), coords=coords),
        "samples": samples,
    }
    noisy = [baseline(traced.reader, runs, metric, work.text) for runs in traced.noisy]
    clean = baseline(traced.reader, traced.clean, metric, work.text)
    details = {"sigma": traced.sigma, "subject": list(subject)}
    arrays = {name: array.expand_dims("pair") for name, array in arrays.items()}
    done = int(arrays["patched"].notnull().sum())
    return _Found([prompt], [clean], [averaged(noisy)], arrays, done, details=details)


def _check_one_length(lengths: Iterable[int]) -> None:
    found = set(lengths)
    if len(found) > 1:
        raise UnequalLengthsError(
            f"The pairs have prompts of {min(found)} to {max(found)} tokens, and positions of "
            "different prompts cannot be compared: give pairs of one token length."
        )


def _found(
    experiment: OnPairs,
    work: _Work,
    runs: list[PairRuns],
    arrays: dict[str, xr.DataArray],
    done: int = 0,
) -> _Found:
    def read(reader: Reader, which: Sequence[Run]) -> Baseline:
        return baseline(reader, which, experiment.metric, work.text)

    cleans = [read(one.reader, one.clean) for one in runs]
    corrupts = [read(one.reader, one.corrupt) for one in runs]
    return _Found([one.pair for one in runs], cleans, corrupts, arrays, done)


def _result(
    experiment: AnyExperiment, work: _Work, found: _Found, many: bool, seconds: float
) -> Result:
    metric = experiment.metric
    labels = {"pair": range(len(found.tokens))}
    arrays = {
        name: array.assign_coords(labels if "pair" in array.dims else {}).rename(name)
        for name, array in found.arrays.items()
    }
    unfinished: list[Notice] = []
    if "patched" in arrays and isinstance(
        experiment, Patch | PatchTogether | PathPatch | Ablate | Attribute | Trace
    ):
        patched = arrays["patched"]
        clean, corrupt = (
            xr.DataArray([one.metric for one in some], dims=["pair"])
            for some in (found.cleans, found.corrupts)
        )
        smallest = MIN_GAP[UNITS[metric]]
        effect = effect_of(patched, clean, corrupt, experiment.direction, smallest)
        arrays["effect"] = effect.transpose(*patched.dims)
        unfinished = [*_unfinished(found.done, patched.size), *_estimates(experiment, arrays)]
    warnings = [
        notices(one, clean, corrupt, metric)
        for one, clean, corrupt in zip(found.tokens, found.cleans, found.corrupts, strict=True)
    ]
    texts = {
        "clean": [one.clean_texts for one in found.tokens],
        "corrupt": [one.corrupt_texts for one in found.tokens],
    }
    return Result(
        method=experiment.method,
        experiment=experiment.model_dump(mode="json"),
        model=_provenance(work.model),
        tokens={name: some if many else some[0] for name, some in texts.items()},
        clean=_one_or_average(found.cleans, many),
        corrupt=_one_or_average(found.corrupts, many),
        arrays=arrays if many else {name: _alone(array) for name, array in arrays.items()},
        warnings=[*_numbered(warnings), *_precision(work.model), *unfinished],
        seconds=seconds,
        altered=_one_or_average(found.altered, many) if found.altered else None,
        details=found.details,
    )


def _alone(array: xr.DataArray) -> xr.DataArray:
    """Of a single pair, without its pair axis."""
    return array.isel(pair=0, drop=True) if "pair" in array.dims else array


def _one_or_average(baselines: list[Baseline], many: bool) -> Baseline:
    return averaged(baselines) if many else baselines[0]


def _provenance(model: Model) -> dict[str, Any]:
    spec = model.spec
    return {
        "name": model.name,
        "revision": model.revision,
        "family": spec.family,
        "layers": spec.n_layers,
        "heads": spec.n_heads,
        "d_model": spec.d_model,
        "dtype": model.dtype,
        "device": str(model.device),
        "fingerprint": model.fingerprint,
    }


def _numbered(found: Sequence[list[Notice]]) -> list[Notice]:
    """The notices of all pairs; of several pairs each says which one it is about."""
    if len(found) == 1:
        return found[0]
    return [
        Notice(code=notice["code"], message=f"Pair {i}: {notice['message']}")
        for i, some in enumerate(found)
        for notice in some
    ]


def _precision(model: Model) -> list[Notice]:
    if model.dtype not in ("bfloat16", "float16"):
        return []
    return [
        Notice(
            code="half_precision",
            message=f"The model runs in {model.dtype}, whose rounding is about a thousandth of each "
            "value: small effects may be noise. Repeat in float32 what matters.",
        )
    ]


def _unfinished(done: int, cells: int) -> list[Notice]:
    if done == cells:
        return []
    return [
        Notice(
            code="stopped",
            message=f"The sweep was stopped: {done} of {cells} cells are computed, the others are "
            "empty.",
        )
    ]


def _estimates(experiment: AnyExperiment, arrays: dict[str, xr.DataArray]) -> list[Notice]:
    if isinstance(experiment, Attribute):
        what = "Every value is"
    elif "estimated" in arrays and bool(arrays["estimated"].any()):
        estimated = arrays["estimated"]
        what = f"{int(estimated.sum())} of {estimated.size} values are"
    else:
        return []
    return [
        Notice(
            code="estimate",
            message=f"{what} a first-order estimate, which fails at saturated softmax and in early "
            "MLPs: patch what matters exactly.",
        )
    ]
