"""The experiments that read what unpatched runs (and a patched one) hold."""

from collections.abc import Callable, Iterable

import xarray as xr

from patchwright.algorithms.attention import PATTERN, Twice, head_scores, patterns
from patchwright.algorithms.difference import difference
from patchwright.algorithms.direct import KEEP, logit_attribution
from patchwright.algorithms.lens import accumulated, logit_lens
from patchwright.algorithms.metrics import check_answers, usual_metric
from patchwright.algorithms.runs import PairRuns, run_in_groups
from patchwright.algorithms.sweep import (
    together,
)
from patchwright.experiment.patching import places_of
from patchwright.experiment.results import (
    ONE_BY_ONE,
    Found,
    Work,
    check_one_length,
    found_in,
    without_positions,
)
from patchwright.experiment.types import (
    Attention,
    Difference,
    HeadScores,
    LogitAttribution,
    LogitLens,
    OnPairs,
)
from patchwright.model.rows import CORE, Run
from patchwright.places import Site, check_layer, layer_named
from patchwright.prompts.pair import TokenPair, prompt_ids

Measure = Callable[[PairRuns], dict[str, xr.DataArray]]


def measured(
    experiment: OnPairs,
    work: Work,
    tokens: list[TokenPair],
    keep: Iterable[Site],
    measure: Measure,
) -> Found:
    """What `measure` finds in the unpatched runs of each pair."""
    arrays: dict[str, list[xr.DataArray]] = {}
    runs: list[PairRuns] = []
    for group in run_in_groups(work.model.network, tokens, CORE | frozenset(keep), work.budget):
        for one in group:
            for name, array in measure(one).items():
                arrays.setdefault(name, []).append(array)
            runs.append(one.forgotten())
    joined = {name: xr.concat(some, "pair").rename(name) for name, some in arrays.items()}
    return found_in(experiment, work, runs, joined)


def run_difference(experiment: Difference, work: Work, tokens: list[TokenPair]) -> Found:
    """Norms and cosines of the differences of one site."""
    site, per = experiment.site, experiment.per
    check_layer(layer_named(site, 0), site, work.model.spec)
    if per in ("position", "head_position"):
        check_one_length((len(pair.clean) for pair in tokens), without_positions(site))
    return measured(experiment, work, tokens, [site], lambda runs: difference(runs, site, per))


def run_attention(experiment: Attention, work: Work, tokens: list[TokenPair]) -> Found:
    """The `pattern` of one head in both runs, and their `difference`."""
    check_one_length((len(pair.clean) for pair in tokens), ONE_BY_ONE)
    layer, head = experiment.layer, experiment.head

    def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
        both = patterns(work.model.network, runs, layer, head)
        change = both.sel(run="clean", drop=True) - both.sel(run="corrupt", drop=True)
        return {"pattern": both, "difference": change}

    return measured(experiment, work, tokens, PATTERN, measure)


def run_head_scores(experiment: HeadScores, work: Work, tokens: list[TokenPair]) -> Found:
    """Every head's scores."""
    tokenizer = work.model.tokenizer
    pool = prompt_ids(experiment.words, tokenizer, bos=False) if experiment.words else ()
    start = tokenizer.start if tokenizer is not None and experiment.bos else ()
    asked = experiment.length, experiment.repeats, experiment.seed
    twice = Twice(*asked, tuple(dict.fromkeys(pool)), start)
    return measured(
        experiment,
        work,
        tokens,
        PATTERN,
        lambda runs: head_scores(work.model.network, runs, twice),
    )


LENS: frozenset[Site] = CORE | frozenset[Site]({"resid_post"})
"""What a lens reads, and what its patched run starts from."""


def run_logit_lens(experiment: LogitLens, work: Work, tokens: list[TokenPair]) -> Found:
    """The answer as read off every layer of both runs, and of a patched one."""
    named = lens_runs(experiment, work, tokens)

    def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
        lens = logit_lens(runs.reader, named(runs), work.text)
        if "logit_diff" in lens:
            lens["accumulated"] = accumulated(runs.reader, named(runs))
        return lens

    return measured(experiment, work, tokens, LENS, measure)


def lens_runs(
    experiment: LogitLens, work: Work, tokens: list[TokenPair]
) -> Callable[[PairRuns], dict[str, Run]]:
    """What a lens reads of each pair: both runs, and the patched one where there are places."""
    for pair in tokens:
        check_answers("rank", pair)
    check_one_length((max(len(pair.clean), len(pair.corrupt)) for pair in tokens), ONE_BY_ONE)
    patched: dict[int, Run] = {}
    if places := places_of(experiment.places):
        how = experiment.direction, work.budget, LENS - CORE
        ran = together(work.model.network, tokens, places, *how)
        patched = {id(one.pair): runs[0] for one, runs in ran}

    def named(runs: PairRuns) -> dict[str, Run]:
        both = {"clean": runs.clean[0], "corrupt": runs.corrupt[0]}
        return both | ({"patched": patched[id(runs.pair)]} if patched else {})

    return named


def run_logit_attribution(
    experiment: LogitAttribution, work: Work, tokens: list[TokenPair]
) -> Found:
    """What each part adds to the logit difference directly."""
    for pair in tokens:
        check_answers(usual_metric(one_token=True, compared=bool(pair.wrongs)), pair)
    part = experiment.part
    if part == "neuron":
        check_layer(0, "mlp_act", work.model.spec)
    if part == "position":
        check_one_length((len(pair.clean) for pair in tokens), "choose part='head' (--direct head)")
    keep: set[Site] = {"embed", "attn_out", "mlp_out", *KEEP[part]}

    def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
        named = {"clean": runs.clean[0], "corrupt": runs.corrupt[0]}
        return logit_attribution(work.model.network, runs.pair, named, part)

    return measured(experiment, work, tokens, keep, measure)
