"""Where a circuit is drawn: layers from the bottom up, so ordered that few edges cross.

The layered drawing of Sugiyama et al. 1981: an edge that passes a row has a lane of its own
there, rows are ordered by the mean place of what their members are joined to, neighbours are
swapped where that helps, and then all stand as near to what they are joined to as their
widths allow.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from random import Random

import numpy as np

from patchwright.edges import LOGITS, Edge, layer_and_head, node_of

LOWERS, RAISES = "#2166ac", "#b2182b"
"""Corrupting the edge lowers the metric, or raises it."""

MOST_ACROSS = 14.0
"""Widths of a node that a row may take: lanes become narrower first."""

_LANE, _NARROWEST = 0.4, 0.06
_ROUNDS = 8
_MOST_STARTS, _LINES = 12, 360
"""Orders that are tried, and how many lines are ordered in all: large graphs take their time."""


@dataclass(frozen=True)
class Layout:
    """Each node's place, and the points that each edge goes through, its sender's first.

    Points are [across, up]: across in widths of a node from 0 to `width`, up in rows. `rows` says
    what each row is, and `layers` the number of its layer, from below.
    """

    at: dict[str, tuple[float, int]]
    lanes: list[list[tuple[float, int]]]
    rows: list[str]
    layers: list[int | None]
    width: float


def layout(edges: Sequence[Edge]) -> Layout:
    """The nodes that these edges join, and their lanes; a layer without any has no row."""
    nodes = {name for sender, receiver in edges for name in (sender, node_of(receiver))}
    heights = sorted({_height(name) for name in nodes})
    up = {name: heights.index(_height(name)) for name in nodes}
    chains = [_chain(edge, up) for edge in edges]
    rows = [list[str]() for _ in heights]
    for name in sorted(nodes, key=_sort_key):
        rows[up[name]].append(name)
    for chain in chains:
        for row, lane in chain[1:-1]:
            rows[row].append(lane)
    joined = _find_neighbours(chains)
    rows = min(
        (_order_rows(start, joined) for start in _start_orders(rows, len(edges))),
        key=lambda one: _row_crossings(one, joined),
    )
    across, width = _x_positions(rows, joined, nodes)
    named = [next(name for name in row if name in nodes) for row in rows]
    return Layout(
        {name: (across[name], up[name]) for name in sorted(nodes, key=_sort_key)},
        [[(across[name], row) for row, name in chain] for chain in chains],
        [_row_name(name) for name in named],
        [layer_and_head(name)[0] for name in named],
        width,
    )


def count_crossings(lanes: Iterable[Sequence[tuple[float, int]]]) -> int:
    """How often lines that go up row by row cross between two rows."""
    pieces: dict[int, list[tuple[float, float]]] = {}
    for lane in lanes:
        for (start, row), (end, _) in pairwise(lane):
            pieces.setdefault(row, []).append((start, end))
    return sum(_count_inversions(one) for one in pieces.values())


def _count_inversions(pieces: Iterable[tuple[float, float]]) -> int:
    """How many pairs of lines, each from a start to an end, have their ends the other way round."""
    count, ends = 0, list[float]()
    for _, end in sorted(pieces):
        count += len(ends) - bisect_right(ends, end)
        insort(ends, end)
    return count


_Chain = list[tuple[int, str]]
_Neighbours = dict[str, tuple[list[str], list[str]]]
"""What each node and lane is joined to in the row below and in the row above."""


def _chain(edge: Edge, up: dict[str, int]) -> _Chain:
    """An edge's sender, its lane in each row between, and its target, with their rows."""
    sender, target = edge[0], node_of(edge[1])
    between = range(up[sender] + 1, up[target])
    name = " ".join(edge)
    return [
        (up[sender], sender),
        *((row, f"{name} {row}") for row in between),
        (up[target], target),
    ]


def _find_neighbours(chains: Iterable[_Chain]) -> _Neighbours:
    joined: _Neighbours = {}
    for chain in chains:
        for (_, below), (_, above) in pairwise(chain):
            joined.setdefault(below, ([], []))[1].append(above)
            joined.setdefault(above, ([], []))[0].append(below)
    return joined


def _start_orders(rows: list[list[str]], n_edges: int) -> Iterator[list[list[str]]]:
    """Orders of the rows to begin with: as they come, then shuffled, always in the same ways."""
    yield rows
    draw = Random(0)
    for _ in range(min(_MOST_STARTS, _LINES // max(1, n_edges)) - 1):
        yield [draw.sample(row, len(row)) for row in rows]


def _order_rows(rows: list[list[str]], joined: _Neighbours) -> list[list[str]]:
    """The rows sorted by the mean place of what they are joined to below, then above, and so on."""
    best, fewest = rows, _row_crossings(rows, joined)
    for number in range(2 * _ROUNDS):
        upward = number % 2 == 0
        order = range(1, len(rows)) if upward else range(len(rows) - 2, -1, -1)
        rows = list(rows)
        for row in order:
            beside = _row_positions(rows[row - 1 if upward else row + 1])
            own = _row_positions(rows[row])
            means = {
                name: float(np.mean([beside[one] for one in others])) if others else own[name]
                for name in rows[row]
                for others in [joined[name][0 if upward else 1]]
            }
            rows[row] = sorted(rows[row], key=means.__getitem__)
        rows = _swap_neighbours(rows, joined)
        count = _row_crossings(rows, joined)
        if count < fewest:
            best, fewest = rows, count
    return best


def _swap_neighbours(rows: Sequence[Sequence[str]], joined: _Neighbours) -> list[list[str]]:
    """The rows with neighbours swapped wherever fewer lines then cross, from below and back."""
    rows = [list(row) for row in rows]
    for number in [*range(len(rows)), *range(len(rows) - 2, -1, -1)]:
        row = rows[number]
        beside = [
            {} if not 0 <= other < len(rows) else _row_positions(rows[other])
            for other in (number - 1, number + 1)
        ]
        ends = {
            name: [[at[one] for one in side] for at, side in zip(beside, joined[name], strict=True)]
            for name in row
        }
        for i in range(len(row) - 1):
            left, right = ends[row[i]], ends[row[i + 1]]
            gain = sum(
                (one > other) - (one < other)
                for side, other_side in zip(left, right, strict=True)
                for one in side
                for other in other_side
            )
            if gain > 0:
                row[i], row[i + 1] = row[i + 1], row[i]
    return rows


def _row_positions(row: Sequence[str]) -> dict[str, float]:
    """Where each member of a row stands in it, from 0 to 1."""
    return {name: (i + 0.5) / len(row) for i, name in enumerate(row)}


def _row_crossings(rows: Sequence[Sequence[str]], joined: _Neighbours) -> int:
    count = 0
    for row, above in pairwise(rows):
        starts, ends = _row_positions(row), _row_positions(above)
        pieces = [(starts[name], ends[other]) for name in row for other in joined[name][1]]
        count += _count_inversions(pieces)
    return count


def _x_positions(
    rows: Sequence[Sequence[str]], joined: _Neighbours, nodes: set[str]
) -> tuple[dict[str, float], float]:
    """How far right all stand, the order of rows kept, and the width of the whole."""
    lane = min([_LANE, *(_lane_width(row, nodes) for row in rows)])
    widths = {name: 1.0 if name in nodes else lane for row in rows for name in row}
    starts = [_packed_centres([widths[name] for name in row]) for row in rows]
    across = {
        name: float(place - at[-1] / 2)
        for row, at in zip(rows, starts, strict=True)
        for name, place in zip(row, at, strict=True)
    }
    both = list(zip(rows, starts, strict=True))
    for number in range(2 * _ROUNDS):
        for row, at in both if number % 2 == 0 else both[::-1]:
            wanted = [
                np.mean([across[one] for side in joined[name] for one in side]) for name in row
            ]
            for name, place in zip(row, at + _isotonic_fit(np.array(wanted) - at), strict=True):
                across[name] = float(place)
    left = min((across[name] - widths[name] / 2 for name in across), default=0.0)
    right = max((across[name] + widths[name] / 2 for name in across), default=1.0)
    return {name: round(place - left, 3) for name, place in across.items()}, right - left


def _lane_width(row: Sequence[str], nodes: set[str]) -> float:
    """How wide a lane of this row may be."""
    n_nodes = sum(name in nodes for name in row)
    return max(_NARROWEST, (MOST_ACROSS - n_nodes) / max(1, len(row) - n_nodes))


def _packed_centres(widths: Sequence[float]) -> np.ndarray:
    """Where the middles of things side by side stand, the first at 0."""
    gaps = [(one + other) / 2 for one, other in pairwise(widths)]
    return np.concatenate([[0.0], np.cumsum(gaps)])


def _isotonic_fit(wanted: np.ndarray) -> np.ndarray:
    """The numbers nearest to these that never fall: neighbours that do become their mean."""
    groups: list[tuple[float, int]] = []
    for value in wanted.tolist():
        mean, count = value, 1
        while groups and groups[-1][0] > mean:
            other, more = groups.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        groups.append((mean, count))
    return np.concatenate([np.full(count, mean) for mean, count in groups])


def _row_name(node: str) -> str:
    if "H" in node:
        return f"{node.split('H')[0]} heads"
    return node.replace(".mlp", " MLP")


def _height(name: str) -> float:
    """Where a node stands: embedding, heads and MLP of each layer, logits."""
    layer, head = layer_and_head(name)
    if layer is None:
        return inf if name == LOGITS else -inf
    return layer if head is not None else layer + 0.5


def _sort_key(name: str) -> tuple[float, int]:
    return _height(name), layer_and_head(name)[1] or 0
