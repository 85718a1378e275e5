"""How fast sweeps are on this machine, against one whole run of the model a place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import TypeVar

import torch

from patchwright.errors import InputError
from patchwright.methods.patch import patch
from patchwright.model.forward import forward
from patchwright.model.load import Model
from patchwright.model.requests import Row
from patchwright.prompts.pair import Pair

SWEEPS = (("resid_pre", "position"), ("z", "head"), ("z", "head_position"))


@dataclass(frozen=True)
class Timing:
    """A sweep's median seconds; `full_runs` is what a whole run for each place would take."""

    name: str
    places: int
    seconds: float
    full_runs: float


def time_sweeps(model: Model, n_tokens: int, repeat: int) -> Iterator[Timing]:
    """Time each of `SWEEPS` on random prompts that differ at every position.

    Raises InputError for prompts longer than the model's context.
    """
    if n_tokens > model.spec.n_context:
        raise InputError(
            f"{n_tokens} tokens: the model takes at most {model.spec.n_context}. Choose fewer."
        )
    generator = torch.Generator().manual_seed(0)
    ids = torch.randperm(model.n_tokens, generator=generator)[: 2 * n_tokens + 2].tolist()
    clean, corrupt = ids[:n_tokens], ids[n_tokens:-2]
    pair = Pair(clean=clean, corrupt=corrupt, answer=ids[-2], wrong=ids[-1])
    whole_run = partial(forward, model.network, [Row(tuple(clean), n_tokens - 1)])
    one_run, _ = _measure(whole_run, max(repeat, 5))
    for site, per in SWEEPS:
        seconds, found = _measure(partial(patch, model, pair, site, per, bos=False), repeat)
        places = found.patched.size
        yield Timing(f"{site} per {per}", places, seconds, places * one_run)


_T = TypeVar("_T")


def _measure(work: Callable[[], _T], repeat: int) -> tuple[float, _T]:
    """The median seconds of `repeat` runs, after one that does not count, and what it finds."""
    found, seconds = work(), list[float]()
    for _ in range(repeat):
        started = perf_counter()
        work()
        seconds.append(perf_counter() - started)
    return median(seconds), found
