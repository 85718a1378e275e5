"""Unpatched runs, made once for all that is asked about the same prompts."""

from collections.abc import Sequence
from dataclasses import replace

from patchwright.model.forward import forward
from patchwright.model.kernels import kernel_for
from patchwright.model.requests import Row, Run
from patchwright.model.weights import Network
from patchwright.places import KEYED_SITES, NEURON_SITES, SITES, Site

DEFAULT_SITES = frozenset(SITES) - NEURON_SITES
"""Sites that are kept unasked where they are small: the next question is likely about one of them."""

MIN_PAIRS = 4
"""They are small where the runs of so many pairs of this length fit into a memory with them."""

MEASURABLE_DEVICES = ("cpu", "cuda")
"""Devices that tell what a tensor holds on to: on others the memory of runs could not be bounded."""


def base_runs(network: Network, rows: Sequence[Row], keep: frozenset[Site]) -> list[Run]:
    """`forward` of rows without edits, from the network's memory where it has one.

    Rows are found again only in the same company and by the same kernel: with some, the bits of
    a product depend on how many rows share it. The runs are to be read, never written to.
    """
    memory, weights = network.memory, network.layers
    if memory is None or any(layer.device.type not in MEASURABLE_DEVICES for layer in weights):
        return forward(network, rows, keep)
    prompts = tuple((row.tokens, row.read, _base_index(row.base, rows)) for row in rows)
    prompts = ((kernel_for(weights[0].q.weight),), *prompts)
    runs, sites = memory.find(weights, prompts)
    if not runs or not keep <= sites:
        sites |= keep | _default_sites(network, rows, memory.most_bytes)
        runs = forward(network, rows, sites)
        memory.keep(weights, prompts, runs, sites)
    return [_keep_only(run, keep) for run in runs]


def _default_sites(network: Network, rows: Sequence[Row], most_bytes: int) -> frozenset[Site]:
    """What these runs keep unasked."""
    size = sum(kept_bytes(network, len(row.tokens), DEFAULT_SITES) for row in rows)
    if MIN_PAIRS * size > most_bytes:
        return frozenset()
    one_length = all(row.base is None or len(row.base.tokens) == len(row.tokens) for row in rows)
    # A pattern starts from none of another length.
    return DEFAULT_SITES if one_length else DEFAULT_SITES - KEYED_SITES


def kept_bytes(network: Network, n_positions: int, keep: frozenset[Site]) -> int:
    """What a run of `n_positions` that keeps the sites in `keep` takes, about."""
    width = sum(network.spec.width_of(site, n_positions) for site in keep)
    return n_positions * network.spec.n_layers * width * network.embed.element_size()


def _base_index(base: Run | Row | None, rows: Sequence[Row]) -> int | None:
    """Which of `rows` a row starts from."""
    assert not isinstance(base, Run), "a base run starts from no finished run"
    return next((i for i, row in enumerate(rows) if row is base), None)


def _keep_only(run: Run, keep: frozenset[Site]) -> Run:
    """The run as if it had kept no other sites."""
    kept = {site: run.kept[site] for site in keep}
    return replace(run, kept=kept, keys=run.keys if "k" in keep else [])
