"""Cautions: what to know before believing a result. The Result's own warnings come first."""

from collections.abc import Iterator, Sequence

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.axes import Direction
from patchwright.insights.sentences import Numbers, Sentence
from patchwright.insights.steps import Sources
from patchwright.insights.sweep_view import Cell, SweepView
from patchwright.spelling import join_words

HIGH_EFFECT = 1.1
LOW_EFFECT = -0.25
"""Effects beyond these are pointed out."""

WRONG_SHARE = 1 / 3
"""From such a part of the gap on, the wrong answer's logit is spoken of."""

FEW_PAIRS = 10
"""Fewer different pairs than this are too few to be sure of much."""

MOST_OF_KIND = 3
"""Of more pairs than this with the same warning, only the first is quoted."""

OTHER_DIRECTION: dict[Direction, str] = {
    "denoise": "Only denoising was done. It shows which places are sufficient, not which are "
    "necessary: noising shows that.",
    "noise": "Only noising was done. It shows which places are necessary, not which are "
    "sufficient: denoising shows that.",
}

SELF_REPAIR = (
    "Later layers can make up for what a patch destroys (backup heads, self-repair), so a small "
    "effect does not mean that the model makes no use of the place."
)


def cautions(sources: Sources, steps: Sequence[Sentence]) -> Iterator[Sentence]:
    """The cautions about `steps`, in reading order."""
    main = sources.main
    yield from _result_warnings(sources)
    if not main.flat:
        yield from _reversed_runs(main)
        yield from _extreme_effects(sources.sweeps)
        yield from _head_sum(sources.heads)
        yield from _wrong_answer(main)
        if main.direction == "noise":
            yield Sentence("self_repair", SELF_REPAIR)
        yield Sentence("one_direction", OTHER_DIRECTION[main.direction])
    yield from _metric_limits(main)
    yield from _pair_counts(main)
    yield from _unequal_lengths(main)
    yield from _partial_sweeps(sources)
    if any(step.code.startswith("attention") for step in steps):
        yield Sentence("attention", _ATTENTION)


_ATTENTION = (
    "Attention shows where a head looks. It does not show what the head copies from there, or "
    "whether the answer depends on it: patching shows that."
)


def _result_warnings(sources: Sources) -> Iterator[Sentence]:
    """The warnings of all results, each once, in their own words."""
    said: set[tuple[str, str]] = set()
    for sweep in sources.sweeps:
        kinds: dict[str, list[str]] = {}
        for notice in sweep.result.warnings:
            kinds.setdefault(notice["code"], []).append(notice["message"])
        for code, messages in kinds.items():
            for message in messages[:MOST_OF_KIND]:
                about_sweep = code in ("stopped", "estimate") and len(sources.sweeps) > 1
                text = f"{sweep.site} per {sweep.per}: {message}" if about_sweep else message
                if (code, text) not in said:
                    said.add((code, text))
                    yield Sentence(code, text)
            if len(messages) > MOST_OF_KIND:
                say = Numbers()
                more = say.count(len(messages) - MOST_OF_KIND)
                yield say.sentence(code, f"Warnings of this kind that are not shown: {more}.")


def _reversed_runs(main: SweepView) -> Iterator[Sentence]:
    """The corrupted run does better than the clean one."""
    if main.gap < 0 and not METRIC_TABLE[main.metric].lower_is_better:
        say, result = Numbers(), main.result
        text = (
            f"The corrupted run has the higher {main.metric} ({say.amount(result.corrupt.metric)} "
            f"against {say.amount(result.clean.metric)}): the prompts or the answers may be swapped."
        )
        yield say.sentence("reversed", text)


def _extreme_effects(sweeps: Sequence[SweepView]) -> Iterator[Sentence]:
    """Effects that are no shares: the furthest above the whole gap, and below nothing."""
    cells = [cell for sweep in sweeps for cell in sweep.cells]
    high = max(cells, key=lambda cell: cell.effect, default=None)
    low = min(cells, key=lambda cell: cell.effect, default=None)
    if high is not None and high.effect > HIGH_EFFECT:
        say = Numbers()
        text = (
            f"{_copying_text(say, high)} has an effect of {high.share_text(say)}, which is more than the whole "
            "gap: the patched run goes past the run it copies from. Effects are not parts of a whole."
        )
        yield say.sentence("above_one", text, high.place)
    if low is not None and low.effect < LOW_EFFECT:
        say = Numbers()
        text = (
            f"{_copying_text(say, low)} has an effect of {low.share_text(say)}: the patched run moves away from "
            "the run it copies from. Such places hide part of what others do."
        )
        yield say.sentence("below_zero", text, low.place)


def _copying_text(say: Numbers, cell: Cell) -> str:
    return f"Copying {say.place(cell.place, with_site=True)}"


def _head_sum(heads: SweepView | None) -> Iterator[Sentence]:
    """Heads in a row each count the whole difference."""
    carrying = [] if heads is None else heads.carrying_cells
    total = sum(cell.effect for cell in carrying)
    if total > HIGH_EFFECT:
        say = Numbers()
        text = (
            f"The effects of the {say.count(len(carrying))} heads that carry most add up to "
            f"{say.share(total)}. Heads that pass the difference on to one another each count all "
            "of it, so their effects are not parts of a whole."
        )
        yield say.sentence("sum_above_one", text)


def _wrong_answer(main: SweepView) -> Iterator[Sentence]:
    """A logit difference can move because the wrong answer does."""
    clean, corrupt = main.result.clean, main.result.corrupt
    if main.metric != "logit_diff" or clean.wrong_logit is None or corrupt.wrong_logit is None:
        return
    share = (corrupt.wrong_logit - clean.wrong_logit) / main.gap
    if share >= WRONG_SHARE:
        say = Numbers()
        text = (
            f"{say.share(share)} of the gap comes from the logit of the wrong answer and "
            f"{say.share(1 - share)} from that of the answer. A place can move the difference by "
            "changing only the logit of the wrong answer: look at both logits."
        )
        yield say.sentence("wrong_answer", text)


def _metric_limits(main: SweepView) -> Iterator[Sentence]:
    """What the metric cannot see."""
    metric = METRIC_TABLE[main.metric]
    if metric.caution is not None:
        yield Sentence(*metric.caution)
    if metric.unit.saturates:
        say, result = Numbers(), main.result
        text = (
            f"A probability ({say.probability(result.clean.probability)} in the clean run, "
            f"{say.probability(result.corrupt.probability)} in the corrupted run) hardly moves near its "
            "limits, so it misses places, above all those that work against the answer: compare with "
            "the logit or the logit difference."
        )
        yield say.sentence("probability_saturates", text)


def _pair_counts(main: SweepView) -> Iterator[Sentence]:
    """How much the number of pairs says; duplicates count as one."""
    n, different = len(main.baselines), main.different_pairs
    if different == 1:
        text = (
            "This is one pair of prompts, and its names, its word order or chance may explain the "
            "result: try other pairs."
        )
        yield Sentence("single_pair", text)
    if n == 1:
        return
    say = Numbers()
    among = "" if different == n else f", {say.count(different)} of them different"
    text = (
        f"Numbers are means over {say.count(n)} pairs{among} (an effect is the mean change divided by "
        "the mean gap). Single pairs can behave differently, and the order of weak places can change "
        "with other pairs."
    )
    yield say.sentence("means", text)
    if 1 < different < FEW_PAIRS:
        say = Numbers()
        kind = "pairs" if different == n else "different pairs"
        text = (
            f"{say.count(different)} {kind} are few: intervals over them are too narrow, and a "
            f"sign-flip test gives no p-value below {say.probability(2 / 2**different)}."
        )
        yield say.sentence("few_pairs", text)


def _unequal_lengths(main: SweepView) -> Iterator[Sentence]:
    if main.first_unequal_lengths is not None:
        say = Numbers()
        clean, corrupt = (say.count(n) for n in main.first_unequal_lengths)
        text = (
            f"A clean prompt has {clean} tokens and its corrupted prompt {corrupt}. A position without "
            "a counterpart cannot be patched, so this sweep does not show what it carries."
        )
        yield say.sentence("unequal_lengths", text)


def _partial_sweeps(sources: Sources) -> Iterator[Sentence]:
    """Sweeps that leave places out; `acting` always may."""
    acting = None if sources.acting is None else sources.acting.result
    for sweep in sources.sweeps:
        chosen = [one for one in ("layers", "positions", "heads") if sweep.result.experiment[one]]
        if chosen and (sweep is sources.main or sweep.result is not acting):
            text = (
                f"The sweep of {sweep.site} per {sweep.per} covers only the {join_words(chosen)} that "
                "were chosen: there may be stronger places outside them."
            )
            yield Sentence("partial", text)
