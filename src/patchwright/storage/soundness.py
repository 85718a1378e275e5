"""Whether a run that comes from elsewhere is whole: all its parts fit its experiment.

It cannot be known whether somebody changed the numbers. It can be known that a result has
what its method gives, on the tokens, layers and pairs that it names, so that nothing
that is later done with it meets what no method ever wrote.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from patchwright.algorithms.result import Result, effect_of
from patchwright.errors import reason
from patchwright.experiment.base import Experiment, OnPairs
from patchwright.experiment.registry import Methods
from patchwright.methods import METHODS
from patchwright.methods.trace import Trace
from patchwright.places import KV_SITES
from patchwright.prompts.pair import Pair

TEXT_DIMS = {"run", "role", "prompt", "component", "receiver", "sender"}
"""Dims whose labels are texts; those of the others are whole numbers."""


class _StrictModel(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Token(_StrictModel):
    token: str
    id: int = Field(ge=0)
    probability: float = Field(ge=0, le=1.000001)


class _Run(_StrictModel):
    metric: float
    logit_diff: float | None
    answer_logit: float | None
    wrong_logit: float | None
    probability: float = Field(ge=0, le=1.000001)
    rank: float | None = Field(ge=1)
    top: list[_Token]
    pairs: list["_Run"]


class _Notice(_StrictModel):
    code: str
    message: str


class _Model(_StrictModel):
    name: str
    revision: str | None
    source: str
    family: str
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    parallel: bool = False
    d_model: int = Field(ge=1)
    dtype: str
    device: str
    products: Literal["onednn", "addmm"] | None = None
    device_map: dict[str, str] = {}
    fingerprint: str
    kv_heads: int | None = Field(default=None, ge=1)
    stored_dtype: str | None = None
    quantization: str | None = None
    file: str | None = None


class _Document(_StrictModel):
    schema_: Literal[1] = Field(alias="schema")
    patchwright: str
    method: str
    numbers: int = Field(ge=1)
    experiment: dict[str, Any]
    model: _Model
    tokens: dict[str, list[str] | list[list[str]]]
    clean: _Run
    corrupt: _Run
    arrays: list[Any]
    details: dict[str, float | str | list[int] | list[str] | None]
    altered: _Run | None
    warnings: list[_Notice]
    seconds: float = Field(ge=0)


_DOCUMENT = TypeAdapter(_Document)


def check_sound(document: Mapping[str, Any], result: Result, methods: Methods = METHODS) -> None:
    """Raise ValueError, with what is wrong, where a run is not what its method gives.

    `document` is the result's JSON beside its arrays, in today's spelling; `result` is what
    was read of it. What a method gives is its experiment's `output`. Raises ExperimentError
    where its experiment is none.
    """
    try:
        _DOCUMENT.validate_python(dict(document))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"its {where}: {reason(first['msg'])}") from error
    experiment = methods.parse(document["experiment"])
    _require(experiment.name() == result.method, "its method is not its experiment's")
    _require(experiment.model == result.model["name"], "its model is not its experiment's")
    newest = methods[result.method].numbers
    _require(result.numbers <= newest, "its numbers are of a newer version of its method")
    _check_details(experiment, result)
    many = isinstance(experiment, OnPairs) and not isinstance(experiment.pairs, Pair)
    lengths = _check_tokens(experiment, result, many)
    _check_runs(experiment, result, len(lengths) if many else 0)
    _check_arrays(experiment, result, lengths, many)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _check_details(experiment: Experiment, result: Result) -> None:
    known = experiment.output.details
    _require(known >= set(result.details), "it has details that its method does not give")
    if isinstance(experiment, Trace):
        subject: Any = result.details.get("subject")
        sigma, texts = (result.details.get(name) for name in ("sigma", "subject_tokens"))
        positions = range(len(result.tokens["clean"]))
        _require(
            isinstance(subject, list) and bool(subject) and set(subject) <= set(positions),
            "its subject is none of its tokens",
        )
        _require(isinstance(sigma, int | float), "its noise has no size")
        _require(
            texts is None or texts == [result.tokens["clean"][one] for one in subject],
            "its subject's tokens are other tokens",
        )


def _check_tokens(experiment: Experiment, result: Result, many: bool) -> list[tuple[int, int]]:
    """Tokens of the clean and the corrupted prompt of each pair."""
    pairs = len(experiment.pair_list) if isinstance(experiment, OnPairs) else 1
    _require(set(result.tokens) == {"clean", "corrupt"}, "it has tokens of other runs")
    lengths: list[list[int]] = []
    for texts in (result.tokens["clean"], result.tokens["corrupt"]):
        listed = [isinstance(one, list) for one in texts]
        _require(len(texts) > 0 and all(one == many for one in listed), "its tokens are no lists")
        prompts: Sequence[Any] = texts if many else [texts]
        _require(len(prompts) == pairs, "it has tokens of other pairs than its experiment's")
        _require(all(len(one) > 0 for one in prompts), "a prompt has no tokens")
        lengths.append([len(one) for one in prompts])
    return list(zip(*lengths, strict=True))


def _check_runs(experiment: Experiment, result: Result, pairs: int) -> None:
    # Tracing's corrupted run is the mean over noisy runs, which stand where pairs do.
    noisy = range(experiment.samples + 1) if isinstance(experiment, Trace) else [pairs]
    for run, counts in (
        (result.clean, [pairs]),
        (result.corrupt, noisy),
        (result.altered, [pairs]),
    ):
        if run is not None:
            _require(len(run.pairs) in counts, "its runs are of other pairs")
            _require(all(not one.pairs for one in run.pairs), "a pair's run has pairs of its own")


def _check_arrays(
    experiment: Experiment, result: Result, lengths: Sequence[tuple[int, int]], many: bool
) -> None:
    output, there = experiment.output, set(result.arrays)
    expected = {**output.arrays, **output.optional}
    _require(set(output.arrays) <= there <= set(expected), "it has other arrays than its method")
    known = _allowed_labels(experiment, result, lengths)
    for name, array in result.arrays.items():
        dims = expected[name]
        # Over pairs every array has them first; what no pair changes may be without.
        leading = ("pair",) if many and "pair" in array.dims else ()
        _require(array.name == name, f"its array {name} has another name")
        _require(array.dims == (*leading, *dims), f"its {name} has other axes than its method's")
        free = name in output.unlabelled
        labelled = set(array.dims[:-1] if free else array.dims)
        _require(set(array.coords) == labelled, f"its {name} has other labels than axes")
        kind = "U" if name == "top" else "f"
        _require(array.dtype.kind == kind, f"its {name} holds no numbers")
        _require(array.size > 0 or free, f"its {name} is empty")
        for dim in labelled:
            _check_labels(str(dim), array[dim], known)
    _require(_have_same_labels(result.arrays.values()), "its arrays have different labels")
    of_pairs = "pair" in result.arrays[result.main].dims
    _require(of_pairs == (many and not output.averaged), "its pairs are not its experiment's")
    if "effect" in output.arrays:
        _check_effect(experiment, result, many)


def _have_same_labels(arrays: Iterable[xr.DataArray]) -> bool:
    """Whether arrays that share an axis share its labels."""
    seen: dict[str, list[Any]] = {}
    return all(
        seen.setdefault(str(dim), labels.values.tolist()) == labels.values.tolist()
        for array in arrays
        for dim, labels in array.coords.items()
    )


def _allowed_labels(
    experiment: Experiment, result: Result, lengths: Sequence[tuple[int, int]]
) -> dict[str, Callable[[Any], bool]]:
    """Which labels each axis may have."""
    longest = max(max(one) for one in lengths)
    # Positions are those of the run that is patched, unless both runs are shown.
    base = int(getattr(experiment, "direction", "noise") == "denoise")
    both = "run" in result.arrays[result.main].dims
    sizes = {
        "pair": len(lengths),
        "layer": result.model["layers"],
        "head": _head_count(experiment, result),
        "position": longest if both else max(one[base] for one in lengths),
        **dict.fromkeys(("query", "key"), longest),
    }
    within = {dim: range(size) for dim, size in sizes.items()}
    texts = {
        "run": {"clean", "corrupt", "patched"},
        "role": set(getattr(experiment, "roles", None) or ()),
    }
    named: dict[str, Callable[[Any], bool]] = {
        dim: allowed.__contains__ for dim, allowed in (within | texts).items()
    }
    return {**dict.fromkeys(TEXT_DIMS, _is_text), **named}


def _head_count(experiment: Experiment, result: Result) -> int:
    """Heads that the experiment's site counts: of keys and values there may be fewer."""
    heads: int = result.model["heads"]
    shared = getattr(experiment, "site", None) in KV_SITES
    return result.model.get("kv_heads", heads) if shared else heads


def _check_labels(dim: str, labels: xr.DataArray, known: Mapping[str, Any]) -> None:
    kind = "U" if dim in TEXT_DIMS else "i"
    _require(labels.dims == (dim,) and labels.dtype.kind == kind, f"its {dim}s have no labels")
    values: list[Any] = labels.values.tolist()
    _require(len(set(values)) == len(values), f"two of its {dim}s have one label")
    allowed = known.get(dim, _is_natural)
    _require(all(map(allowed, values)), f"it has {dim}s that its model or prompts do not have")


def _is_text(label: Any) -> bool:
    return isinstance(label, str)


def _is_natural(label: Any) -> bool:
    return isinstance(label, int) and label >= 0


def _check_effect(experiment: Any, result: Result, many: bool) -> None:
    """Effects are the share of the gap that `patched` says."""
    clean, corrupt = (one.metrics(many) for one in (result.clean, result.corrupt))
    direction, metric = experiment.direction, experiment.metric
    again = effect_of(result.patched, clean, corrupt, direction, metric)
    again = again.transpose(*result.effect.dims)
    same = np.allclose(result.effect, again, rtol=1e-9, atol=1e-12, equal_nan=True)
    _require(same, "its effects are not those of its patched runs")
