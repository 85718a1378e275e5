"""A circuit for the browser: its graph, and what is known of one of its nodes or edges."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from patchwright.algorithms.result import Result
from patchwright.app.views import controls, inspector
from patchwright.edges import (
    INPUTS,
    LOGITS,
    Edge,
    edge_name,
    input_of,
    node_name,
    node_of,
    receiver_name,
)
from patchwright.experiment.circuit import Circuit
from patchwright.figures.circuit_layout import layout
from patchwright.methods.patch import Patch
from patchwright.model.graph import Graph
from patchwright.model.load import Model
from patchwright.places import parse_place
from patchwright.spelling import sentence_case

MOST_DRAWN = 100
"""Edges that a graph shows; with more nobody can follow one."""

MOST_LISTED = 7
"""Edges in the inspector, into a node and out of it."""

GRAPH_HEIGHT = 420
"""Pixels that the rows of the graph share."""

_INPUT_PURPOSES = {
    "": "",
    "q": ": what it looks for",
    "k": ": by what it finds a token",
    "v": ": what it reads there",
}
"""What each input of a head is for."""


def edge_id(edge: Edge) -> str:
    """An edge as the address has it."""
    return ">".join(edge)


def node_label(node: str) -> str:
    """A node in the graph, in the band of its layer: `head 1`, `MLP 2`, `embedding`."""
    return node_name(node).split(" of ")[0]


def strongest_ranks(circuit: Circuit, size: int, most: int) -> list[int]:
    """Of a circuit's first `size` edges the ranks of the `most` with the highest |score|."""
    ranks = sorted(range(min(size, len(circuit.edges))), key=lambda i: -abs(circuit.scores[i]))
    return sorted(ranks[:most])


def graph_data(circuit: Circuit, size: int, scored: Result, selected: str) -> inspector.Json:
    """What the script draws: the edges by rank, laid out for `size` of them, and for as many as fit."""
    near = strongest_ranks(circuit, size, MOST_DRAWN)
    wide = strongest_ranks(circuit, min(MOST_DRAWN, len(circuit.edges)), MOST_DRAWN)
    ranks = sorted({*near, *wide})
    edges = {rank: circuit.edges[rank] for rank in ranks}
    nodes = {node for edge in edges.values() for node in (edge[0], node_of(edge[1]))}
    metric, exact = controls.METRIC_NAMES[scored.experiment["metric"]], exact_effects(scored)
    return {
        "waiting": "",
        "edges": {rank: _edge_data(circuit, rank, exact) for rank in ranks},
        "names": {node: node_name(node) for node in nodes},
        "labels": {node: node_label(node) for node in nodes},
        "near": {"ranks": near, **_graph_layout(tuple(circuit.edges[rank] for rank in near))},
        "wide": {"ranks": wide, **_graph_layout(tuple(circuit.edges[rank] for rank in wide))},
        "size": size,
        "most": len(circuit.edges),
        "limit": max(abs(circuit.scores[rank]) for rank in ranks),
        "legend": [
            (f"corrupting it lowers the {metric}", False),
            ("raises it", True),
        ],
        "room": GRAPH_HEIGHT,
        "selected": selected,
    }


def empty_graph(size: int, under_way: bool) -> inspector.Json:
    """The graph before there are scores."""
    said = "No connection has a score, so there is no graph."
    if under_way:
        said = "Each connection is being scored. The graph appears as soon as that is done."
    return {"waiting": said, "size": size, "selected": ""}


@lru_cache(maxsize=64)
def _graph_layout(edges: tuple[Edge, ...]) -> Mapping[str, Any]:
    placed = layout(edges)
    return {
        "at": placed.at,
        "lanes": placed.lanes,
        "layers": placed.layers,
        "width": placed.width,
    }


def _edge_data(circuit: Circuit, rank: int, exact: Mapping[Edge, float]) -> inspector.Json:
    sender, receiver = edge = circuit.edges[rank]
    return {
        "id": edge_id(edge),
        "name": edge_name(edge),
        "sender": sender,
        "target": node_of(receiver),
        "input": input_of(receiver),
        "part": INPUTS.get(input_of(receiver), ""),
        "score": circuit.scores[rank],
        "exact": exact.get(edge),
    }


def exact_effects(scored: Result) -> dict[Edge, float]:
    """What edges do when they alone are corrupted, of those that were measured."""
    if "exact" not in scored.arrays:
        return {}
    exact = scored.array("exact")
    senders, receivers = exact["sender"].values, exact["receiver"].values
    found = zip(*np.nonzero(np.isfinite(exact.values)), strict=True)
    return {
        (str(senders[column]), str(receivers[row])): float(exact.values[row, column])
        for row, column in found
    }


def is_in_model(chosen: str, model: Model) -> bool:
    """Whether the model has such a node or edge."""
    graph, (sender, *rest) = Graph(model.spec), chosen.split(">")
    if rest:
        return (sender, rest[0]) in graph.edges
    return sender in {*graph.senders, LOGITS}


def inspector_data(
    chosen: str, circuit: Circuit, size: int, scored: Result, swept: Patch, model: Model
) -> inspector.Json:
    """A node or an edge for the inspector."""
    sender, *rest = chosen.split(">")
    if rest:
        return _edge_inspector_data((sender, rest[0]), circuit, size, scored)
    return _node_inspector_data(chosen, circuit.first(size), swept, model)


def _node_inspector_data(node: str, kept: Circuit, swept: Patch, model: Model) -> inspector.Json:
    pairs = sorted(zip(kept.edges, kept.scores, strict=True), key=lambda one: -abs(one[1]))
    into = [(edge, score) for edge, score in pairs if node_of(edge[1]) == node]
    out = [(edge, score) for edge, score in pairs if edge[0] == node]
    every = f"the {len(kept.edges):,} edges" if len(kept.edges) > 1 else "the one edge"
    return {
        "place": node,
        "title": sentence_case(node_name(node)),
        "sentence": f"Of {every} kept, {len(into)} lead into it and {len(out)} out of it.",
        "facts": _node_facts(node, swept, model),
        "closer": [("attention", "Where it looks")] if "H" in node else [],
        "links": [
            _edge_links("In, from", [(edge, score, _sender_text(edge)) for edge, score in into]),
            _edge_links("Out, to", [(edge, score, receiver_name(edge[1])) for edge, score in out]),
        ],
    }


def _sender_text(edge: Edge) -> str:
    """An edge in the list of those into its node."""
    part = input_of(edge[1])
    return f"{node_name(edge[0])} to its {INPUTS[part]}" if part else node_name(edge[0])


def _edge_links(title: str, edges: Sequence[tuple[Edge, float, str]]) -> inspector.Json:
    left_out = len(edges) - MOST_LISTED
    return {
        "title": f"{title} ({len(edges)})",
        "rows": [
            (edge_id(edge), label, _signed_text(score))
            for edge, score, label in edges[:MOST_LISTED]
        ],
        "more": f"and {left_out} weaker" if left_out > 0 else "",
    }


def _node_facts(node: str, swept: Patch, model: Model) -> list[inspector.Fact]:
    """What other methods say of a node."""
    if node in ("embed", LOGITS):
        return []
    place = parse_place(f"{node}.z" if "H" in node else f"{node}_out")
    return [
        *inspector.attention_facts(place, swept, model),
        *inspector.copy_facts(place, swept, model),
        *inspector.ablation_facts(place, swept, model),
        *inspector.direct_facts(place, swept, model),
    ]


def _edge_inspector_data(edge: Edge, circuit: Circuit, size: int, scored: Result) -> inspector.Json:
    sender, receiver = edge
    score = float(scored.array("edges").sel(sender=sender, receiver=receiver))
    exact = exact_effects(scored)
    metric = controls.METRIC_NAMES[scored.experiment["metric"]]
    unknown = f"not measured: only the {len(exact)} strongest are"
    ends = {"From": sender, "To": node_of(receiver)}
    return {
        "place": edge_id(edge),
        "title": sentence_case(edge_name(edge)),
        "sentence": (
            f"Corrupted alone, it changes the {metric} by an estimated {_signed_text(score)}"
            + (f", and measured {_signed_text(exact[edge])}." if edge in exact else ".")
        ),
        "facts": [
            ("estimate", _signed_text(score)),
            ("exact", _signed_text(exact[edge]) if edge in exact else unknown),
            ("feeds", receiver_purpose(receiver)),
            ("in the circuit", _rank_text(edge, circuit, size)),
        ],
        "links": [
            {"title": title, "rows": [(node, node_name(node), "")], "more": ""}
            for title, node in ends.items()
        ],
    }


def receiver_purpose(receiver: str) -> str:
    """What an edge into this receiver is for."""
    if receiver == LOGITS:
        return "the answer directly"
    return f"{receiver_name(receiver)}{_INPUT_PURPOSES[input_of(receiver)]}"


def _rank_text(edge: Edge, circuit: Circuit, size: int) -> str:
    """Whether an edge is kept, and which one it is."""
    if edge not in circuit.edges:
        return "not among the edges that could be chosen"
    rank = circuit.edges.index(edge) + 1
    return f"number {rank} of {size:,}" if rank <= size else f"not kept: it is number {rank:,}"


def _signed_text(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")
