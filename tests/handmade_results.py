"""Results made by hand, from the effects that they are to have."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr

import patchwright as pw
from patchwright.algorithms.result import Baseline, effect_of
from patchwright.axes import DIMS
from patchwright.errors import ExperimentError
from patchwright.methods import METHODS
from patchwright.warnings import Notice

CLEAN = ("<|endoftext|>", " Mary", " John", " to")
CORRUPT = ("<|endoftext|>", " Mary", " Kate", " to")


def baseline(
    metric: float,
    top: str = " Mary",
    probability: float = 0.9,
    rank: float | None = 1,
    logits: tuple[float, float] | None = None,
    pairs: Sequence[Baseline] = (),
) -> Baseline:
    """An unpatched run; `logits` are those of the answer and of the wrong answer."""
    answer, wrong = (None, None) if logits is None else (float(logits[0]), float(logits[1]))
    difference = None if answer is None or wrong is None else answer - wrong
    tops = [] if pairs else [{"token": top, "id": 1, "probability": probability}]
    rank = None if rank is None else float(rank)
    return Baseline(
        *(float(metric), difference, answer, wrong, probability, rank, tops), list(pairs)
    )


def made(
    effects: Any,
    site: str = "resid_pre",
    per: str = "position",
    clean: Baseline | None = None,
    corrupt: Baseline | None = None,
    tokens: tuple[Any, Any] = (CLEAN, CORRUPT),
    warnings: Sequence[Notice] = (),
    estimated: Any = None,
    method: str = "patch",
    **changes: Any,
) -> pw.Result:
    """A sweep with these effects, [*dims] or [pair, *dims]; NaN was not computed."""
    clean, corrupt = clean or baseline(4.0), corrupt or baseline(-4.0, " John", 0.1, 3)
    pair: dict[str, Any] = {"clean": "a", "corrupt": "b", "answer": [" Mary"], "wrong": [" John"]}
    given: dict[str, Any] = {"model": "m", "method": method}
    given |= {"pairs": pair, "bos": True, "direction": "denoise"}
    given |= {"metric": "logit_diff", "site": site, "per": per}
    given |= {"layers": None, "positions": None, "heads": None} | changes
    dims = DIMS[given["per"]]
    values = np.asarray(effects, dtype=np.float64)
    dims = ("pair", *dims) if values.ndim > len(dims) else dims
    coords = {dim: range(size) for dim, size in zip(dims, values.shape, strict=True)}
    shares = xr.DataArray(values, dims=dims, coords=coords)
    ours, theirs = (run.metrics(bool(run.pairs)) for run in (clean, corrupt))
    denoising = given["direction"] == "denoise"
    patched = theirs + shares * (ours - theirs) if denoising else ours - shares * (ours - theirs)
    patched = patched.transpose(*dims)
    effect = effect_of(patched, ours, theirs, given["direction"], given["metric"])
    arrays = {"patched": patched, "effect": effect}
    if estimated is not None:
        arrays["estimated"] = patched.copy(data=np.broadcast_to(estimated, values.shape) * 1.0)
    with suppress(ExperimentError):  # some tests need no whole experiment
        given = METHODS.parse(given).model_dump(mode="json")
    arrays = {name: array.rename(name) for name, array in arrays.items()}
    model = {"name": "m", "revision": None, "source": "m", "family": "gpt2"}
    model |= {"layers": 12, "heads": 12, "d_model": 8, "dtype": "float32", "device": "cpu"}
    model |= {"fingerprint": "sha256:0"}
    named: dict[str, Any] = {"clean": tokens[0], "corrupt": tokens[1]}
    return pw.Result(
        method, given, model, named, clean, corrupt, arrays, list(warnings), seconds=1.0,
        numbers=METHODS.numbers_of(method) or 1,
    )  # fmt: skip


def numbered(effects: Any, number: int, **changes: Any) -> pw.Result:
    """`made` of a pair of its own: results of other numbers are of other experiments."""
    pairs: Any = {"clean": f"a{number}", "corrupt": "b", "answer": [" Mary"], "wrong": [" John"]}
    return made(effects, pairs=changes.pop("pairs", pairs), **changes)


def attends(
    layer: int, head: int, clean: Any, corrupt: Any, like: pw.Result | None = None
) -> pw.Result:
    """The attention of a head, [query, key] of each run, on the pair of another result."""
    like = like or made([[0.0] * len(CLEAN)])
    both = np.asarray([clean, corrupt], dtype=np.float64)
    coords = {"run": ["clean", "corrupt"]} | {
        dim: range(both.shape[-1]) for dim in ("query", "key")
    }
    pattern = xr.DataArray(both, dims=["run", "query", "key"], coords=coords)
    asked = {key: like.experiment[key] for key in ("pairs", "bos", "metric")}
    return pw.Result(
        "attention",
        asked | {"layer": layer, "head": head},
        like.model,
        like.tokens,
        like.clean,
        like.corrupt,
        {"pattern": pattern},
        [],
        seconds=1.0,
    )
