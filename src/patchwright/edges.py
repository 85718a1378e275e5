"""The parts of a model as the nodes of a graph, and the edges between them, by code and in words.

A node is `embed`, `L3H1`, `L3.mlp` or `logits`. An edge leads from a sender to a receiver: a node
or, of a head, its queries, keys or values, as in `L3H1.q`.
"""

import re

Edge = tuple[str, str]
"""(sender, receiver), as `L0H3` and `L2H1.q`."""

LOGITS = "logits"

INPUTS = {"q": "queries", "k": "keys", "v": "values"}
"""What a head reads, each by an edge of its own."""

_IN_LAYER = re.compile(r"L(\d+)(?:H(\d+)|\.mlp)")


def node_of(receiver: str) -> str:
    """The node that a receiver belongs to: a head for its queries, keys and values."""
    return receiver.split(".")[0] if "H" in receiver else receiver


def input_of(receiver: str) -> str:
    """Which of a head's inputs it is, `q`, `k` or `v`; of other nodes, which have one, nothing."""
    return receiver[-1] if "H" in receiver else ""


def layer_and_head(node: str) -> tuple[int | None, int | None]:
    """A node's layer, and its head where it is one."""
    found = _IN_LAYER.fullmatch(node)
    if found is None:
        return None, None
    return int(found[1]), None if found[2] is None else int(found[2])


def node_name(node: str) -> str:
    """A node in words: `head 1 of layer 3`, `MLP 3`, `embedding`, `logits`."""
    layer, head = layer_and_head(node)
    if head is not None:
        return f"head {head} of layer {layer}"
    return LOGITS if node == LOGITS else "embedding" if layer is None else f"MLP {layer}"


def receiver_name(receiver: str) -> str:
    """A receiver in words: `queries of head 1 of layer 3`, `MLP 3`, `logits`."""
    name, part = node_name(node_of(receiver)), input_of(receiver)
    return f"{INPUTS[part]} of {name}" if part else name


def noun(count: int) -> str:
    """What so many edges are called."""
    return "edge" if count == 1 else "edges"


def edge_name(edge: Edge) -> str:
    """An edge in words: `MLP 2 → queries of head 1 of layer 3`."""
    return f"{node_name(edge[0])} → {receiver_name(edge[1])}"
