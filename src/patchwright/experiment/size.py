"""How large an experiment is, before it is done: cells and bytes, for those who bound them."""

from patchwright.experiment.types import Difference, Sweep
from patchwright.model.load import Model
from patchwright.places import SITE_TABLE, n_heads_of

KEPT_PER_TOKEN = 6
"""Vectors of a noisy run that tracing keeps at each layer and token, about."""

GRAPH_COPIES = 8
"""Of every edge's reader's input, kept for the gradient: it, its norm's parts, its projections."""


def cell_count(experiment: Sweep | Difference, n_positions: int, model: Model) -> int:
    """Cells of a sweep of one pair over every layer that it names."""
    spec = model.spec
    named = experiment.layers if isinstance(experiment, Sweep) else None
    layers = spec.n_layers if named is None else len(named)
    heads = n_heads_of(experiment.site, spec)
    width = {
        "position": n_positions,
        "head": heads,
        "head_position": heads * n_positions,
        "layer": 1,
        "neuron": spec.d_mlp,
    }[experiment.per]
    return (layers if SITE_TABLE[experiment.site].in_layers else 1) * width


def trace_bytes(n_positions: int, samples: int, model: Model) -> int:
    """Bytes that the noisy runs of causal tracing keep, about."""
    spec = model.spec
    return samples * n_positions * KEPT_PER_TOKEN * spec.n_layers * spec.d_model * 4


def graph_bytes(n_positions: int, model: Model) -> int:
    """Bytes that the gradients of all edges of one pair take, about."""
    spec = model.spec
    readers = spec.n_layers * (3 * spec.n_heads + 1)
    return n_positions * readers * spec.d_model * 4 * GRAPH_COPIES
