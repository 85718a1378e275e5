"""What a method found -> a Result: baselines, effects, provenance, warnings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

import xarray as xr

from patchwright.algorithms.batches import OnProgress
from patchwright.algorithms.duplicates import duplicate_notices
from patchwright.algorithms.pair_runs import (
    PairRuns,
    baselines,
    gap_notices,
    mean_baseline,
    pair_notices,
    stack_finals,
)
from patchwright.algorithms.readout import readouts
from patchwright.algorithms.result import Baseline, Result, effect_of
from patchwright.algorithms.scale import nothing_moved_notices
from patchwright.errors import UnequalLengthsError
from patchwright.experiment.base import Experiment, OnPairs
from patchwright.model.kernels import kernel_for
from patchwright.model.load import Model
from patchwright.model.requests import Run
from patchwright.places import Site, parse_place, pers_of
from patchwright.prompts.pair import TokenPair, prompt_notices
from patchwright.prompts.tokens import token_texts
from patchwright.warnings import Notice


@dataclass(frozen=True)
class RunContext:
    """A model, and how the work on it is bounded and watched; `top` tokens are read of each cell.

    `known` is an earlier result, of which a method may take over what it would compute again.
    """

    model: Model
    progress: OnProgress | None
    budget: int
    top: int = 0
    known: Result | None = None

    def token_text(self, token: int) -> str:
        """A token id as text."""
        return token_texts([token], self.model.tokenizer)[0]


@dataclass(frozen=True)
class RawResult:
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
    notices: list[Notice] = field(default_factory=list[Notice])

    @property
    def is_complete(self) -> bool:
        """Whether no cell of `patched` waits for its answer."""
        return "patched" not in self.arrays or self.done >= self.arrays["patched"].size

    def for_pair(self, pair: int) -> "RawResult":
        """What was found of one pair, where the work is whole and no array is over all pairs."""
        arrays = {name: array.isel(pair=[pair]) for name, array in self.arrays.items()}
        return replace(
            self,
            tokens=[self.tokens[pair]],
            cleans=[self.cleans[pair]],
            corrupts=[self.corrupts[pair]],
            arrays=arrays,
            done=arrays["patched"].size if "patched" in arrays else self.done,
            altered=self.altered[pair : pair + 1],
        )


def raw_result(
    experiment: OnPairs,
    work: RunContext,
    runs: list[PairRuns],
    arrays: dict[str, xr.DataArray],
    done: int = 0,
    altered: Sequence[Sequence[Run]] = (),
) -> RawResult:
    """What was found in `runs`, with their baselines; `altered` is one patched run a pair."""
    found = RawResult([one.pair for one in runs], [], [], arrays, done)
    asked = [
        stack_finals([one.clean, one.corrupt, *([more] if more else [])])
        for one, more in zip_longest(runs, altered)
    ]
    for one, read in zip(runs, readouts([one.reader for one in runs], asked), strict=True):
        clean, corrupt, *rest = baselines(read, experiment.metric, work.token_text, one.known)
        found.cleans.append(clean)
        found.corrupts.append(corrupt)
        found.altered.extend(rest)
    return found


def check_equal_lengths(lengths: Iterable[int], *instead: str) -> None:
    """Raise UnequalLengthsError where the prompts' lengths differ, with what can be done `instead`."""
    found = set(lengths)
    if len(found) > 1:
        advice = ["give pairs of one token length", *instead]
        raise UnequalLengthsError(
            f"The pairs have prompts of {min(found)} to {max(found)} tokens, and positions of "
            f"different prompts cannot be compared: {', or '.join(advice)}."
        )


ONE_PAIR_ADVICE = "give one pair at a time"


def other_pers_advice(site: Site) -> str:
    """The kinds of place of `site` that pairs of different lengths share, as advice."""
    pers = [per for per in pers_of(site) if per in ("head", "layer")]
    return "choose " + " or ".join(f"per='{per}' (--per {per})" for per in pers)


def as_result(experiment: Experiment, work: RunContext, found: RawResult, seconds: float) -> Result:
    """The Result of an experiment, with effects and warnings."""
    metric, many = experiment.metric, experiment.many
    labels = {"pair": range(len(found.tokens))}
    arrays = {
        name: array.assign_coords(labels if "pair" in array.dims else {}).rename(name)
        for name, array in found.arrays.items()
    }
    clean, corrupt = mean_baseline(found.cleans), mean_baseline(found.corrupts)
    direction = getattr(experiment, "direction", None)
    if "patched" in arrays and direction is not None:
        both = clean.metrics(), corrupt.metrics()
        arrays["effect"] = effect_of(arrays["patched"], *both, direction, metric)
    warnings = [
        pair_notices(tokens, first, second, metric)
        for tokens, first, second in zip(found.tokens, found.cleans, found.corrupts, strict=True)
    ]
    texts = {
        "clean": [one.clean_texts for one in found.tokens],
        "corrupt": [one.corrupt_texts for one in found.tokens],
    }
    result = Result(
        method=experiment.name(),
        experiment=experiment.model_dump(mode="json"),
        model=provenance(work.model),
        tokens={name: some if many else some[0] for name, some in texts.items()},
        clean=clean if many else found.cleans[0],
        corrupt=corrupt if many else found.corrupts[0],
        arrays=arrays
        if many
        else {name: _without_pair_axis(array) for name, array in arrays.items()},
        warnings=[
            *_numbered_notices(warnings),
            *prompt_notices(experiment.prompts_read, work.model.tokenizer, experiment.bos),
            *_precision_notices(work.model),
            *_joint_norm_notices(experiment, work.model),
            *found.notices,
            *_unfinished_notices(arrays, found.done),
        ],
        seconds=seconds,
        altered=(mean_baseline(found.altered) if many else found.altered[0])
        if found.altered
        else None,
        details=found.details,
        numbers=experiment.numbers,
        asked=experiment,
    )
    whole: list[Notice] = []
    if len(found.tokens) > 1:
        runs = "On average over the pairs the two runs"
        whole = gap_notices(result.clean, result.corrupt, metric, runs)
    more = [*duplicate_notices(result), *nothing_moved_notices(result)]
    return replace(result, warnings=[*whole, *result.warnings, *more])


def _without_pair_axis(array: xr.DataArray) -> xr.DataArray:
    """Of a single pair, without its pair axis."""
    return array.isel(pair=0, drop=True) if "pair" in array.dims else array


def provenance(model: Model) -> dict[str, Any]:
    """Which model it is, and how it computes: what a result says of it."""
    spec = model.spec
    return {
        "name": model.name,
        "revision": model.revision,
        "source": model.source,
        "family": spec.family,
        "layers": spec.n_layers,
        "heads": spec.n_heads,
        **({} if spec.n_kv_heads == spec.n_heads else {"kv_heads": spec.n_kv_heads}),
        **({"parallel": True} if spec.parallel else {}),
        "d_model": spec.d_model,
        "dtype": model.dtype,
        **(
            {}
            if model.stored_dtype in (None, model.dtype)
            else {"stored_dtype": model.stored_dtype}
        ),
        **({} if model.quantization is None else {"quantization": model.quantization}),
        **({} if model.file is None else {"file": model.file}),
        "device": str(model.device),
        "products": kernel_for(model.network.embed),
        **({"device_map": model.device_map} if len(set(model.device_map.values())) > 1 else {}),
        "fingerprint": model.fingerprint,
    }


def _numbered_notices(found: Sequence[list[Notice]]) -> list[Notice]:
    """The notices of all pairs; of several pairs each says which one it is about, from 1."""
    if len(found) == 1:
        return found[0]
    return [
        Notice(code=notice["code"], message=f"Pair {i}: {notice['message']}")
        for i, some in enumerate(found, 1)
        for notice in some
    ]


def _precision_notices(model: Model) -> list[Notice]:
    found: list[Notice] = []
    if model.quantization is not None:
        message = (
            f"The weights of {model.name} are quantised ({model.quantization}), so it can answer "
            "differently from the model that was published in full precision."
        )
        found.append(Notice(code="quantized", message=message))
    if model.dtype in ("bfloat16", "float16"):
        message = (
            f"The model runs in {model.dtype}, which rounds each value by about a thousandth, so "
            "small effects may be rounding errors. Repeat what matters in float32."
        )
        found.append(Notice(code="half_precision", message=message))
    return found


def _joint_norm_notices(experiment: Experiment, model: Model) -> list[Notice]:
    """That a change of one head's queries or keys is not of that head alone."""
    if not any(layer.norms_jointly for layer in model.network.layers):
        return []
    asked: dict[str, Any] = experiment.model_dump()
    places = [parse_place(one) for one in experiment.named_places]
    one_head = any(place.site in ("q", "k") and place.head is not None for place in places)
    by_head = asked.get("site") in ("q", "k") and "head" in asked.get("per", "")
    if not (one_head or by_head):
        return []
    message = (
        f"{model.name} normalises the queries of all heads of a layer together, and the keys too, so "
        "a change to one head's queries or keys also changes those of the others a little."
    )
    return [Notice(code="joint_norm", message=message)]


def stopped_notice(after: str) -> Notice:
    """The warning that the work was stopped, and what is there of it."""
    return Notice(code="stopped", message=f"Stopped after {after}")


def stopped_sweep_notice(done: int, cells: int, others: str = "empty") -> Notice:
    """The warning that only so many cells have been computed, and what the others are."""
    return Notice(
        code="stopped",
        message=f"The sweep was stopped: {done:,} of {cells:,} cells are computed, and the others are "
        f"{others}.",
    )


def _unfinished_notices(arrays: dict[str, xr.DataArray], done: int) -> list[Notice]:
    """Of patches whose effect is known: that some were not computed, and that some are estimates."""
    if "effect" not in arrays:
        return []
    found: list[Notice] = []
    cells, estimated = arrays["effect"].size, arrays.get("estimated")
    if done < cells:
        found.append(
            stopped_sweep_notice(done, cells, "empty" if estimated is None else "estimates")
        )
    if estimated is not None and bool(estimated.any()):
        found.append(estimate_notice(f"{int(estimated.sum())} of {cells} values are"))
    return found


def estimate_notice(what: str) -> Notice:
    """The warning that `what`, with its verb, is an estimate."""
    return Notice(
        code="estimate",
        message=f"{what} a first-order estimate, which can be far off where a softmax is saturated "
        "and in early MLPs. Patch the places that matter.",
    )
