"""The experiments on edges: scored, and a circuit of them evaluated."""

import numpy as np
import xarray as xr

from patchwright.errors import ExperimentError
from patchwright.experiment.reading import measured
from patchwright.experiment.results import Found, Work
from patchwright.experiment.types import (
    EdgeAttribution,
    EvaluateCircuit,
)
from patchwright.methods.circuits import area, edge_scores, measure, random_circuits
from patchwright.model.edges import Graph
from patchwright.prompts.pair import TokenPair


def run_edge_attribution(experiment: EdgeAttribution, work: Work, tokens: list[TokenPair]) -> Found:
    """The array `edges`, [receiver, sender]: each edge's score."""
    graph = Graph(work.model.spec)
    scores = edge_scores(work.model.network, tokens, experiment.metric, experiment.steps)
    coords = {"receiver": graph.receivers, "sender": graph.senders}
    edges = xr.DataArray(scores, dims=list(coords), coords=coords)
    found = measured(experiment, work, tokens, (), lambda _: {})
    found.arrays["edges"] = edges
    return found


def run_evaluate_circuit(experiment: EvaluateCircuit, work: Work, tokens: list[TokenPair]) -> Found:
    """Arrays over `size`: `faithfulness`, the `complement`, `random`; areas as details."""
    graph, network = Graph(work.model.spec), work.model.network
    edges, every = list(experiment.edges), set(graph.edges)
    sizes = list(dict.fromkeys(experiment.sizes))
    if not sizes or sizes != sorted(sizes) or not 0 <= sizes[0] <= sizes[-1] <= len(edges):
        raise ExperimentError(
            f"Sizes {sizes}: give rising numbers of edges from 0 to {len(edges)}."
        )
    circuits = [edges[:size] for size in sizes]
    circuits += [sorted(every - set(edges[:size])) for size in sizes]
    for size in sizes:
        circuits += random_circuits(
            graph, min(size, len(every)), experiment.randoms, experiment.seed
        )
    ran = measure(network, tokens, circuits, experiment.metric, experiment.outside)
    n, values = len(sizes), np.array(ran.faithfulness)
    randoms = values[2 * n :].reshape(n, experiment.randoms)
    coords = {"size": sizes}
    found = measured(experiment, work, tokens, (), lambda _: {})
    found.arrays["faithfulness"] = xr.DataArray(values[:n], dims=["size"], coords=coords)
    found.arrays["complement"] = xr.DataArray(values[n : 2 * n], dims=["size"], coords=coords)
    found.arrays["random"] = xr.DataArray(randoms, dims=["size", "sample"], coords=coords)
    found.details["area"] = area(sizes, values[:n].tolist())
    if experiment.randoms:
        found.details["random_area"] = area(sizes, randoms.mean(axis=1).tolist())
    return found
