"""An experiment and a loaded model -> a Result."""

from time import perf_counter

from patchwright.algorithms.batches import OnProgress
from patchwright.algorithms.metrics import check_answers, check_metric
from patchwright.algorithms.result import Result
from patchwright.axes import BUDGET, Metric
from patchwright.errors import ExperimentError
from patchwright.experiment.assembly import RunContext, as_result
from patchwright.experiment.base import CellByCell, Experiment, OnPairs
from patchwright.model.load import Model
from patchwright.prompts.align import EDGES_HINT, NO_EDGES_HINT
from patchwright.prompts.pair import Pair, TokenPair, tokenize


def run(
    experiment: Experiment,
    model: Model,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
    top: int = 0,
    known: Result | None = None,
) -> Result:
    """Run an experiment on a loaded model.

    `progress` is called between batches and stops the work by returning False;
    `budget` limits the bytes that altered runs take. With `top` the result of a sweep (`Patch`,
    `Ablate`) also has that many most likely next tokens of each cell, in the arrays `top`,
    `top_id` and `top_probability`; all other numbers stay the same. What a method would compute
    again it takes from `known`, an earlier result: a circuit's sizes on the same prompts and model
    (`EvaluateCircuit`); the result is that of the whole run. Raises InputError if the prompts,
    answers or places do not fit the model.
    """
    started = perf_counter()
    if top and not (isinstance(experiment, CellByCell) and experiment.lists_tokens):
        raise ExperimentError(
            f"top={top}: only sweeps that patch or ablate list each cell's tokens."
        )
    work = RunContext(model, progress, budget, top, known)
    found = experiment.compute(work, experiment.tokens(model))
    return as_result(experiment, work, found, perf_counter() - started)


def all_tokens(experiment: OnPairs, model: Model) -> list[TokenPair]:
    """Every pair of an experiment in the model's tokens, as `tokens_of` gives them."""
    if not experiment.pair_list:
        raise ExperimentError("The list of pairs is empty: give at least one pair.")
    return [tokens_of(pair, experiment, model) for pair in experiment.pair_list]


def tokens_of(pair: Pair, experiment: OnPairs, model: Model) -> TokenPair:
    """`pair` in the model's tokens, checked against model and metric."""
    return _tokens(pair, model, experiment.metric, experiment.bos, experiment.unequal_length_advice)


def check_pair(
    pair: Pair, model: Model, metric: str = "logit_diff", bos: bool = True, edges: bool = True
) -> TokenPair:
    """`pair` in the model's tokens; raises what running it would, where it does not fit model and metric.

    `edges` says whether the method can match prompts of unequal length at their edges.
    """
    return _tokens(pair, model, check_metric(metric), bos, EDGES_HINT if edges else NO_EDGES_HINT)


def _tokens(pair: Pair, model: Model, metric: Metric, bos: bool, instead: str) -> TokenPair:
    tokens = tokenize(
        pair,
        model.tokenizer,
        n_vocab=model.n_tokens,
        n_context=model.spec.n_context,
        bos=bos,
        instead=instead,
    )
    check_answers(metric, tokens)
    return tokens
