"""Attention patterns: what each head looks at in both prompts."""

import torch
import xarray as xr

from patchwright.errors import PromptError
from patchwright.methods.runs import run_pairs
from patchwright.model.forward import CORE
from patchwright.model.weights import Network
from patchwright.places import Place, Site
from patchwright.prompts.pair import TokenPair


def attention(network: Network, pair: TokenPair, layer: int, head: int) -> xr.DataArray:
    """The pattern of one head in both runs: dims (run, query, key), shares of attention.

    Raises UnknownPlaceError for a head that the model does not have, PromptError
    for prompts of unequal length, which share no axes.
    """
    Place("pattern", layer, head).within(network.spec, len(pair.clean))
    if len(pair.clean) != len(pair.corrupt):
        raise PromptError("Patterns of prompts of unequal length cannot be laid side by side.")
    keep = CORE | frozenset[Site]({"pattern"})
    runs = run_pairs(network, [pair], keep)[0]
    n = len(pair.clean)
    both = torch.stack(
        [run.kept["pattern"][layer][:n, head, :n] for run in (runs.clean[0], runs.corrupt[0])]
    )
    values = both.double().cpu().numpy()
    return xr.DataArray(
        values, dims=["run", "query", "key"], coords={"run": ["clean", "corrupt"]}, name="pattern"
    )
