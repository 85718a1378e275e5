"""Experiments: what to do, frozen, as JSON, hashed; and `run`, which does it.

The page, the command line and the HTTP interface build an experiment, call
`run`, and show the Result. An experiment's hash is the key of caches, of the
run store and of a shared link.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, Self

import xarray as xr
from pydantic import BaseModel, ConfigDict, ValidationError

from patchwright.axes import DIMS, DIRECTIONS, PERS, Direction, Per
from patchwright.errors import ExperimentError, UnequalLengthsError
from patchwright.methods.metrics import MIN_GAP, UNITS, Metric, check_answers, check_metric
from patchwright.methods.result import Baseline, Result, effect_of
from patchwright.methods.runs import PairRuns, averaged, baseline, notices
from patchwright.methods.sweep import (
    BUDGET,
    OnProgress,
    choose_cells,
    patched_tokens,
    sweep,
    together,
)
from patchwright.model.load import Model
from patchwright.notices import Notice
from patchwright.places import Place, Site, check_site, parse_place, pers_of
from patchwright.prompts.pair import Pair, TokenPair, tokenize
from patchwright.prompts.tokens import token_texts


class Experiment(BaseModel):
    """What every experiment says: on which model, on which pairs, measured how.

    `pairs` is one pair, or a list; a list of one pair still gives a pair dim.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    revision: str | None = None
    pairs: Pair | tuple[Pair, ...]
    direction: Direction = "denoise"
    metric: Metric = "logit_diff"
    bos: bool = True

    @property
    def hash(self) -> str:
        """SHA-256 over the experiment's canonical JSON, in hexadecimal."""
        document = self.model_dump(mode="json")
        text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """The experiment that `document` describes. Raises ExperimentError with the field."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ExperimentError(f"The experiment's field '{where}': {first['msg']}.") from error


class Patch(Experiment):
    """A sweep of activation patching over every place of one kind."""

    method: Literal["patch"] = "patch"
    site: Site = "resid_pre"
    per: Per
    layers: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None


class PatchTogether(Experiment):
    """Several places patched in one run."""

    method: Literal["patch_together"] = "patch_together"
    places: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """What a method found: metric after patching [pair, ...], the base runs, cells done."""

    patched: xr.DataArray
    runs: list[PairRuns]
    done: int
    altered: list[Baseline] = field(default_factory=list[Baseline])


def run(
    experiment: Patch | PatchTogether,
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
    many = not isinstance(experiment.pairs, Pair)
    pairs = [experiment.pairs] if isinstance(experiment.pairs, Pair) else experiment.pairs
    if not pairs:
        raise ExperimentError("The list of pairs is empty: give at least one pair.")
    tokens = [tokens_of(pair, experiment, model) for pair in pairs]
    if isinstance(experiment, Patch):
        found = _sweep(experiment, model, tokens, progress, budget)
    else:
        found = _together(experiment, model, tokens, budget)
    return _result(experiment, model, found, many, started)


def patch(
    model: Model,
    pair: Pair | Sequence[Pair],
    site: str = "resid_pre",
    per: str | None = None,
    direction: str = "denoise",
    metric: str = "logit_diff",
    bos: bool = True,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Patch every place of one kind, one at a time.

    `site` is one of `places.SITES`; `per` says which places are patched at once
    (default: by position, for heads by head); `positions` may count from the end.
    The result's arrays have the dims that `per` names, after `pair` for a list of
    pairs. `progress` gets a `Progress` between batches and may return False to
    stop. Raises InputError (its subclasses say what was wrong).
    """
    checked = check_site(site)
    experiment = Patch(
        model=model.name,
        revision=model.revision,
        pairs=_pairs(pair),
        direction=check_direction(direction),
        metric=check_metric(metric),
        bos=bos,
        site=checked,
        per=pers_of(checked)[0] if per is None else check_per(per),
        layers=_indices(layers),
        positions=_indices(positions),
        heads=_indices(heads),
    )
    return run(experiment, model, progress, budget)


def patch_together(
    model: Model,
    pair: Pair | Sequence[Pair],
    places: Sequence[str | Place],
    direction: str = "denoise",
    metric: str = "logit_diff",
    bos: bool = True,
    budget: int = BUDGET,
) -> Result:
    """Patch several places in one run; the result's arrays have no dims but `pair`.

    Places are written as in `L9H9.z@-1`. Raises UnknownPlaceError for one that
    the model or the prompt does not have.
    """
    experiment = PatchTogether(
        model=model.name,
        revision=model.revision,
        pairs=_pairs(pair),
        direction=check_direction(direction),
        metric=check_metric(metric),
        bos=bos,
        places=tuple(str(parse_place(str(place))) for place in places),
    )
    return run(experiment, model, budget=budget)


def check_direction(name: str) -> Direction:
    """`name` as a direction. Raises ExperimentError with the two there are."""
    for direction in DIRECTIONS:
        if direction == name:
            return direction
    raise ExperimentError(
        f"'{name}' is not a direction. Choose denoise (clean activations into the corrupted run) "
        "or noise (the other way round)."
    )


def check_per(name: str) -> Per:
    """`name` as a kind of sweep. Raises ExperimentError with those there are."""
    for per in PERS:
        if per == name:
            return per
    raise ExperimentError(f"'{name}' is not a kind of sweep. Choose {', '.join(PERS)}.")


def _pairs(pair: Pair | Sequence[Pair]) -> Pair | tuple[Pair, ...]:
    return pair if isinstance(pair, Pair) else tuple(pair)


def _indices(values: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(int(value) for value in values)


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


def _sweep(
    experiment: Patch,
    model: Model,
    pairs: list[TokenPair],
    progress: OnProgress | None,
    budget: int,
) -> _Found:
    lengths = {len(patched_tokens(pair, experiment.direction)) for pair in pairs}
    if len(lengths) > 1:
        raise UnequalLengthsError(
            f"The pairs have prompts of {min(lengths)} to {max(lengths)} tokens, and positions of "
            "different prompts cannot be compared: give pairs of one token length."
        )
    cells = choose_cells(
        model.spec,
        lengths.pop(),
        experiment.site,
        experiment.per,
        experiment.layers,
        experiment.positions,
        experiment.heads,
    )
    swept = sweep(
        model.network, pairs, cells, experiment.direction, experiment.metric, progress, budget
    )
    coords = cells.coords(len(patched_tokens(pairs[0], experiment.direction)))
    dims = ["pair", *DIMS[experiment.per]]
    patched = xr.DataArray(swept.values, dims=dims, coords=coords, name="patched")
    return _Found(patched, swept.runs, done=swept.done)


def _together(
    experiment: PatchTogether, model: Model, pairs: list[TokenPair], budget: int
) -> _Found:
    places = [parse_place(place) for place in experiment.places]
    if not places:
        raise ExperimentError("No place was named: name at least one, as in L9H6.z@-1.")
    ran = together(model.network, pairs, places, experiment.direction, budget)
    text = _token_text(model)
    altered = [baseline(one, runs, experiment.metric, text) for one, runs in ran]
    patched = xr.DataArray([one.metric for one in altered], dims=["pair"], name="patched")
    return _Found(patched, [one for one, _ in ran], done=len(ran), altered=altered)


def _token_text(model: Model) -> Callable[[int], str]:
    return lambda token: token_texts([token], model.tokenizer)[0]


def _result(
    experiment: Patch | PatchTogether,
    model: Model,
    found: _Found,
    many: bool,
    started: float,
) -> Result:
    metric, runs, text = experiment.metric, found.runs, _token_text(model)
    cleans = [baseline(one, one.clean, metric, text) for one in runs]
    corrupts = [baseline(one, one.corrupt, metric, text) for one in runs]
    patched = found.patched.assign_coords(pair=range(len(runs)))
    clean, corrupt = (
        xr.DataArray([one.metric for one in some], dims=["pair"]) for some in (cleans, corrupts)
    )
    effect = effect_of(patched, clean, corrupt, experiment.direction, MIN_GAP[UNITS[metric]])
    effect = effect.transpose(*patched.dims)
    warnings = [
        notices(one.pair, one_clean, one_corrupt, metric)
        for one, one_clean, one_corrupt in zip(runs, cleans, corrupts, strict=True)
    ]
    shown = {
        "clean": [one.pair.clean_texts for one in runs],
        "corrupt": [one.pair.corrupt_texts for one in runs],
    }
    return Result(
        method=experiment.method,
        experiment=experiment.model_dump(mode="json"),
        model=_provenance(model),
        tokens={name: texts if many else texts[0] for name, texts in shown.items()},
        clean=_one_or_average(cleans, many),
        corrupt=_one_or_average(corrupts, many),
        patched=patched if many else patched.isel(pair=0, drop=True),
        effect=effect if many else effect.isel(pair=0, drop=True),
        warnings=[*_numbered(warnings), *_precision(model), *_unfinished(found)],
        seconds=perf_counter() - started,
        altered=_one_or_average(found.altered, many) if found.altered else None,
    )


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


def _unfinished(found: _Found) -> list[Notice]:
    if found.done == found.patched.size:
        return []
    return [
        Notice(
            code="stopped",
            message=f"The sweep was stopped: {found.done} of {found.patched.size} cells are "
            "computed, the others are empty.",
        )
    ]
