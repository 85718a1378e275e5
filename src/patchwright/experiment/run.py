"""An experiment and a loaded model -> a Result."""

from time import perf_counter

from patchwright.algorithms.batches import BUDGET, OnProgress
from patchwright.algorithms.metrics import check_answers
from patchwright.algorithms.result import Result
from patchwright.errors import ExperimentError
from patchwright.experiment.edges import run_edge_attribution, run_evaluate_circuit
from patchwright.experiment.patching import (
    run_attribute,
    run_path_patch,
    run_sweep,
    run_together,
    run_trace,
    run_unpatched,
)
from patchwright.experiment.reading import (
    run_attention,
    run_difference,
    run_head_scores,
    run_logit_attribution,
    run_logit_lens,
)
from patchwright.experiment.results import Found, Work, as_result
from patchwright.experiment.types import (
    Ablate,
    AblateTogether,
    Ablating,
    AnyExperiment,
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
from patchwright.model.load import Model
from patchwright.places import KEYED_SITES, parse_place
from patchwright.prompts.align import EDGES, NO_EDGES
from patchwright.prompts.pair import Pair, TokenPair, tokenize


def run(
    experiment: AnyExperiment,
    model: Model,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
    top: int = 0,
) -> Result:
    """Do what the experiment says, on a loaded model.

    `progress` is called between batches and stops the work by returning False;
    `budget` bounds the bytes that altered runs take. With `top` the result of a sweep (`Patch`,
    `Ablate`) also has so many likeliest next tokens of each cell, in the arrays `top`,
    `top_id` and `top_probability`; all other numbers stay the same. Raises InputError where the
    prompts, answers or places do not fit the model.
    """
    started = perf_counter()
    if top and not isinstance(experiment, Patch | Ablate):
        raise ExperimentError(
            f"top={top}: only sweeps that patch or ablate list each cell's tokens."
        )
    work = Work(model, progress, budget, top)
    if isinstance(experiment, Trace):
        found, many = run_trace(experiment, work), False
    else:
        found = on_pairs(experiment, work, all_tokens(experiment, model))
        many = not isinstance(experiment.pairs, Pair)
    return as_result(experiment, work, found, many, perf_counter() - started)


def unpatched(experiment: Patch | Ablate | PathPatch, model: Model) -> Result:
    """What `run` gives, without any cell: both unpatched runs of each pair. Raises what `run` does."""
    started = perf_counter()
    work = Work(model, None, BUDGET)
    found = run_unpatched(experiment, work, all_tokens(experiment, model))
    many = not isinstance(experiment.pairs, Pair)
    return as_result(experiment, work, found, many, perf_counter() - started)


def all_tokens(experiment: OnPairs, model: Model) -> list[TokenPair]:
    """Every pair of an experiment in the model's tokens, as `tokens_of` gives them."""
    if not experiment.pair_list:
        raise ExperimentError("The list of pairs is empty: give at least one pair.")
    return [tokens_of(pair, experiment, model) for pair in experiment.pair_list]


def tokens_of(
    pair: Pair, experiment: Experiment, model: Model, instead: str | None = None
) -> TokenPair:
    """`pair` in the model's tokens, checked against model and metric.

    `instead` is as for `tokenize`; by default what the experiment's method allows.
    """
    tokens = tokenize(
        pair,
        model.tokenizer,
        n_vocab=model.n_tokens,
        n_context=model.spec.n_context,
        bos=experiment.bos,
        instead=_instead_of_rewording(experiment) if instead is None else instead,
    )
    check_answers(experiment.metric, tokens)
    return tokens


def _instead_of_rewording(experiment: Experiment) -> str:
    """What can be done about prompts of unequal length that are to stay as they are."""
    if isinstance(experiment, Ablating):
        return EDGES  # What is written comes from no prompt of the pair.
    if isinstance(experiment, Attention | PathPatch | EdgeAttribution | EvaluateCircuit):
        return NO_EDGES
    if isinstance(experiment, LogitAttribution) and experiment.part == "position":
        return ", or choose part='head' and align='edges' (--direct head --align edges)"
    if isinstance(experiment, Sweep | Difference) and experiment.site in KEYED_SITES:
        return ", or choose site='z' and align='edges' (--site z --align edges)"
    places = getattr(experiment, "places", ())
    if any(parse_place(place).site in KEYED_SITES for place in places):
        return ", or name places of z and choose align='edges' (--align edges)"
    return EDGES


def on_pairs(experiment: OnPairs, work: Work, tokens: list[TokenPair]) -> Found:
    """Do what the experiment says to `tokens`, whatever its own pairs are."""
    if isinstance(experiment, Patch | Ablate):
        return run_sweep(experiment, work, tokens)
    if isinstance(experiment, Attribute):
        return run_attribute(experiment, work, tokens)
    if isinstance(experiment, PathPatch):
        return run_path_patch(experiment, work, tokens)
    if isinstance(experiment, PatchTogether | AblateTogether):
        return run_together(experiment, work, tokens)
    if isinstance(experiment, EdgeAttribution):
        return run_edge_attribution(experiment, work, tokens)
    if isinstance(experiment, EvaluateCircuit):
        return run_evaluate_circuit(experiment, work, tokens)
    if isinstance(experiment, Difference):
        return run_difference(experiment, work, tokens)
    if isinstance(experiment, Attention):
        return run_attention(experiment, work, tokens)
    if isinstance(experiment, HeadScores):
        return run_head_scores(experiment, work, tokens)
    if isinstance(experiment, LogitLens):
        return run_logit_lens(experiment, work, tokens)
    assert isinstance(experiment, LogitAttribution), f"no method for {type(experiment).__name__}"
    return run_logit_attribution(experiment, work, tokens)
