"""Where the nodes of a circuit stand: layers from the bottom up, heads side by side."""

from collections.abc import Iterable
from dataclasses import dataclass

Edge = tuple[str, str]
"""(sender, receiver), as `L0H3` and `L2H1.q`."""

LOWERS, RAISES = "#2166ac", "#b2182b"
"""Corrupting the edge lowers the metric, or raises it."""


@dataclass(frozen=True)
class Layout:
    """Each node's place, across in 0 to 1 and up in rows; and what the rows are, from below."""

    at: dict[str, tuple[float, int]]
    rows: list[str]


def layout(edges: Iterable[Edge]) -> Layout:
    """The nodes that these edges join; a layer without any has no row."""
    nodes = {name for sender, receiver in edges for name in (sender, target_of(receiver))}
    rows: dict[float, list[str]] = {}
    for name in sorted(nodes, key=_order):
        rows.setdefault(_height(name), []).append(name)
    heads = max((_order(name)[1] for name in nodes), default=0) + 1
    at = {
        name: (_across(name, heads), height)
        for height, row in enumerate(rows.values())
        for name in row
    }
    return Layout(at, [_row_name(row[0]) for row in rows.values()])


def target_of(receiver: str) -> str:
    """The node that a receiver belongs to: a head for its query, key and value inputs."""
    return receiver.split(".")[0] if "H" in receiver else receiver


def _row_name(node: str) -> str:
    if "H" in node:
        return f"{node.split('H')[0]} heads"
    return node.replace(".mlp", " MLP")


def _height(name: str) -> float:
    """Where a node stands: embedding, heads and MLP of each layer, logits."""
    if name == "embed":
        return -1.0
    if name == "logits":
        return 1e3
    layer = float(name[1:].split("H")[0].split(".")[0])
    return layer + (0.0 if "H" in name else 0.5)


def _across(name: str, heads: int) -> float:
    """Heads side by side in their order, MLPs to their right, all else in the middle."""
    if "H" in name:
        return 0.8 * (_order(name)[1] + 0.5) / heads
    return 1.0 if name.endswith(".mlp") else 0.4


def _order(name: str) -> tuple[float, int]:
    return _height(name), int(name.split("H")[1]) if "H" in name else 0
