"""What methods that only read unpatched runs share."""

from collections.abc import Callable, Iterable

import xarray as xr

from patchwright.algorithms.pair_runs import PairRuns, run_in_groups
from patchwright.experiment.assembly import RawResult, RunContext, raw_result
from patchwright.experiment.base import OnPairs
from patchwright.model.requests import BASE_SITES
from patchwright.places import Site
from patchwright.prompts.pair import TokenPair

Measure = Callable[[PairRuns], dict[str, xr.DataArray]]


def measure_unpatched(
    experiment: OnPairs,
    work: RunContext,
    tokens: list[TokenPair],
    keep: Iterable[Site],
    measure: Measure,
) -> RawResult:
    """What `measure` finds in the unpatched runs of each pair."""
    arrays: dict[str, list[xr.DataArray]] = {}
    runs: list[PairRuns] = []
    for group in run_in_groups(
        work.model.network, tokens, BASE_SITES | frozenset(keep), work.budget
    ):
        for one in group:
            for name, array in measure(one).items():
                arrays.setdefault(name, []).append(array)
            runs.append(one.without_activations())
    joined = {name: xr.concat(some, "pair").rename(name) for name, some in arrays.items()}
    return raw_result(experiment, work, runs, joined)
