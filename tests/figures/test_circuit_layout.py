"""Where a circuit is drawn: every edge goes up, nothing stands in one place, few edges cross."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.edges import Edge, node_of
from patchwright.figures.circuit_layout import count_crossings, layout
from patchwright.model.graph import Graph
from patchwright.prompts.examples import example

DEMO = Graph(pw.load_model("demo").spec).edges

Point = tuple[float, float]

circuits = st.lists(st.sampled_from(DEMO), min_size=1, max_size=30, unique=True)


@given(circuits)
def test_every_lane_rises_row_by_row_from_its_sender_to_its_receivers_node(
    edges: list[Edge],
) -> None:
    placed = layout(edges)
    assert len(placed.lanes) == len(edges)
    for (sender, receiver), lane in zip(edges, placed.lanes, strict=True):
        assert lane[0] == placed.at[sender]
        assert lane[-1] == placed.at[node_of(receiver)]
        assert all(after == before + 1 for (_, before), (_, after) in pairwise(lane))


@given(circuits)
def test_nodes_of_a_row_stand_a_nodes_width_apart(edges: list[Edge]) -> None:
    placed = layout(edges)
    for (across, up), (other, other_up) in combinations(placed.at.values(), 2):
        assert up != other_up or abs(across - other) >= 1 - 0.002  # rounded to 0.001
    assert all(0.49 <= across <= placed.width - 0.49 for across, _ in placed.at.values())


@given(circuits)
def test_the_same_edges_are_laid_out_alike(edges: list[Edge]) -> None:
    assert layout(edges) == layout(list(edges))


def test_rows_are_the_layers_that_have_nodes_from_below() -> None:
    placed = layout([("embed", "L1H0.k"), ("L1H0", "L1.mlp"), ("L1.mlp", "logits")])
    assert placed.rows == ["embed", "L1 heads", "L1 MLP", "logits"]
    assert placed.layers == [None, 1, 1, None]
    assert layout([]).rows == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_crossings_are_counted_as_two_by_two(lines: list[tuple[int, int]]) -> None:
    lanes = [[(float(start), 0), (float(end), 1)] for start, end in lines]
    pairs = combinations(lines, 2)
    assert count_crossings(lanes) == sum((a - c) * (b - d) < 0 for (a, b), (c, d) in pairs)


@pytest.mark.parametrize("size", [8, 30, 100])
def test_fewer_edges_cross_than_with_heads_in_their_order_and_mlps_to_the_right(size: int) -> None:
    demo = pw.load_model("demo")
    scored = pw.edge_attribution(demo, example("ioi").pair)
    edges = pw.Circuit.choose(scored, demo, top=size, connected=True).edges
    at = {name: former(name) for edge in edges for name in (edge[0], node_of(edge[1]))}
    straight = [(at[sender], at[node_of(receiver)]) for sender, receiver in edges]
    before = sum(cross(one, other) for one, other in combinations(straight, 2))
    assert count_crossings(layout(edges).lanes) <= before / 2


def former(name: str) -> Point:
    """Where the graph of before had a node: heads by their number, MLPs at the far right."""
    if name in ("embed", "logits"):
        return 0.4, -1.0 if name == "embed" else 6.0
    layer, *head = name[1:].split(".")[0].split("H")
    return (0.8 * (int(head[0]) + 0.5) / 6, float(layer)) if head else (1.0, int(layer) + 0.5)


def cross(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether two straight lines cross between their ends."""

    def side(line: tuple[Point, Point], point: Point) -> float:
        (x, y), (to_x, to_y) = line
        return float(np.sign((to_x - x) * (point[1] - y) - (to_y - y) * (point[0] - x)))

    return (
        side(one, other[0]) * side(one, other[1]) < 0
        and side(other, one[0]) * side(other, one[1]) < 0
    )
