"""How the difference travels through the residual stream: where it enters, where it moves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from patchwright.insights.sentences import Numbers, Sentence
from patchwright.insights.sweep_view import NEED, NOTABLE, VERB, Cell, SweepView
from patchwright.places import parse_place

ALMOST_ALL = 0.8
"""A position at the bottom with such an effect holds the difference by itself."""

HALF = 0.5
"""Where an effect crosses it, the difference has left, or has come."""

MOST_NAMED = 4
"""So many positions are named in one sentence."""

STREAM = "the residual stream (the running sum that each position passes from layer to layer)"


@dataclass(frozen=True)
class ResidualPath:
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
    def from_sweep(stream: SweepView) -> "ResidualPath | None":
        """None where the sweep does not have the bottom layer."""
        columns = {position: stream.position_cells(position) for position in stream.positions}
        bottom = {p: column[0] for p, column in columns.items() if 0 in column}
        if not bottom:
            return None
        best = max(bottom, key=lambda p: bottom[p].effect)
        source = best if bottom[best].effect >= ALMOST_ALL else None
        here, last = (
            {} if p is None or len(columns.get(p, {})) < len(stream.layers) else columns[p]
            for p in (source, stream.last_position)
        )
        falls = _first_lasting_layer(here, lambda effect: effect < HALF)
        rises = _first_lasting_layer(last, lambda effect: effect >= HALF)
        return ResidualPath(stream, bottom, source, here, last, falls, rises)

    @property
    def waypoint(self) -> tuple[int, Cell] | None:
        """The position between that holds more than half, and the cell where it holds most."""
        ends = (self.source, self.stream.last_position)
        between = [p for p in self.bottom if p not in ends and self.bottom[p].effect < HALF]
        held = [(p, cell) for p in between for cell in self.stream.position_cells(p).values()]
        best = max(held, key=lambda one: one[1].effect, default=None)
        return None if best is None or best[1].effect < HALF else best


def _first_lasting_layer(column: dict[int, Cell], holds: Callable[[float], bool]) -> int | None:
    """The lowest layer from which on every effect passes; None where the top one does not."""
    found = None
    for layer in sorted(column, reverse=True):
        if not holds(column[layer].effect):
            break
        found = layer
    return found


def path_sentences(way: ResidualPath) -> Iterator[Sentence]:
    """Where the difference enters, and how it comes to the last position."""
    yield _spread_entry_sentence(way) if way.source is None else _entry_sentence(way, way.source)
    if way.source is not None and way.source == way.stream.last_position:
        text = "That is the last token, where the model gives its answer, so nothing has to move."
        yield Sentence("stays", text, way.bottom[way.source].place)
    elif way.last and way.rises is None:
        yield _no_arrival_sentence(way)
    elif way.rises and way.falls:
        if way.waypoint is not None:
            yield _waypoint_sentence(way, *way.waypoint)
        yield _move_sentence(way, way.falls, way.rises)
    elif way.rises is not None:
        yield _arrival_sentence(way, way.rises)


def _entry_sentence(way: ResidualPath, source: int) -> Sentence:
    say, cell, stream = Numbers(), way.bottom[source], way.stream
    text = (
        f"The difference enters at {stream.position_text(say, source)}. Copying {STREAM} there, before "
        f"layer {say.count(0)}, {VERB[stream.direction]} {cell.share_text(say)} of the gap."
    )
    if not cell.estimated and stream.has_equal_lengths and stream.differing_positions == [source]:
        text += " It has to, because the prompts differ nowhere else."
    return say.sentence("enters", text, cell.place)


def _spread_entry_sentence(way: ResidualPath) -> Sentence:
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
            f"{way.stream.position_text(say, strongest[0])}, and only {best.share_text(say)} there."
        )
        return say.sentence("enters_nowhere", text, best.place)
    shares = [bottom[p].share_text(say) for p in holding]
    shares[0] += " of the gap"
    named = [
        f"{share} at {way.stream.position_text(say, p)}"
        for share, p in zip(shares, holding, strict=True)
    ]
    text = f"{none} the whole gap: copying {STREAM} {verb} {'; '.join(named)}."
    return say.sentence("enters_spread", text, best.place)


def _waypoint_sentence(way: ResidualPath, position: int, cell: Cell) -> Sentence:
    say, stream = Numbers(), way.stream
    text = (
        f"On the way it passes {stream.position_text(say, position)}: copying the residual stream there, "
        f"before {_layer_text(say, cell)}, {VERB[stream.direction]} {cell.share_text(say)} of the gap."
    )
    return say.sentence("moves_via", text, cell.place)


def _move_sentence(way: ResidualPath, falls: int, rises: int) -> Sentence:
    """Between which layers the source lets go and the last position takes over."""
    say, stream, here, last = Numbers(), way.stream, way.here, way.last
    before = max(layer for layer in here if layer < min(falls, rises))
    after = max(falls, rises)
    first, final = say.count(before), say.count(after - 1)
    one = before == after - 1
    layers = f"Layer {first} moves" if one else f"Layers {first} to {final} move"
    source, target = (f"position {say.count(p)}" for p in (way.source or 0, stream.last_position))
    verb = VERB[stream.direction]
    text = (
        f"{layers} it to the last token, {stream.position_text(say, stream.last_position)}. Before "
        f"{'that layer' if one else 'these layers'}, copying {source} {verb} "
        f"{here[before].share_text(say)} of the gap and copying {target} {verb} {last[before].share_text(say)}. "
        f"After {'it' if one else 'them'}, {source} {verb} {here[after].share_text(say)} and {target} "
        f"{verb} {last[after].share_text(say)}."
    )
    return say.sentence("moves", text, last[rises].place)


def _layer_text(say: Numbers, cell: Cell) -> str:
    return f"layer {say.count(parse_place(cell.place).layer or 0)}"


def _arrival_sentence(way: ResidualPath, rises: int) -> Sentence:
    say, stream, cell = Numbers(), way.stream, way.last[rises]
    text = (
        f"From layer {say.count(rises)} on the last token, {stream.position_text(say, stream.last_position)}, "
        f"is {NEED[stream.direction]} for at least half of the gap: copying the residual stream there, "
        f"before {_layer_text(say, cell)}, {VERB[stream.direction]} {cell.share_text(say)}."
    )
    return say.sentence("arrives", text, cell.place)


def _no_arrival_sentence(way: ResidualPath) -> Sentence:
    say, top = Numbers(), max(way.last)
    text = (
        f"Before layer {say.count(top)}, the highest of this sweep, copying the last token "
        f"{VERB[way.stream.direction]} only {way.last[top].share_text(say)} of the gap: most of the "
        "difference has not reached it yet."
    )
    return say.sentence("not_arrived", text, way.last[top].place)
