"""Which places of a sweep carry the difference, which oppose it, and where heads look."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result
from patchwright.axes import Direction
from patchwright.insights.sentences import Numbers, Sentence
from patchwright.insights.sweep_view import NOTABLE, VERB, Cell, SweepView
from patchwright.places import SITE_TABLE, Place, parse_place
from patchwright.spelling import join_words

MOST_NAMED = 4
"""So many places are named in one sentence."""

ONE_AT_A_TIME = {
    "position": "at one layer and position at a time",
    "head": "for one head at a time",
    "head_position": "for one head at one position at a time",
    "layer": "for one layer at a time, at all positions",
    "neuron": "for one neuron at a time",
}

OPPOSING_TEXTS: dict[Direction, str] = {
    "denoise": "with clean activations there, the corrupted run moves further from the clean one",
    "noise": "with corrupted activations there, the clean run moves further from the corrupted one",
}


def strongest_sentences(sweep: SweepView) -> Iterator[Sentence]:
    """Which places carry the difference by themselves, and which work against it."""
    if sweep.nothing_moved:
        yield nothing_moved_sentence(sweep)
    elif sweep.cells:
        yield _carrying_sentence(sweep) if sweep.carrying_cells else _weak_sentence(sweep)
    if sweep.opposing_cells:
        yield _opposing_sentence(sweep)


def nothing_moved_sentence(sweep: SweepView) -> Sentence:
    """That no patch of the sweep moved anything, instead of a ranking."""
    say, unit = Numbers(), METRIC_TABLE[sweep.metric].unit
    text = (
        f"{_copying_text(sweep)}, nothing moves: {sweep.metric} changes by no more than "
        f"{say.amount(unit.min_gap)}{unit.suffix} anywhere, so no place can be said to matter."
    )
    return say.sentence(_code(sweep, "still"), text)


def _carrying_sentence(sweep: SweepView) -> Sentence:
    say, named, verb = Numbers(), sweep.carrying_cells[:MOST_NAMED], VERB[sweep.direction]
    best = named[0]
    text = f"{_copying_text(sweep)}, {say.place(best.place)} {verb} most: {best.share_text(say)} of the gap"
    if rest := _cells_with_shares(say, named[1:]):
        text += f", then {rest}"
    return say.sentence(_code(sweep, "carry"), f"{text}.{_sum_text(say, named)}", best.place)


def _weak_sentence(sweep: SweepView) -> Sentence:
    say, best = Numbers(), sweep.ranked_cells[0]
    text = (
        f"{_copying_text(sweep)}, no single place {VERB[sweep.direction]} much. The strongest, "
        f"{say.place(best.place)}, {VERB[sweep.direction]} {best.share_text(say)} of the gap."
    )
    return say.sentence(_code(sweep, "weak"), text, best.place)


def _opposing_sentence(sweep: SweepView) -> Sentence:
    say, named = Numbers(), sweep.opposing_cells[:MOST_NAMED]
    works = "works" if len(named) == 1 else "work"
    text = f"{_cells_with_shares(say, named)} {works} the other way: {OPPOSING_TEXTS[sweep.direction]}."
    text = text[0].upper() + text[1:] + _sum_text(say, named)
    return say.sentence(_code(sweep, "oppose"), text, named[0].place)


def _code(sweep: SweepView, rule: str) -> str:
    return f"heads_{rule}" if (sweep.site, sweep.per) == ("z", "head") else rule


def _copying_text(sweep: SweepView) -> str:
    meaning = SITE_TABLE[sweep.site].meaning
    return f"When {sweep.site} ({meaning}) is copied {ONE_AT_A_TIME[sweep.per]}"


def _cells_with_shares(say: Numbers, cells: Sequence[Cell]) -> str:
    return join_words([f"{say.place(cell.place)} ({cell.share_text(say)})" for cell in cells])


def _sum_text(say: Numbers, cells: Sequence[Cell]) -> str:
    if len(cells) < 2:
        return ""
    total = sum(cell.effect for cell in cells)
    return f" These {say.count(len(cells))} effects add up to {say.share(total)}."


def attention_sentences(
    main: SweepView,
    heads: SweepView | None,
    acting: SweepView | None,
    patterns: Mapping[str, Result],
) -> Iterator[Sentence]:
    """Where the heads of `patterns` look, the strongest head first."""
    effects = {} if heads is None else {cell.place: abs(cell.effect) for cell in heads.cells}
    named = {replace(parse_place(name), site="z"): one for name, one in patterns.items()}
    for head in sorted(named, key=lambda one: (-effects.get(str(one), 0.0), one)):
        yield _attention_sentence(main, acting, head, named[head])


def _attention_sentence(
    main: SweepView, acting: SweepView | None, head: Place, pattern: Result
) -> Sentence:
    """To which position a head attends most, in both runs."""
    say = Numbers()
    start, query = _start(say, main, acting, head)
    weights = pattern.array("pattern").sel(query=query)
    weights = weights.mean("pair") if "pair" in weights.dims else weights
    clean, corrupt = (weights.sel(run=run).values for run in ("clean", "corrupt"))
    ours, theirs = int(np.argmax(clean)), int(np.argmax(corrupt))
    shares = say.share(float(clean[ours])), say.share(float(corrupt[theirs]))
    if ours == theirs:
        text = (
            f"{start} attends most to {main.position_text(say, ours)} in both runs, with {shares[0]} of its "
            f"attention in the clean run and {shares[1]} in the corrupted run."
        )
        if ours == 0:
            text += " Many heads attend to the first token when they have nothing to copy."
        return say.sentence("attention_same", text, str(head))
    text = (
        f"{start} attends most to {main.position_text(say, ours)} in the clean run, with {shares[0]} of its "
        f"attention, and to {main.position_text(say, theirs)} in the corrupted run, with {shares[1]}."
    )
    return say.sentence("attention_moves", text, str(head))


def _start(say: Numbers, main: SweepView, acting: SweepView | None, head: Place) -> tuple[str, int]:
    """From which position a head's attention is read: where it acts most, else the last one."""
    name, cells = say.place(str(head)), {} if acting is None else acting.head_cells(head)
    best = max(cells, key=lambda p: abs(cells[p].effect), default=None)
    if best is None or abs(cells[best].effect) < NOTABLE:
        return (
            f"From the last token, {main.position_text(say, main.last_position)}, {name}",
            main.last_position,
        )
    moved = f"copying it only there moves {cells[best].share_text(say)} of the gap"
    acts = f"{name[0].upper()}{name[1:]} acts most at {main.position_text(say, best)}"
    return f"{acts}: {moved}. From there it", best
