"""How the difference travels through the residual stream: where it enters, where it moves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from patchwright.insights.sentences import Numbers, Sentence
from patchwright.insights.sweep_view import NEED, NOTABLE, VERB, Cell, SweepView
from patchwright.places import parse_place

ALMOST = 0.8
"""A position at the bottom with such an effect holds the difference by itself."""

HALF = 0.5
"""Where an effect crosses it, the difference has left, or has come."""

MOST_NAMED = 4
"""So many positions are named in one sentence."""

STREAM = "the residual stream (the running sum that each position passes from layer to layer)"


@dataclass(frozen=True)
class Travel:
    """What a sweep of `resid_pre` per position says of the way, before it is put into words.

    `bottom` has each position's cell at layer 0, `source` the one that holds the difference
    there alone, if one does. `here` and `last` are the columns, by layer, of the source and
    of the last position; empty where the sweep has holes in them. From layer `falls` on the
    source has less than half an effect, from `rises` on the last position has at least
    half; None where that is not so up to the top.
    """

    stream: SweepView
    bottom: dict[int, Cell]
    source: int | None
    here: dict[int, Cell]
    last: dict[int, Cell]
    falls: int | None
    rises: int | None

    @staticmethod
    def of(stream: SweepView) -> "Travel | None":
        """None where the sweep does not have the bottom layer."""
        columns = {position: stream.column(position) for position in stream.positions}
        bottom = {p: column[0] for p, column in columns.items() if 0 in column}
        if not bottom:
            return None
        best = max(bottom, key=lambda p: bottom[p].effect)
        source = best if bottom[best].effect >= ALMOST else None
        here, last = (
            {} if p is None or len(columns.get(p, {})) < len(stream.layers) else columns[p]
            for p in (source, stream.last)
        )
        falls = _from_where_on(here, lambda effect: effect < HALF)
        rises = _from_where_on(last, lambda effect: effect >= HALF)
        return Travel(stream, bottom, source, here, last, falls, rises)

    @property
    def third(self) -> tuple[int, Cell] | None:
        """The position between that holds more than half, and the cell where it holds most."""
        ends = (self.source, self.stream.last)
        between = [p for p in self.bottom if p not in ends and self.bottom[p].effect < HALF]
        held = [(p, cell) for p in between for cell in self.stream.column(p).values()]
        best = max(held, key=lambda one: one[1].effect, default=None)
        return None if best is None or best[1].effect < HALF else best


def _from_where_on(column: dict[int, Cell], holds: Callable[[float], bool]) -> int | None:
    """The lowest layer from which on every effect passes; None where the top one does not."""
    found = None
    for layer in sorted(column, reverse=True):
        if not holds(column[layer].effect):
            break
        found = layer
    return found


def travel(way: Travel) -> Iterator[Sentence]:
    """Where the difference enters, and how it comes to the last position."""
    yield _spread(way) if way.source is None else _enters(way, way.source)
    if way.source is not None and way.source == way.stream.last:
        text = "That is the last token, where the model gives its answer, so nothing has to move."
        yield Sentence("stays", text, way.bottom[way.source].place)
    elif way.last and way.rises is None:
        yield _not_arrived(way)
    elif way.rises and way.falls:
        if way.third is not None:
            yield _via(way, *way.third)
        yield _moves(way, way.falls, way.rises)
    elif way.rises is not None:
        yield _arrives(way, way.rises)


def _enters(way: Travel, source: int) -> Sentence:
    say, cell, stream = Numbers(), way.bottom[source], way.stream
    text = (
        f"The difference enters at {stream.where(say, source)}. Copying {STREAM} there, before "
        f"layer {say.count(0)}, {VERB[stream.direction]} {cell.share(say)} of the gap."
    )
    if not cell.estimated and stream.one_length and stream.differing == [source]:
        text += " It has to, because the prompts differ nowhere else."
    return say.sentence("enters", text, cell.place)


def _spread(way: Travel) -> Sentence:
    """No single position holds the difference at the bottom."""
    say, bottom, verb = Numbers(), way.bottom, VERB[way.stream.direction]
    need = NEED[way.stream.direction]
    none = f"Before layer {say.count(0)} no single position is {need} for"
    strongest = sorted(bottom, key=lambda p: -bottom[p].effect)
    best = bottom[strongest[0]]
    holding = [p for p in strongest if bottom[p].effect >= NOTABLE][:MOST_NAMED]
    if not holding:
        text = (
            f"{none} a notable part of the gap: copying {STREAM} {verb} most at "
            f"{way.stream.where(say, strongest[0])}, and only {best.share(say)} there."
        )
        return say.sentence("enters_nowhere", text, best.place)
    shares = [bottom[p].share(say) for p in holding]
    shares[0] += " of the gap"
    named = [
        f"{share} at {way.stream.where(say, p)}" for share, p in zip(shares, holding, strict=True)
    ]
    text = f"{none} the whole gap: copying {STREAM} {verb} {'; '.join(named)}."
    return say.sentence("enters_spread", text, best.place)


def _via(way: Travel, position: int, cell: Cell) -> Sentence:
    say, stream = Numbers(), way.stream
    text = (
        f"On the way it passes {stream.where(say, position)}: copying the residual stream there, "
        f"before {_layer(say, cell)}, {VERB[stream.direction]} {cell.share(say)} of the gap."
    )
    return say.sentence("moves_via", text, cell.place)


def _moves(way: Travel, falls: int, rises: int) -> Sentence:
    """Between which layers the source lets go and the last position takes over."""
    say, stream, here, last = Numbers(), way.stream, way.here, way.last
    before = max(layer for layer in here if layer < min(falls, rises))
    after = max(falls, rises)
    first, final = say.count(before), say.count(after - 1)
    one = before == after - 1
    layers = f"Layer {first} moves" if one else f"Layers {first} to {final} move"
    source, target = (f"position {say.count(p)}" for p in (way.source or 0, stream.last))
    verb = VERB[stream.direction]
    text = (
        f"{layers} it to the last token, {stream.where(say, stream.last)}. Before "
        f"{'that layer' if one else 'these layers'}, copying {source} {verb} "
        f"{here[before].share(say)} of the gap and copying {target} {verb} {last[before].share(say)}. "
        f"After {'it' if one else 'them'}, {source} {verb} {here[after].share(say)} and {target} "
        f"{verb} {last[after].share(say)}."
    )
    return say.sentence("moves", text, last[rises].place)


def _layer(say: Numbers, cell: Cell) -> str:
    return f"layer {say.count(parse_place(cell.place).layer or 0)}"


def _arrives(way: Travel, rises: int) -> Sentence:
    say, stream, cell = Numbers(), way.stream, way.last[rises]
    text = (
        f"From layer {say.count(rises)} on the last token, {stream.where(say, stream.last)}, "
        f"is {NEED[stream.direction]} for at least half of the gap: copying the residual stream there, "
        f"before {_layer(say, cell)}, {VERB[stream.direction]} {cell.share(say)}."
    )
    return say.sentence("arrives", text, cell.place)


def _not_arrived(way: Travel) -> Sentence:
    say, top = Numbers(), max(way.last)
    text = (
        f"Before layer {say.count(top)}, the highest of this sweep, copying the last token "
        f"{VERB[way.stream.direction]} only {way.last[top].share(say)} of the gap: most of the "
        "difference has not reached it yet."
    )
    return say.sentence("not_arrived", text, way.last[top].place)
