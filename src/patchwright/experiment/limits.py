"""What one of many may ask for: one policy of cost, for every front end that others reach.

A method states its cost in `COSTS`; what has none is refused, and so is a list without a bound.
The command line has no limits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from patchwright.errors import ExperimentError, PromptError
from patchwright.experiment.run import tokens_of
from patchwright.experiment.size import cell_count, graph_bytes, trace_bytes
from patchwright.experiment.types import (
    Ablate,
    AblateTogether,
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
    Trace,
)
from patchwright.model.load import Model
from patchwright.prompts.pair import Prompt, TokenPair, prompt_ids, tokenize_prompt

INSTEAD = "or use the command line, which has no such bound."

MOST_LISTED = {"prompts": 32, "places": 64, "receivers": 64, "roles": 64, "edges": 10_000}
"""Lengths of an experiment's lists."""

MOST_ITEMS = 1024
"""Of every other list; pairs and answers have bounds of their own."""


@dataclass(frozen=True)
class Cost:
    """What an experiment takes, over all its pairs.

    `cells` are runs with something altered, or values of the result that take none;
    `passes` other runs (gradients, circuits, reference prompts); `drawn` tokens of random
    prompts; `memory` bytes beside the model and the runs of a batch.
    """

    cells: int = 0
    passes: int = 0
    drawn: int = 0
    memory: int = 0


@dataclass(frozen=True)
class Limits:
    """Bounds on one experiment; `who` names in refusals whose they are.

    `tokens` of a prompt with its answer; `answers` of a pair, right and wrong together;
    `cells`, `passes`, `drawn` and `memory` as in `Cost`; `seconds` that it may work, looked
    at between batches.
    """

    who: str = "this server"
    tokens: int = 256
    answers: int = 256
    pairs: int = 64
    cells: int = 100_000
    passes: int = 500
    drawn: int = 4096
    memory: int = 3 * 2**30
    seconds: float = 600.0

    def check(self, experiment: Experiment, model: Model) -> None:
        """Raise ExperimentError where it is too large; and what `run` would for its prompts."""
        for name, value in experiment:
            if isinstance(value, tuple) and name not in ("pairs", "answer", "wrong"):
                most = MOST_LISTED.get(name, MOST_ITEMS)
                self._at_most(len(value), name.replace("_", " "), most)
        for prompt in _references(experiment):
            self.check_length(len(prompt_ids(prompt, model.tokenizer, experiment.bos)))
        cost = cost_of(experiment, self._tokens(experiment, model), model)
        self._at_most(cost.cells, "cells", self.cells)
        self._at_most(cost.passes, "passes through the model", self.passes)
        self._at_most(cost.drawn, "tokens of random prompts", self.drawn)
        if cost.memory > self.memory:
            raise ExperimentError(
                f"The experiment takes about {cost.memory >> 20:,} MiB of memory beside the model, and "
                f"{self.who} gives at most {self.memory >> 20:,} MiB: shorten the prompt or draw fewer "
                f"samples, {INSTEAD}"
            )

    def check_length(self, tokens: int) -> None:
        """Raise PromptError for a prompt of too many tokens."""
        if tokens > self.tokens:
            raise PromptError(
                f"A prompt has {tokens} tokens with its answer, and {self.who} takes at most "
                f"{self.tokens}: shorten it, {INSTEAD}"
            )

    def _tokens(self, experiment: Experiment, model: Model) -> list[TokenPair]:
        """The pairs in tokens, each within its bounds."""
        if isinstance(experiment, Trace):
            prompt = tokenize_prompt(
                experiment.prompt, experiment.answer, experiment.wrong, model.tokenizer,
                n_vocab=model.n_tokens, n_context=model.spec.n_context, bos=experiment.bos,
            )  # fmt: skip
            return [self._bounded(prompt)]
        assert isinstance(experiment, OnPairs), "an experiment has pairs, or is a trace"
        self._at_most(len(experiment.pair_list), "pairs", self.pairs)
        tokens: list[TokenPair] = []
        for pair in experiment.pair_list:
            # Before the answers are split into tokens, which takes time too.
            self._at_most(len(pair.answers) + len(pair.wrongs), "answers", self.answers)
            tokens.append(self._bounded(tokens_of(pair, experiment, model)))
        return tokens

    def _bounded(self, pair: TokenPair) -> TokenPair:
        self._at_most(len(pair.answers) + len(pair.wrongs), "answers", self.answers)
        self.check_length(longest(pair))
        return pair

    def _at_most(self, number: int, what: str, most: int) -> None:
        if number > most:
            raise ExperimentError(
                f"The experiment has {number:,} {what}, and {self.who} takes at most {most:,}: ask "
                f"for fewer, {INSTEAD}"
            )


def cost_of(experiment: Experiment, tokens: Sequence[TokenPair], model: Model) -> Cost:
    """What an experiment on these `tokens`, a pair each, takes.

    Raises ExperimentError for a method that states no cost.
    """
    stated = COSTS.get(type(experiment))
    if stated is None:
        raise ExperimentError(
            f"How much {type(experiment).__name__} takes is not known, so it is not done here: use "
            "the command line, which has no bounds."
        )
    return stated(experiment, tokens, model)


def longest(pair: TokenPair) -> int:
    """Tokens of the longer prompt and all but the last of its longest answer."""
    behind = max(len(one) for one in pair.continuations)
    return max(len(pair.clean), len(pair.corrupt)) + behind


def runs_of(pair: TokenPair) -> int:
    """Runs that a cell takes: one for each beginning of an answer of several tokens."""
    return max(1, len(pair.continuations))


def _references(experiment: Experiment) -> Sequence[Prompt]:
    """The prompts of an experiment beside its pairs."""
    if isinstance(experiment, HeadScores):
        return [experiment.words] if experiment.words else []
    return getattr(experiment, "prompts", ())


def _sweep(experiment: Any, tokens: Sequence[TokenPair], model: Model) -> Cost:
    """One run a cell, and one a reference prompt."""
    roles = len(getattr(experiment, "roles", None) or ())
    cells = sum(
        cell_count(experiment, roles or longest(one), model) * runs_of(one) for one in tokens
    )
    return Cost(cells, passes=len(_references(experiment)))


def _attribute(experiment: Attribute, tokens: Sequence[TokenPair], model: Model) -> Cost:
    cells = _sweep(experiment, tokens, model).cells
    return Cost(cells, passes=experiment.steps * sum(map(runs_of, tokens)))


def _together(experiment: Experiment, tokens: Sequence[TokenPair], model: Model) -> Cost:
    """One altered run a pair."""
    return Cost(sum(map(runs_of, tokens)), passes=len(_references(experiment)))


def _trace(experiment: Trace, tokens: Sequence[TokenPair], model: Model) -> Cost:
    (prompt,) = tokens
    n_positions, samples = len(prompt.clean), experiment.samples
    cells = samples * model.spec.n_layers * n_positions * runs_of(prompt)
    return Cost(cells, memory=trace_bytes(n_positions, samples, model))


def _difference(experiment: Difference, tokens: Sequence[TokenPair], model: Model) -> Cost:
    return Cost(sum(cell_count(experiment, longest(one), model) for one in tokens))


def _attention(experiment: Attention, tokens: Sequence[TokenPair], model: Model) -> Cost:
    return Cost(sum(longest(one) ** 2 for one in tokens))


def _head_scores(experiment: HeadScores, tokens: Sequence[TokenPair], model: Model) -> Cost:
    return Cost(drawn=experiment.repeats * 2 * experiment.length)


def _lens(experiment: LogitLens, tokens: Sequence[TokenPair], model: Model) -> Cost:
    """Every layer and position is read by the whole unembedding."""
    return Cost(sum(model.spec.n_layers * longest(one) for one in tokens))


def _direct(experiment: LogitAttribution, tokens: Sequence[TokenPair], model: Model) -> Cost:
    spec, part = model.spec, experiment.part
    width = {"neuron": spec.d_mlp}.get(part, spec.n_heads)
    cells = (width * (longest(one) if part == "position" else 1) for one in tokens)
    return Cost(spec.n_layers * sum(cells))


def _edges(experiment: EdgeAttribution, tokens: Sequence[TokenPair], model: Model) -> Cost:
    passes = len(tokens) * ((experiment.steps or 1) + experiment.exact)
    return Cost(passes=passes, memory=_graph(tokens, model))


def _circuits(experiment: EvaluateCircuit, tokens: Sequence[TokenPair], model: Model) -> Cost:
    """Each circuit, its complement, and circuits drawn at random."""
    passes = len(tokens) * len(experiment.sizes) * (2 + experiment.n_random)
    return Cost(passes=passes, memory=_graph(tokens, model))


def _graph(tokens: Sequence[TokenPair], model: Model) -> int:
    return graph_bytes(max(map(longest, tokens), default=0), model)


COSTS: Mapping[type[Experiment], Callable[[Any, Sequence[TokenPair], Model], Cost]] = {
    Patch: _sweep,
    PathPatch: _sweep,
    Ablate: _sweep,
    Attribute: _attribute,
    PatchTogether: _together,
    AblateTogether: _together,
    Trace: _trace,
    Difference: _difference,
    EdgeAttribution: _edges,
    EvaluateCircuit: _circuits,
    Attention: _attention,
    HeadScores: _head_scores,
    LogitLens: _lens,
    LogitAttribution: _direct,
}
"""By kind of experiment, what it takes."""
