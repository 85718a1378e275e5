"""The steps in their order; what the runs predict, how far they are apart, and the conclusion."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Baseline, Result
from patchwright.algorithms.statistics import FALSE_DISCOVERY_RATE, stored_statistics
from patchwright.axes import Direction
from patchwright.insights.residual_path import HALF, ResidualPath, path_sentences
from patchwright.insights.sentences import Numbers, Sentence
from patchwright.insights.strongest import (
    attention_sentences,
    nothing_moved_sentence,
    strongest_sentences,
)
from patchwright.insights.sweep_view import NEED, VERB, SweepView
from patchwright.prompts.tokens import quoted_token

CONCLUSION = "conclusion"
"""The code of the sentence that sums the others up."""

PATCH_TEXTS: dict[Direction, str] = {
    "denoise": "Each patch copies the activations of one place from the clean run into the "
    "corrupted run. If that restores much of the gap, the place alone is sufficient for the answer.",
    "noise": "Each patch copies the activations of one place from the corrupted run into the clean "
    "run. If that destroys much of the gap, the place is necessary for the answer.",
}


@dataclass(frozen=True)
class Sources:
    """What there is to tell of; any but the main sweep may be missing."""

    main: SweepView
    stream: SweepView | None
    heads: SweepView | None
    acting: SweepView | None
    patterns: Mapping[str, Result]

    @property
    def sweeps(self) -> list[SweepView]:
        """Each sweep once, the main one first."""
        others = [one for one in (self.stream, self.heads, self.acting) if one is not None]
        return [self.main, *(one for one in others if one.result is not self.main.result)]


def steps(sources: Sources) -> Iterator[Sentence]:
    """The steps in reading order. A flat gap ends them: there is no scale for what would follow."""
    main, stream, heads = sources.main, sources.stream, sources.heads
    yield from _predictions(main)
    yield _gap_sentence(main)
    if main.flat:
        return
    yield Sentence("way", PATCH_TEXTS[main.direction])
    way = None if stream is None or stream.nothing_moved else ResidualPath.from_sweep(stream)
    if way is not None:
        yield from path_sentences(way)
    elif stream is not None and stream.nothing_moved and stream.result is not main.result:
        yield nothing_moved_sentence(stream)
    told = way is not None and way.stream.result is main.result
    if not told and (heads is None or heads.result is not main.result):
        yield from strongest_sentences(main)
    if heads is not None:
        yield from strongest_sentences(heads)
    yield from _discoveries(main)
    yield from attention_sentences(main, heads, sources.acting, sources.patterns)
    if way is not None and heads is not None:
        yield from _conclusion(way, heads)


def _discoveries(main: SweepView) -> Iterator[Sentence]:
    """How many places differ from zero over the pairs, where the result's statistics are known."""
    found = stored_statistics(main.result)
    if found is None or found.array != "effect":
        return
    say = Numbers()
    tested, differing = int(found.p_value.notnull().sum()), int(found.differs().sum())
    what = {"head": "heads", "neuron": "neurons", "layer": "layers"}.get(main.per, "places")
    text = (
        f"Over {say.count(main.different_pairs)} pairs, the effects of {say.count(differing)} of "
        f"{say.count(tested)} {what} differ from zero at a false discovery rate of {say.share(FALSE_DISCOVERY_RATE)}."
    )
    yield say.sentence("discoveries", text)


def _predictions(main: SweepView) -> Iterator[Sentence]:
    if len(main.baselines) > 1:
        yield _mean_predictions(main)
        return
    pair = main.pairs[0]
    for name, one in zip(("clean", "corrupted"), main.baselines[0], strict=True):
        say = Numbers()
        yield say.sentence(f"predicts_{name}", _prediction_text(say, name, one, pair))


def _prediction_text(say: Numbers, name: str, run: Baseline, pair: dict[str, Any]) -> str:
    """The most likely next token of a run, and the answers' probability and rank."""
    answers, wrongs = pair["answer"], pair["wrong"]
    top = run.top[0]
    right = _is_one_of(top, answers)
    role = _role_text(top, answers, "answer") or _role_text(top, wrongs, "wrong answer")
    chance = say.probability(top["probability"])
    first = f"After the {name} prompt, the model's most likely next token is "
    first += f"{quoted_token(top['token'])}{role}, with a probability of {chance}"
    if right and len(answers) == 1:
        return first + "."
    probability = say.probability(run.probability)
    if len(answers) == 1:
        rank = "" if run.rank is None else f" (rank {say.amount(run.rank)})"
        return f"{first}. The answer {_answer_text(answers[0])} has {probability}{rank}."
    rank = "" if run.rank is None else f"; the likeliest of them has rank {say.amount(run.rank)}"
    return f"{first}. The {say.count(len(answers))} answers together have {probability}{rank}."


def _is_one_of(top: dict[str, Any], answers: list[Any]) -> bool:
    return top["id"] in answers or top["token"] in answers


def _role_text(top: dict[str, Any], answers: list[Any], name: str) -> str:
    if not _is_one_of(top, answers):
        return ""
    return f", the {name}" if len(answers) == 1 else f", one of the {name}s"


def _answer_text(answer: str | int) -> str:
    """An answer as text; one that was given as a token id as its number."""
    return quoted_token(answer if isinstance(answer, str) else f"[{answer}]")


def _mean_predictions(main: SweepView) -> Sentence:
    say, runs = Numbers(), main.baselines
    clean, corrupt = (
        say.probability(run.probability) for run in (main.result.clean, main.result.corrupt)
    )
    text = (
        f"Over {say.count(len(runs))} pairs of prompts, the answer has a mean probability of {clean} "
        f"after the clean prompts and of {corrupt} after the corrupted ones"
    )
    if all(run.rank is not None for pair in runs for run in pair):
        first, still = (sum(pair[i].rank == 1 for pair in runs) for i in (0, 1))
        text += (
            f". It is the most likely next token after {say.count(first)} of the clean prompts and "
            f"{say.count(still)} of the corrupted ones"
        )
    return say.sentence("predicts_pairs", text + ".")


def _gap_sentence(main: SweepView) -> Sentence:
    say, result = Numbers(), main.result
    metric = METRIC_TABLE[main.metric]
    mean = "" if len(main.baselines) == 1 else "the mean of "
    text = (
        f"The metric is {mean}{metric.phrase}. It is {say.amount(result.clean.metric)} in the clean "
        f"run and {say.amount(result.corrupt.metric)} in the corrupted run. "
    )
    gap = f"{say.amount(abs(main.gap))}{metric.unit.suffix}"
    if main.flat:
        text += f"A difference of {gap} is too small to compare effects with, so no place can be said to matter."
        return say.sentence("flat", text)
    text += (
        f"The difference, {gap}, is the gap, and an effect is the share of it that a patch moves."
    )
    return say.sentence("gap", text)


def _conclusion(way: ResidualPath, heads: SweepView) -> Iterator[Sentence]:
    """One sentence, where the way of the difference is known from end to end and a head carries it."""
    if way.source is None or way.rises is None or way.falls is None or not heads.carrying_cells:
        return
    say, best, direction = Numbers(), heads.carrying_cells[0], way.stream.direction
    head, share, half = say.place(best.place), best.share_text(say, HALF), "half of the gap"
    half = half if best.effect == HALF else f"more than {half}"
    needed = NEED[direction]
    if best.effect < HALF:
        single = (
            f"no single head is {needed} for half of the gap (the strongest, {head}, has {share})"
        )
    elif direction == "denoise":
        single = f"{head} alone is {needed} for {half} ({share})"
    else:
        single = f"corrupting {head} alone {VERB[direction]} {half} ({share})"
    text = (
        f"In short: the difference enters at {way.stream.position_text(say, way.source)}, has reached the "
        f"last token by layer {say.count(way.rises)}, and {single}."
    )
    yield say.sentence(CONCLUSION, text, best.place)
