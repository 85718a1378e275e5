"""The experiments on edges: scored, and a circuit of them evaluated."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from patchwright.algorithms.batches import check_memory
from patchwright.algorithms.circuits import (
    Edge,
    area,
    edge_scores,
    measure,
    random_circuits,
    strongest,
)
from patchwright.errors import ExperimentError
from patchwright.experiment.reading import measured
from patchwright.experiment.results import Found, Work
from patchwright.experiment.types import (
    EdgeAttribution,
    EvaluateCircuit,
)
from patchwright.model.edges import Graph
from patchwright.notices import Notice
from patchwright.prompts.pair import TokenPair

LIST_BYTES = 64
"""An empty list, about; each edge in it is 8 more."""


def run_edge_attribution(experiment: EdgeAttribution, work: Work, tokens: list[TokenPair]) -> Found:
    """The array `edges`, [receiver, sender]: each edge's score; `exact` of the strongest."""
    if experiment.exact < 0:
        raise ExperimentError(f"{experiment.exact} edges to measure exactly: give 0 or more.")
    graph = Graph(work.model.spec)
    how = experiment.metric, experiment.steps
    scored = edge_scores(work.model.network, tokens, *how, work.progress)
    coords = {"receiver": graph.receivers, "sender": graph.senders}
    edges = xr.DataArray(scored.values, dims=list(coords), coords=coords)
    found = measured(experiment, work, tokens, (), lambda _: {})
    found.arrays["edges"] = edges
    if scored.done < len(tokens):
        message = (
            f"Stopped after {scored.done} of {len(tokens)} pairs: scores are means over those."
        )
        found.notices.append(Notice(code="stopped", message=message))
    elif experiment.exact:
        chosen = strongest(scored.values, graph)[: experiment.exact]
        _measure_exactly(chosen, experiment, found, work)
    return found


def _measure_exactly(
    edges: list[Edge], experiment: EdgeAttribution, found: Found, work: Work
) -> None:
    """Add the array `exact`: the metric's change when one edge alone is corrupted."""
    every = set(Graph(work.model.spec).edges)
    others = [every - {edge} for edge in edges]
    network = work.model.network
    ran = measure(
        network, found.tokens, others, experiment.metric, "corrupt", work.progress, work.budget
    )
    exact = xr.full_like(found.arrays["edges"], np.nan)
    for (sender, receiver), value in zip(edges, ran.values, strict=True):
        exact.loc[{"sender": sender, "receiver": receiver}] = value - ran.clean
    found.arrays["exact"] = exact
    if ran.done < len(edges):
        message = (
            f"Stopped after {ran.done} of {len(edges)} edges: the others are not measured exactly."
        )
        found.notices.append(Notice(code="stopped", message=message))


def run_evaluate_circuit(experiment: EvaluateCircuit, work: Work, tokens: list[TokenPair]) -> Found:
    """Arrays over `size`: `faithfulness`, the `complement`, `random`; the gap and areas as details."""
    graph, network = Graph(work.model.spec), work.model.network
    edges, every = list(experiment.edges), set(graph.edges)
    sizes = list(dict.fromkeys(experiment.sizes))
    if not sizes or sizes != sorted(sizes) or not 0 <= sizes[0] <= sizes[-1] <= len(edges):
        raise ExperimentError(
            f"Sizes {sizes}: give rising numbers of edges from 0 to {len(edges)}."
        )
    listed = sum(LIST_BYTES + 8 * size for size in sizes) * experiment.n_random
    check_memory("The random circuits take", listed, work.budget, "draw fewer")
    circuits: list[list[Edge]] = []
    for size in sizes:
        drawn = random_circuits(graph, min(size, len(every)), experiment.n_random, experiment.seed)
        circuits += [edges[:size], sorted(every - set(edges[:size])), *drawn]
    how = experiment.metric, experiment.outside
    ran = measure(network, tokens, circuits, *how, work.progress, work.budget)
    kept = ran.faithfulness.reshape(len(sizes), -1)
    coords = {"size": sizes}
    found = measured(experiment, work, tokens, (), lambda _: {})
    found.arrays["faithfulness"] = xr.DataArray(kept[:, 0], dims=["size"], coords=coords)
    found.arrays["complement"] = xr.DataArray(kept[:, 1], dims=["size"], coords=coords)
    found.arrays["random"] = xr.DataArray(kept[:, 2:], dims=["size", "sample"], coords=coords)
    found.details.update({"gap": ran.clean - ran.outside, **_areas(sizes, kept)})
    if ran.done < len(circuits):
        message = (
            f"Stopped after {ran.done} of {len(circuits)} circuits: the others are empty, and areas "
            "are over the sizes that are there."
        )
        found.notices.append(Notice(code="stopped", message=message))
    return found


def _areas(sizes: list[int], kept: NDArray[np.float64]) -> dict[str, float]:
    """Under the circuit's curve and the random ones', over the sizes that have their values."""
    curves = {"area": kept[:, 0]}
    if kept.shape[1] > 2:
        curves["random_area"] = kept[:, 2:].mean(axis=1)
    areas: dict[str, float] = {}
    for name, values in curves.items():
        known = np.isfinite(values)
        if known.any():
            areas[name] = area(np.array(sizes)[known].tolist(), values[known].tolist())
    return areas
