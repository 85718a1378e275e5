"""How large an experiment is, before it is done: cells and bytes, for those who bound them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchwright.axes import Per
from patchwright.places import SITE_TABLE, Site, n_heads_of

if TYPE_CHECKING:
    from patchwright.model.load import Model
    from patchwright.prompts.pair import TokenPair

GRAPH_COPIES = 8
"""Of every edge's reader's input, kept for the gradient: it, its norm's parts, its projections."""


def sequence_length(pair: TokenPair) -> int:
    """Tokens of the longer prompt and all but the last of its longest answer."""
    behind = max(len(one) for one in pair.continuations)
    return max(len(pair.clean), len(pair.corrupt)) + behind


def runs_per_cell(pair: TokenPair) -> int:
    """Runs that a cell takes: one for each beginning of an answer of several tokens."""
    return max(1, len(pair.continuations))


def places_count(
    site: Site, per: Per, n_positions: int, model: Model, n_layers: int | None = None
) -> int:
    """Cells of one pair over so many layers, or over all."""
    spec = model.spec
    heads = n_heads_of(site, spec)
    width = {
        "position": n_positions,
        "head": heads,
        "head_position": heads * n_positions,
        "layer": 1,
        "neuron": spec.d_mlp,
    }[per]
    layers = spec.n_layers if n_layers is None else n_layers
    return (layers if SITE_TABLE[site].in_layers else 1) * width


def graph_bytes(n_positions: int, model: Model) -> int:
    """Bytes that the gradients of all edges of one pair take, about."""
    spec = model.spec
    readers = spec.n_layers * (3 * spec.n_heads + 1)
    return n_positions * readers * spec.d_model * 4 * GRAPH_COPIES
