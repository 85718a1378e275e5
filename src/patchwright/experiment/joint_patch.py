"""Several places changed in one run."""

import xarray as xr

from patchwright.algorithms.sweep import Source, patch_jointly
from patchwright.axes import Direction
from patchwright.errors import ExperimentError
from patchwright.experiment.assembly import RawResult, RunContext, raw_result
from patchwright.experiment.patching import Together
from patchwright.places import parse_place
from patchwright.prompts.pair import TokenPair


def run_joint_patch(
    experiment: Together,
    direction: Direction,
    work: RunContext,
    tokens: list[TokenPair],
    source: Source | None = None,
) -> RawResult:
    """`patched` of one run in which all places are patched, or what `source` puts there instead."""
    places = [parse_place(place) for place in experiment.places]
    if not places:
        raise ExperimentError("No place was named: name at least one, as in L9H6.z@-1.")
    network = work.model.network
    ran = patch_jointly(network, tokens, places, direction, work.budget, source=source)
    runs, altered = [one for one, _ in ran], [some for _, some in ran]
    found = raw_result(experiment, work, runs, {}, len(ran), altered)
    values = [one.metric for one in found.altered]
    found.arrays["patched"] = xr.DataArray(values, dims=["pair"])
    return found
