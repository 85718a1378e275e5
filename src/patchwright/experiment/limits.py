"""What one of many may ask for: one policy of cost, for every front end that others reach.

A method states its cost itself, without which it cannot be, and a list without a bound of its
own has one here. The command line has no limits.
"""

from collections.abc import Sized
from dataclasses import dataclass

from patchwright.errors import ExperimentError, PromptError
from patchwright.experiment.base import Experiment, OnPairs
from patchwright.experiment.cost import sequence_length
from patchwright.experiment.declaration import Option
from patchwright.experiment.run import tokens_of
from patchwright.model.load import Model
from patchwright.prompts.pair import TokenPair, prompt_ids

COMMAND_LINE_ADVICE = "or use the command line, which has no such bound."

MOST_ITEMS = 1024
"""Of a list whose field says no other bound; pairs and answers have bounds of their own."""


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
                items: Sized = value
                self._check_at_most(
                    len(items), name.replace("_", " "), most_items(experiment, name)
                )
        for prompt in experiment.references:
            self.check_length(len(prompt_ids(prompt, model.tokenizer, experiment.bos)))
        cost = experiment.cost(self._tokens_within_limits(experiment, model), model)
        self._check_at_most(cost.cells, "cells", self.cells)
        self._check_at_most(cost.passes, "passes through the model", self.passes)
        self._check_at_most(cost.drawn, "tokens of random prompts", self.drawn)
        if cost.memory > self.memory:
            raise ExperimentError(
                f"The experiment takes about {cost.memory >> 20:,} MiB of memory beside the model, and "
                f"{self.who} gives at most {self.memory >> 20:,} MiB: shorten the prompt or draw fewer "
                f"samples, {COMMAND_LINE_ADVICE}"
            )

    def check_length(self, tokens: int) -> None:
        """Raise PromptError for a prompt of too many tokens."""
        if tokens > self.tokens:
            raise PromptError(
                f"A prompt has {tokens} tokens with its answer, and {self.who} takes at most "
                f"{self.tokens}: shorten it, {COMMAND_LINE_ADVICE}"
            )

    def _tokens_within_limits(self, experiment: Experiment, model: Model) -> list[TokenPair]:
        """The pairs in tokens, each within its bounds."""
        if not isinstance(experiment, OnPairs):
            return [self._check_size(one) for one in experiment.tokens(model)]
        self._check_at_most(len(experiment.pair_list), "pairs", self.pairs)
        tokens: list[TokenPair] = []
        for pair in experiment.pair_list:
            # Before the answers are split into tokens, which takes time too.
            self._check_at_most(len(pair.answers) + len(pair.wrongs), "answers", self.answers)
            tokens.append(self._check_size(tokens_of(pair, experiment, model)))
        return tokens

    def _check_size(self, pair: TokenPair) -> TokenPair:
        self._check_at_most(len(pair.answers) + len(pair.wrongs), "answers", self.answers)
        self.check_length(sequence_length(pair))
        return pair

    def _check_at_most(self, number: int, what: str, most: int) -> None:
        if number > most:
            raise ExperimentError(
                f"The experiment has {number:,} {what}, and {self.who} takes at most {most:,}: ask "
                f"for fewer, {COMMAND_LINE_ADVICE}"
            )


def most_items(experiment: Experiment, name: str) -> int:
    """How long the list in a field may be."""
    stated = (
        one.max_items
        for one in type(experiment).model_fields[name].metadata
        if isinstance(one, Option) and one.max_items is not None
    )
    return next(stated, MOST_ITEMS)
