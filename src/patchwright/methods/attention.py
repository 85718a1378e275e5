"""Attention: scores of all heads, and the pattern of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from patchwright.experiment.base import OnPairs
from patchwright.experiment.cost import sequence_length
from patchwright.experiment.declaration import Cost, Option, Output, Seed
from patchwright.experiment.questions import Contest
from patchwright.prompts.align import NO_EDGES_HINT
from patchwright.prompts.pair import Prompt, Text

if TYPE_CHECKING:
    import xarray as xr

    from patchwright.algorithms.pair_runs import PairRuns
    from patchwright.algorithms.result import Result
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.model.load import Model
    from patchwright.prompts.pair import Pair, TokenPair


class HeadScores(OnPairs):
    """Every head is scored by what it attends to: the previous token, an equal token, or the
    token after an equal one.

    Random prompts are drawn from the tokens of `words`, or from all there are.
    """

    main: ClassVar[str] = "induction"
    unit: ClassVar[str] = "attention"
    measures: ClassVar[bool] = False
    command: ClassVar[str] = "attention"
    summary: ClassVar[str] = "Show what a head attends to, or score all heads."

    method: Literal["head_scores"] = "head_scores"
    repeats: int = Field(
        default=4, title="Random prompts", description="Random prompts, for scores."
    )
    length: int = Field(
        default=20,
        title="Length",
        description="Number of random tokens, which are repeated once, for scores.",
    )
    seed: Seed = 0
    words: Annotated[Text, Option(usual="all tokens")] = Field(
        default="",
        title="Words",
        description="Draw them from the tokens of this text, such as ' Mary John store'.",
    )

    @property
    def references(self) -> Sequence[Prompt]:
        """The text whose tokens are drawn from."""
        return [self.words] if self.words else []

    @property
    def contest(self) -> Contest:
        """None: what heads do with random words is about no answer."""
        return Contest("", "")

    @property
    def prompts_read(self) -> Sequence[Prompt]:
        """The prompts of pairs: the words are no prompt."""
        return [one for pair in self.pair_list for one in (pair.clean, pair.corrupt)]

    @property
    def output(self) -> Output:
        """Every head's scores in both prompts."""
        names = ("previous", "duplicate", "induction", "entropy")
        return Output(dict.fromkeys(names, ("prompt", "layer", "head")))

    def title(self, result: Result) -> str:
        """What random prompts are made of."""
        return (
            f"What each head attends to, on repeated random {'words' if self.words else 'tokens'}"
        )

    @property
    def question(self) -> str:
        """Which heads do what is told of heads."""
        return f"Which heads look for repeated {'words' if self.words else 'tokens'}?"

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """Tokens of random prompts."""
        return Cost(drawn=self.repeats * 2 * self.length)

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """Every head's scores."""
        from patchwright.algorithms.attention import PATTERN_SITES, RepeatedTokens, head_scores
        from patchwright.experiment.observation import measure_unpatched
        from patchwright.prompts.pair import prompt_ids

        tokenizer, network = work.model.tokenizer, work.model.network
        pool = prompt_ids(self.words, tokenizer, bos=False) if self.words else ()
        start = tokenizer.bos_ids if tokenizer is not None and self.bos else ()
        drawn = tuple(dict.fromkeys(pool))
        twice = RepeatedTokens(self.length, self.repeats, self.seed, drawn, start)
        return measure_unpatched(
            self, work, tokens, PATTERN_SITES, lambda runs: head_scores(network, runs, twice)
        )


class Attention(OnPairs):
    """The attention pattern of one head in both runs."""

    main: ClassVar[str] = "pattern"
    unit: ClassVar[str] = "attention"
    measures: ClassVar[bool] = False
    chosen_by: ClassVar[str] = "head"

    method: Literal["attention"] = "attention"
    layer: Annotated[int, Option(hidden=True)] = Field(title="Layer", description="Its layer.")
    head: int = Field(
        title="Head", description="One head, such as L3H1; without it, scores of all heads."
    )

    @property
    def unequal_length_advice(self) -> str:
        """Patterns of unequal prompts cannot be compared."""
        return NO_EDGES_HINT

    @property
    def output(self) -> Output:
        """Both patterns, and as a rule their difference."""
        return Output(
            {"pattern": ("run", "query", "key")}, optional={"difference": ("query", "key")}
        )

    def title(self, result: Result) -> str:
        """Whose attention it is."""
        return f"What head {self.head} of layer {self.layer} attends to"

    @property
    def question(self) -> str:
        """Where the head looks."""
        over = self.contest.over
        return f"What does head {self.head} of layer {self.layer} look at{over}?"

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """A value for each query and key."""
        return Cost(sum(sequence_length(one) ** 2 for one in tokens))

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """The `pattern` of one head in both runs, and their `difference`."""
        from patchwright.algorithms.attention import PATTERN_SITES, patterns
        from patchwright.experiment.assembly import ONE_PAIR_ADVICE, check_equal_lengths
        from patchwright.experiment.observation import measure_unpatched

        check_equal_lengths((len(pair.clean) for pair in tokens), ONE_PAIR_ADVICE)

        def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
            both = patterns(work.model.network, runs, self.layer, self.head)
            change = both.sel(run="clean", drop=True) - both.sel(run="corrupt", drop=True)
            return {"pattern": both, "difference": change}

        return measure_unpatched(self, work, tokens, PATTERN_SITES, measure)


def attention(
    model: Model, pair: Pair | Sequence[Pair], layer: int, head: int, bos: bool = True
) -> Result:
    """What one head attends to: `pattern` (run, query, key), and clean − corrupted `difference`."""
    return Attention.call(**locals())


def head_scores(
    model: Model,
    pair: Pair | Sequence[Pair],
    length: int = 20,
    repeats: int = 4,
    seed: int = 0,
    bos: bool = True,
    words: str | Sequence[int] = "",
) -> Result:
    """Scores of every head as a previous-token, duplicate-token and induction head; entropy.

    Arrays (prompt, layer, head): on the clean and the corrupted prompt, and on
    `repeats` prompts of `length` random tokens said twice, drawn from the tokens of
    `words` (without repetition) or from the whole vocabulary. A small model may
    repeat only words that it has seen. See `algorithms.attention`.
    """
    return HeadScores.call(**locals())
