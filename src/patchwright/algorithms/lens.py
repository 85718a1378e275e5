"""The logit lens: the model's answer as read off the residual stream after every layer.

Each layer's residual stream goes through the final norm and the unembedding as
if it were the last (nostalgebraist 2020). Early layers need not speak the
unembedding's language: a low probability there is no proof of absence.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from patchwright.algorithms.metrics import LENS_METRICS, can_measure
from patchwright.algorithms.pair_runs import TokenText
from patchwright.algorithms.readout import MetricReader
from patchwright.axes import Metric
from patchwright.model.requests import BASE_SITES, Run
from patchwright.places import Site

LENS_SITES: frozenset[Site] = BASE_SITES | frozenset[Site]({"resid_post"})
"""What a lens reads, and what its patched run starts from."""


def logit_lens(
    reader: MetricReader, runs: dict[str, Run], texts: TokenText
) -> dict[str, xr.DataArray]:
    """What each run says after each layer, dims (run, layer, position).

    Arrays: `logit_diff` (logits) where there is a wrong answer, `probability` and
    `rank` of the answer, `top` (the most probable token's text) and
    `top_probability`. The last layer is the model's own prediction. The runs have
    kept `resid_post`; positions are those of the longest run, others are NaN.
    """
    n = max(len(run.tokens) for run in runs.values())
    metrics: list[Metric] = [name for name in LENS_METRICS if can_measure(name, reader.pair)]
    found: dict[Metric, list[NDArray[np.float64]]] = {name: [] for name in metrics}
    shares: list[NDArray[np.float64]] = []
    tops: list[list[list[str]]] = []
    for run in runs.values():
        layers = run.kept["resid_post"]
        read = [reader.readout([layer[:, None]]) for layer in layers]
        best = [one.top_token_each() for one in read]
        for name, columns in found.items():
            values = [one(name).double().cpu().numpy() for one in read]
            columns.append(_padded(values, n))
        shares.append(_padded([share for _, share in best], n))
        tops.append([[*map(texts, ids), *[""] * (n - len(ids))] for ids, _ in best])
    coords = {"run": list(runs), "layer": range(len(tops[0])), "position": range(n)}
    arrays = {
        name: xr.DataArray(np.stack(values), dims=list(coords), coords=coords, name=name)
        for name, values in {**found, "top_probability": shares}.items()
    }
    return {**arrays, "top": xr.DataArray(np.array(tops), dims=list(coords), coords=coords)}


def _padded(layers: Sequence[NDArray[np.float64]], n: int) -> NDArray[np.float64]:
    """[layer, position], NaN behind the run's own positions."""
    values = np.full((len(layers), n), np.nan)
    for row, own in zip(values, layers, strict=True):
        row[: len(own)] = own
    return values


def accumulated_logit_diff(reader: MetricReader, runs: dict[str, Run]) -> xr.DataArray:
    """The logit difference at each run's last position after each layer: (run, layer), logits."""
    values = [
        [float(reader.read("logit_diff", [layer[run.read][None, None]])) for layer in layers]
        for run, layers in ((run, run.kept["resid_post"]) for run in runs.values())
    ]
    coords = {"run": list(runs), "layer": range(len(values[0]))}
    return xr.DataArray(values, dims=list(coords), coords=coords, name="accumulated")
