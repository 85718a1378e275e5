"""Unpatched runs, made once for all that is asked about the same prompts."""

from collections.abc import Sequence
from dataclasses import replace

from patchwright.model.forward import forward
from patchwright.model.rows import Row, Run
from patchwright.model.weights import Network
from patchwright.places import Site


def base_runs(network: Network, rows: Sequence[Row], keep: frozenset[Site]) -> list[Run]:
    """`forward` of rows without edits, from the network's memory where it has one.

    Rows are found again only in the same company: in some kernels the bits of a product
    depend on how many rows share it. The runs are to be read, never written to.
    """
    memory, weights = network.memory, network.layers
    if memory is None:
        return forward(network, rows, keep)
    prompts = tuple((row.tokens, row.read, _place_of(row.base, rows)) for row in rows)
    runs, sites = memory.find(weights, prompts)
    if not runs or not keep <= sites:
        runs = forward(network, rows, keep | sites)
        memory.keep(weights, prompts, runs, keep | sites)
    return [_only(run, keep) for run in runs]


def _place_of(base: Run | Row | None, rows: Sequence[Row]) -> int | None:
    """Which of `rows` a row starts from."""
    assert not isinstance(base, Run), "a base run starts from no finished run"
    return next((i for i, row in enumerate(rows) if row is base), None)


def _only(run: Run, keep: frozenset[Site]) -> Run:
    """The run as if it had kept no other sites."""
    kept = {site: run.kept[site] for site in keep}
    return replace(run, kept=kept, keys=run.keys if "k" in keep else [])
