"""What one of many may ask a server for; the command line has no such bounds."""

from collections.abc import Sequence
from dataclasses import dataclass

from patchwright.errors import ExperimentError, PromptError
from patchwright.experiment import (
    AnyExperiment,
    Attention,
    Attribute,
    Difference,
    EdgeAttribution,
    EvaluateCircuit,
    HeadScores,
    LogitAttribution,
    LogitLens,
    Trace,
    tokens_of,
)
from patchwright.experiment.size import cell_count, graph_bytes, trace_bytes
from patchwright.experiment.types import OnPairs, Sweep
from patchwright.model.load import Model
from patchwright.prompts.pair import Prompt, TokenPair, prompt_ids, tokenize_prompt

INSTEAD = "or use the command line, which has no such bound."

MOST_BYTES = 3 * 2**30
"""Memory that noisy runs, or the gradients of all edges, may take."""

MOST_ANSWERS = 64
"""Right and wrong answers of a pair, together."""

MOST_LISTED = {"prompts": 32, "places": 64, "receivers": 64, "roles": 64, "edges": 10_000}
"""Lengths of an experiment's lists."""


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    `body` in bytes; `tokens` of a prompt; `cells` of an experiment over all its pairs;
    `passes` of a method that is not counted in cells (gradients, circuits); `queue` jobs
    that may wait; `streams` of events that may be open at one time; `seconds` that a job
    may work, `arrival` that a body may take.
    """

    body: int = 2**20
    tokens: int = 256
    pairs: int = 64
    cells: int = 100_000
    passes: int = 500
    queue: int = 32
    streams: int = 256
    seconds: float = 600.0
    arrival: float = 30.0

    def check(self, experiment: AnyExperiment, model: Model) -> None:
        """Raise ExperimentError where it is too large; and what `run` would for its prompts."""
        for name, most in MOST_LISTED.items():
            _at_most(len(getattr(experiment, name, None) or ()), name.replace("_", " "), most)
        references: Sequence[Prompt] = getattr(experiment, "prompts", ())
        if isinstance(experiment, HeadScores):
            references = [experiment.words] if experiment.words else []
            tokens = experiment.repeats * 2 * experiment.length
            _at_most(tokens, "tokens of random prompts", 16 * self.tokens)
        for prompt in references:
            self._check_length(len(prompt_ids(prompt, model.tokenizer, experiment.bos)))
        if isinstance(experiment, Trace):
            self._check_trace(experiment, model)
        else:
            self._check_pairs(experiment, model)

    def _check_pairs(self, experiment: OnPairs, model: Model) -> None:
        _at_most(len(experiment.pair_list), "pairs", self.pairs)
        tokens: list[TokenPair] = []
        for pair in experiment.pair_list:
            _at_most(len(pair.answers) + len(pair.wrongs), "answers", MOST_ANSWERS)
            tokens.append(tokens_of(pair, experiment, model))
            self._check_length(_longest(tokens[-1]))
        cells = sum(_cells(experiment, _longest(one), model) * _runs(one) for one in tokens)
        _at_most(cells, "cells", self.cells)
        _at_most(_passes(experiment, len(tokens)), "passes through the model", self.passes)
        if isinstance(experiment, EdgeAttribution | EvaluateCircuit):
            longest = max(map(_longest, tokens), default=0)
            _check_memory("The gradients of all edges", graph_bytes(longest, model))

    def _check_trace(self, experiment: Trace, model: Model) -> None:
        spec = model.spec
        prompt = tokenize_prompt(
            experiment.prompt, experiment.answer, experiment.wrong, model.tokenizer,
            n_vocab=model.n_tokens, n_context=spec.n_context, bos=experiment.bos,
        )  # fmt: skip
        _at_most(len(prompt.answers) + len(prompt.wrongs), "answers", MOST_ANSWERS)
        self._check_length(_longest(prompt))
        samples, n_positions = experiment.samples, len(prompt.clean)
        _at_most(samples * spec.n_layers * n_positions * _runs(prompt), "cells", self.cells)
        _check_memory("The noisy runs", trace_bytes(n_positions, samples, model))

    def _check_length(self, tokens: int) -> None:
        if tokens > self.tokens:
            raise PromptError(
                f"A prompt has {tokens} tokens with its answer, and this server takes at most "
                f"{self.tokens}: shorten it, {INSTEAD}"
            )


def _longest(pair: TokenPair) -> int:
    """Tokens of the longer prompt and all but the last of its longest answer."""
    longest = max(len(one) for one in pair.continuations)
    return max(len(pair.clean), len(pair.corrupt)) + longest


def _runs(pair: TokenPair) -> int:
    """Runs that a cell takes: one for each beginning of an answer of several tokens."""
    return max(1, len(pair.continuations))


def _cells(experiment: OnPairs, n_positions: int, model: Model) -> int:
    """Cells of one pair."""
    spec = model.spec
    if isinstance(experiment, Sweep | Difference):
        return cell_count(experiment, n_positions, model)
    if isinstance(experiment, Attention):
        return n_positions**2
    if isinstance(experiment, LogitLens):
        return spec.n_layers * n_positions
    if isinstance(experiment, LogitAttribution):
        inside = {"neuron": spec.d_mlp, "position": spec.n_heads * n_positions}
        return spec.n_layers * inside.get(experiment.part, spec.n_heads)
    return 0


def _passes(experiment: OnPairs, n_pairs: int) -> int:
    """Passes that are not counted in cells."""
    if isinstance(experiment, Attribute):
        return n_pairs * experiment.steps
    if isinstance(experiment, EdgeAttribution):
        return n_pairs * ((experiment.steps or 1) + experiment.exact)
    if isinstance(experiment, EvaluateCircuit):
        return n_pairs * len(experiment.sizes) * (2 + experiment.n_random)
    return 0


def _at_most(number: int, what: str, most: int) -> None:
    if number > most:
        raise ExperimentError(
            f"The experiment has {number:,} {what}, and this server takes at most {most:,}: ask "
            f"for fewer, {INSTEAD}"
        )


def _check_memory(what: str, size: int) -> None:
    if size > MOST_BYTES:
        raise ExperimentError(
            f"{what} take about {size >> 20:,} MiB, and this server gives at most "
            f"{MOST_BYTES >> 20:,} MiB: shorten the prompt or draw fewer samples, {INSTEAD}"
        )
