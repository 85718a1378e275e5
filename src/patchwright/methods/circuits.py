"""Circuits: which edges carry a behaviour, and how much of it they keep.

Edges are scored by edge attribution patching (Syed et al. 2023), the metric's change
when one edge is corrupted, to first order at the clean run; or with the gradient's
mean over runs whose embeddings lie between the two prompts' (Hanna et al. 2024; at
midpoints of equal steps, theirs at their ends). A circuit is then measured exactly:
every edge outside it carries the corrupted run's activation, or a mean.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchwright.errors import AnswerError, ExperimentError, UnequalLengthsError
from patchwright.methods.metrics import Metric, Reader, check_finite
from patchwright.model.edges import LOGITS, Graph, Passed, embedded, node_of, pass_through
from patchwright.model.weights import Network
from patchwright.prompts.pair import TokenPair

Edge = tuple[str, str]
"""(sender, receiver)."""

Outside = Literal["corrupt", "mean"]
"""What the edges outside a circuit carry."""


def edge_scores(
    network: Network, pairs: Sequence[TokenPair], metric: Metric, steps: int | None
) -> NDArray[np.float64]:
    """Each edge's score, mean over pairs, [receiver, sender]; NaN where there is no edge.

    In the metric's unit: the change to first order when the edge alone is corrupted.
    With `steps` gradients are integrated. Raises ExperimentError for `rank`.
    """
    if metric == "rank":
        raise ExperimentError("The metric 'rank' has no gradient: choose another.")
    if steps is not None and steps < 1:
        raise ExperimentError(f"{steps} steps: take at least 1.")
    graph = Graph(network.spec)
    total = torch.zeros(len(graph.receivers), len(graph.senders), dtype=torch.float64)
    for pair in pairs:
        _check(pair)
        total += _scores_of(network, pair, metric, steps)
    scores = (total / len(pairs)).numpy()
    scores[~graph.exists().numpy()] = np.nan
    return scores


def _scores_of(network: Network, pair: TokenPair, metric: Metric, steps: int | None) -> Tensor:
    clean, corrupt = (embedded(network, tokens) for tokens in (pair.clean, pair.corrupt))
    whole = pass_through(network, clean)
    reader = Reader(network, pair, whole.final[-1])
    change = (pass_through(network, corrupt).written - whole.written).flatten(1)
    shares = [0.0] if steps is None else [(step + 0.5) / steps for step in range(steps)]
    total = torch.zeros(1)
    for share in shares:
        with torch.enable_grad():
            between = (clean + share * (corrupt - clean)).detach().requires_grad_()
            passed = pass_through(network, between)
            value = _read(reader, metric, passed)
            slopes = torch.cat(torch.autograd.grad(value, passed.read))
        total = total.to(slopes) + slopes.flatten(1) @ change.T
    return total.double().cpu() / len(shares)


def _read(reader: Reader, metric: Metric, passed: Passed) -> Tensor:
    return reader.read(metric, [passed.final[-1:][None]])[0]


def _check(pair: TokenPair) -> None:
    if len(pair.clean) != len(pair.corrupt):
        raise UnequalLengthsError("Circuits are found between prompts of equal length only.")
    if not pair.single_tokens:
        raise AnswerError("An answer has several tokens: circuits are found for one-token answers.")


def strongest(scores: NDArray[np.float64], graph: Graph) -> list[Edge]:
    """Every edge, the highest |score| first."""
    receivers, senders = graph.receivers, graph.senders
    order = np.argsort(-np.nan_to_num(np.abs(scores), nan=-1.0), axis=None, kind="stable")
    count = int(np.isfinite(scores).sum())
    rows, columns = np.unravel_index(order[:count], scores.shape)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(senders[column], receivers[row]) for row, column in pairs]


def greedy(scores: NDArray[np.float64], graph: Graph) -> list[Edge]:
    """Edges in the order in which a walk down from the logits takes them.

    At each step the strongest edge into a node that is already reached; edges that
    nothing reached reads are never taken.
    """
    left = strongest(scores, graph)
    reached, found = {LOGITS}, list[Edge]()
    while True:
        edge = next((one for one in left if node_of(one[1]) in reached), None)
        if edge is None:
            return found
        left.remove(edge)
        found.append(edge)
        reached.add(edge[0])


@dataclass(frozen=True)
class Measured:
    """The metric of some circuits, mean over pairs, and of the runs they lie between."""

    values: list[float]
    clean: float
    outside: float

    @property
    def faithfulness(self) -> list[float]:
        """The share of the gap that each circuit keeps: 1 all of it, 0 none."""
        gap = self.clean - self.outside
        return [(value - self.outside) / gap if gap else float("nan") for value in self.values]


def measure(
    network: Network,
    pairs: Sequence[TokenPair],
    circuits: Iterable[Iterable[Edge]],
    metric: Metric,
    outside: Outside,
) -> Measured:
    """Run every circuit with all edges outside it corrupted (or at the clean prompts' mean).

    Raises ExperimentError for an edge that the model does not have, and for a mean
    over prompts of unequal length.
    """
    graph = Graph(network.spec)
    masks = [_mask(edges, graph).to(network.embed) for edges in circuits]
    for pair in pairs:
        _check(pair)
    mean = _mean_written(network, pairs) if outside == "mean" else None
    rows: list[list[float]] = []
    for pair in pairs:
        clean = embedded(network, pair.clean)
        whole = pass_through(network, clean)
        reader = Reader(network, pair, whole.final[-1])
        other = mean
        if other is None:
            other = pass_through(network, embedded(network, pair.corrupt)).written
        none = torch.zeros(len(graph.receivers), len(graph.senders)).to(network.embed)
        passed = [pass_through(network, clean, mask, other) for mask in (none, *masks)]
        values = torch.stack([_read(reader, metric, one) for one in (whole, *passed)])
        check_finite(values, "a circuit")
        rows.append(values.double().tolist())
    clean_value, outside_value, *values = np.mean(rows, axis=0).tolist()
    return Measured(values, clean_value, outside_value)


def _mask(edges: Iterable[Edge], graph: Graph) -> Tensor:
    """[receiver, sender]: 1 where an edge is in the circuit."""
    senders = {name: i for i, name in enumerate(graph.senders)}
    receivers = {name: i for i, name in enumerate(graph.receivers)}
    exists = graph.exists()
    mask = torch.zeros(exists.shape)
    for sender, receiver in edges:
        known = sender in senders and receiver in receivers
        if not known or not bool(exists[receivers[receiver], senders[sender]]):
            raise ExperimentError(
                f"The model has no edge from '{sender}' to '{receiver}': senders are embed, L0H0 "
                "and L0.mlp, receivers above them L1H0.q, L1.mlp and logits, and so on."
            )
        mask[receivers[receiver], senders[sender]] = 1
    return mask


def _mean_written(network: Network, pairs: Sequence[TokenPair]) -> Tensor:
    if len({len(pair.clean) for pair in pairs}) > 1:
        raise UnequalLengthsError(
            "A mean over prompts needs prompts of one token length: give such pairs, or leave the "
            "edges outside at their corrupted values."
        )
    total = sum(pass_through(network, embedded(network, pair.clean)).written for pair in pairs)
    assert isinstance(total, Tensor), "there is at least one pair"
    return total / len(pairs)


def random_circuits(graph: Graph, size: int, count: int, seed: int) -> list[list[Edge]]:
    """`count` circuits of `size` edges drawn evenly from all there are, the same for a seed."""
    every = graph.edges
    draw = np.random.default_rng([seed, size])
    return [[every[i] for i in draw.choice(len(every), size, replace=False)] for _ in range(count)]


def area(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Mean height of a curve over its sizes, by the trapezoid rule; a single size is its value."""
    if len(sizes) == 1:
        return values[0]
    return float(np.trapezoid(values, sizes) / (sizes[-1] - sizes[0]))
