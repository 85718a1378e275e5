"""Circuits: which edges carry a behaviour, and how much of it they keep.

Edges are scored by edge attribution patching (Syed et al. 2023), the metric's change
when one edge is corrupted, to first order at the clean run; or with the gradient's
mean over runs whose embeddings lie between the two prompts' (Hanna et al. 2024; at
midpoints of equal steps, theirs at their ends). A circuit is then measured exactly:
every edge outside it carries the corrupted run's activation, or a mean.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from patchwright.algorithms.batches import OnProgress, ProgressReporter
from patchwright.algorithms.metrics import METRIC_TABLE, check_differentiable
from patchwright.algorithms.readout import MetricReader, check_finite
from patchwright.axes import BUDGET, Metric
from patchwright.edges import LOGITS, Edge, node_of
from patchwright.errors import AnswerError, ExperimentError, UnequalLengthsError
from patchwright.model.graph import Graph, GraphRun, embed_prompt, run_graph
from patchwright.model.weights import Network
from patchwright.prompts.pair import TokenPair


@dataclass(frozen=True)
class EdgeScores:
    """Each edge's score, the mean over the first `done` pairs; NaN where there is no edge.

    In the metric's unit: the change to first order when the edge alone is corrupted. Gradients
    are means over `steps` passes, fewer than were asked for where the work was `stopped` in the
    first pair; before its first one all are NaN.
    """

    values: NDArray[np.float64]
    done: int
    steps: int
    stopped: bool


def edge_scores(
    network: Network,
    pairs: Sequence[TokenPair],
    metric: Metric,
    steps: int | None,
    progress: OnProgress | None = None,
) -> EdgeScores:
    """Score every edge, [receiver, sender], until `progress` says stop.

    It is called before the first pass and after each, and counts those with a gradient, which
    with `steps` is integrated, over as many of them a pair. A pair that is stopped between its
    passes is left out, but for the first one, whose scores are then means over the passes that are
    done. Raises ExperimentError for a metric without a gradient.
    """
    check_differentiable(metric)
    if steps is not None and steps < 1:
        raise ExperimentError(f"{steps} steps: take at least 1.")
    _check_graph(network)
    for pair in pairs:
        _check_prompts(pair)
    scores = np.where(Graph(network.spec).edge_mask().numpy(), 0.0, np.nan)
    count = steps or 1
    report = ProgressReporter(progress, scores, total=len(pairs) * count)
    done, taken = 0, count
    report.advance(0)
    for pair in pairs:
        own, passes = _pair_scores(network, pair, metric, steps, report)
        if done == 0:
            taken = passes
        elif passes < count:
            break
        done += 1
        scores += (own.numpy() - scores) / done
    return EdgeScores(scores, done, taken, report.stopped)


def _pair_scores(
    network: Network, pair: TokenPair, metric: Metric, steps: int | None, report: ProgressReporter
) -> tuple[Tensor, int]:
    """A pair's scores, and how many passes they are the mean of; NaN where there is none."""
    nothing = torch.tensor(torch.nan), 0
    if report.stopped:
        return nothing
    clean, corrupt = (embed_prompt(network, tokens) for tokens in (pair.clean, pair.corrupt))
    whole = run_graph(network, clean)
    report.advance(0)
    if report.stopped:
        return nothing
    reader = MetricReader(network, pair, whole.final[-1])
    change = (run_graph(network, corrupt).written - whole.written).flatten(1)
    report.advance(0)
    count, done = steps or 1, 0
    total = torch.zeros(1)
    for step in range(count):
        if report.stopped:
            break
        share = 0.0 if steps is None else (step + 0.5) / steps
        with torch.enable_grad():
            between = (clean + share * (corrupt - clean)).detach().requires_grad_()
            passed = run_graph(network, between)
            value = _metric_value(reader, metric, passed)
            found = torch.autograd.grad(value, passed.read)
        slopes = torch.cat([slope.to(change) for slope in found])
        check_finite(slopes)
        total = total.to(slopes) + slopes.flatten(1) @ change.T
        done += 1
        report.advance(1)
    return total.double().cpu() / done, done


def _metric_value(reader: MetricReader, metric: Metric, passed: GraphRun) -> Tensor:
    return reader.read(metric, [passed.final[-1:][None]])[0]


def _check_graph(network: Network) -> None:
    if any(layer.norms_jointly for layer in network.layers):
        raise ExperimentError(
            f"{network.spec.name} normalises the queries and keys of all heads together, so no edge "
            "leads into a single head: use path_patch with all heads of a layer, or patch z."
        )


def _check_prompts(pair: TokenPair) -> None:
    if len(pair.clean) != len(pair.corrupt):
        raise UnequalLengthsError("Circuits are found between prompts of equal length only.")
    if not pair.single_tokens:
        raise AnswerError("An answer has several tokens: circuits are found for one-token answers.")


def edges_by_score(scores: NDArray[np.float64], graph: Graph) -> list[Edge]:
    """Every edge, the highest |score| first."""
    receivers, senders = graph.receivers, graph.senders
    order = np.argsort(-np.nan_to_num(np.abs(scores), nan=-1.0), axis=None, kind="stable")
    count = int(np.isfinite(scores).sum())
    rows, columns = np.unravel_index(order[:count], scores.shape)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(senders[column], receivers[row]) for row, column in pairs]


def greedy_edges(scores: NDArray[np.float64], graph: Graph) -> list[Edge]:
    """Edges in the order in which a walk down from the logits takes them.

    At each step the strongest edge into a node that is already reached; edges that
    nothing reached reads are never taken.
    """
    into: dict[str, list[tuple[int, Edge]]] = {}
    for rank, edge in enumerate(edges_by_score(scores, graph)):
        into.setdefault(node_of(edge[1]), []).append((rank, edge))
    ready, found = into.pop(LOGITS, []), list[Edge]()
    while ready:
        _, edge = heappop(ready)
        found.append(edge)
        for one in into.pop(edge[0], ()):
            heappush(ready, one)
    return found


@dataclass(frozen=True)
class CircuitValues:
    """The metric of circuits and of the runs they lie between, mean over pairs.

    `values` is NaN where the work was stopped, after `done` circuits, and so are `clean` and
    `outside` where that was before them; `faithfulness` is the share of the gap that each keeps,
    1 all of it, 0 none; NaN where the gap is flat.
    """

    values: NDArray[np.float64]
    faithfulness: NDArray[np.float64]
    clean: float
    outside: float
    done: int


@dataclass(frozen=True)
class _PreparedPair:
    """A pair whose circuits are about to run, and the metric of its clean run."""

    reader: MetricReader
    clean: Tensor
    corrupt: Tensor
    value: Tensor


class _StoppedError(Exception):
    """Leaves the work where it was stopped: what was measured by then is the result."""


def measure_circuits(
    network: Network,
    pairs: Sequence[TokenPair],
    circuits: Sequence[Iterable[Edge]],
    metric: Metric,
    outside: str,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> CircuitValues:
    """Run every circuit with all edges outside it corrupted (or at the clean prompts' mean).

    `progress` is called before the first pass and after each, and counts circuits. The runs that
    edges outside are taken from are kept as far as `budget` bytes allow; the others are run again
    for each circuit. Raises ExperimentError for an edge that the model does not have, and for a
    mean over prompts of unequal length.
    """
    _check_graph(network)
    graph = Graph(network.spec)
    for pair in pairs:
        _check_prompts(pair)
    values, kept = np.full((2, len(circuits)), np.nan)
    clean = none = np.nan
    report = ProgressReporter(progress, kept)

    def count_pass(circuits: int = 0) -> None:
        report.advance(circuits)
        if report.stopped:
            raise _StoppedError

    def circuit_value(edges: Iterable[Edge]) -> float:
        """The metric of a circuit."""
        mask = _edge_mask(edges, graph).to(network.embed)
        found: list[Tensor] = []
        for i, one in enumerate(ready):
            if i > 0:
                count_pass()
            other = others.for_pair(i, one.corrupt)
            found.append(
                _metric_value(one.reader, metric, run_graph(network, one.clean, mask, other))
            )
        return _mean(found)

    with suppress(_StoppedError):
        count_pass()
        ready = [_prepare_pair(network, pair, metric, count_pass) for pair in pairs]
        mean = _mean_activations(network, pairs, count_pass) if outside == "mean" else None
        others = _OutsideActivations(network, mean, budget, count_pass)
        clean, none = _mean([one.value for one in ready]), circuit_value([])
        count_pass()
        gap = clean - none
        flat = abs(gap) <= METRIC_TABLE[metric].unit.min_gap
        for i, edges in enumerate(circuits):
            values[i] = circuit_value(edges)
            kept[i] = np.nan if flat else (values[i] - none) / gap
            count_pass(1)
    return CircuitValues(values, kept, clean, none, report.done)


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).double().mean())


def _prepare_pair(
    network: Network, pair: TokenPair, metric: Metric, passed: Callable[[], None]
) -> _PreparedPair:
    clean, corrupt = (embed_prompt(network, tokens) for tokens in (pair.clean, pair.corrupt))
    run = run_graph(network, clean)
    passed()
    reader = MetricReader(network, pair, run.final[-1])
    return _PreparedPair(reader, clean, corrupt, _metric_value(reader, metric, run))


class _OutsideActivations:
    """What edges outside a circuit carry, [sender, position, d_model], for each pair."""

    def __init__(
        self, network: Network, mean: Tensor | None, budget: int, passed: Callable[[], None]
    ) -> None:
        self._network = network
        self._mean = mean
        self._left = budget
        self._passed = passed
        self._kept: dict[int, Tensor] = {}

    def for_pair(self, pair: int, corrupt: Float[Tensor, "position d_model"]) -> Tensor:
        """Of the pair with that number, whose corrupted embedding is `corrupt`."""
        if self._mean is not None:
            return self._mean
        if pair in self._kept:
            return self._kept[pair]
        written = run_graph(self._network, corrupt).written
        self._passed()
        if written.nbytes <= self._left:
            self._left -= written.nbytes
            self._kept[pair] = written
        return written


def _edge_mask(edges: Iterable[Edge], graph: Graph) -> Tensor:
    """[receiver, sender]: 1 where an edge is in the circuit."""
    senders = {name: i for i, name in enumerate(graph.senders)}
    receivers = {name: i for i, name in enumerate(graph.receivers)}
    # An index into a tensor costs ten times as much as one into an array.
    exists = graph.edge_mask().numpy()
    mask = np.zeros(exists.shape, dtype=np.float32)
    for sender, receiver in edges:
        known = sender in senders and receiver in receivers
        if not known or not bool(exists[receivers[receiver], senders[sender]]):
            raise ExperimentError(
                f"The model has no edge from '{sender}' to '{receiver}': senders are embed, L0H0 "
                "and L0.mlp, receivers above them L1H0.q, L1.mlp and logits, and so on."
            )
        mask[receivers[receiver], senders[sender]] = 1
    return torch.from_numpy(mask)


def _mean_activations(
    network: Network, pairs: Sequence[TokenPair], passed: Callable[[], None]
) -> Tensor:
    if len({len(pair.clean) for pair in pairs}) > 1:
        raise UnequalLengthsError(
            "A mean over prompts is a mean at each position: give pairs of one token length, or "
            "choose outside='corrupt' (--outside corrupt)."
        )
    total = torch.zeros(1)
    for pair in pairs:
        written = run_graph(network, embed_prompt(network, pair.clean)).written
        total = total.to(written) + written
        passed()
    return total / len(pairs)


def random_circuits(every: Sequence[Edge], size: int, count: int, seed: int) -> list[list[Edge]]:
    """`count` circuits of `size` edges drawn evenly from `every` one, the same for a seed."""
    draw = np.random.default_rng([seed, size])
    return [[every[i] for i in draw.choice(len(every), size, replace=False)] for _ in range(count)]


def area_under_curve(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Mean height of a curve over its sizes, by the trapezoid rule; a single size is its value."""
    if len(sizes) == 1:
        return values[0]
    return float(np.trapezoid(values, sizes) / (sizes[-1] - sizes[0]))
