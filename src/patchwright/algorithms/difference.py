"""Where clean and corrupted activations differ: norms and angles, without patching.

A difference says that information is there, not that it is used.
"""

import numpy as np
import xarray as xr
from torch import Tensor

from patchwright.algorithms.pair_runs import PairRuns
from patchwright.axes import DIMS, Per
from patchwright.errors import ExperimentError, UnequalLengthsError
from patchwright.model.requests import with_index_axis
from patchwright.places import KEYED_SITES, Site, pers_of

ARRAYS = ("relative", "norm", "clean_norm", "cosine")
"""`norm` of clean − corrupted, the same `relative` to `clean_norm`, and the `cosine` of the two."""


def difference(runs: PairRuns, site: Site, per: Per) -> dict[str, xr.DataArray]:
    """How far the two runs' activations are apart, for every place of a kind.

    Norms are Euclidean, over all that a place has besides its label: features, and
    for `per` without positions the matched positions too. Positions without a
    counterpart are NaN. Raises ExperimentError for a `per` that the site does not have.
    """
    if per not in pers_of(site):
        raise ExperimentError(
            f"The site '{site}' cannot be compared per {per}: choose {', '.join(pers_of(site))}."
        )
    if site in KEYED_SITES and len(runs.pair.clean) != len(runs.pair.corrupt):
        raise UnequalLengthsError(
            "Attention patterns of prompts of unequal length have different keys: compare z instead."
        )
    layers = [
        _layer_arrays(
            runs.clean[0].kept[site][layer], runs.corrupt[0].kept[site][layer], runs, site, per
        )
        for layer in range(len(runs.clean[0].kept[site]))
    ]
    found: dict[str, xr.DataArray] = {}
    for name in ARRAYS:
        values = np.stack([one[name] for one in layers])
        coords = {dim: range(size) for dim, size in zip(DIMS[per], values.shape, strict=True)}
        found[name] = xr.DataArray(values, dims=DIMS[per], coords=coords, name=name)
    return found


def _layer_arrays(
    clean: Tensor, corrupt: Tensor, runs: PairRuns, site: Site, per: Per
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """One layer's arrays, without the layer axis."""
    into, out_of = (list(positions) for positions in zip(*runs.pair.matching, strict=True))
    # [position, index, feature]: heads are indices, neurons are, else there is one.
    one, other = (
        with_index_axis(act, site)[at].double() for act, at in ((clean, into), (corrupt, out_of))
    )
    keep = {"position": (0,), "head": (1,), "head_position": (1, 0), "layer": (), "neuron": (1,)}
    rest = [axis for axis in range(3) if axis not in keep[per]]

    def total(values: Tensor) -> Tensor:
        summed = values.sum(dim=rest)
        return summed.T if per == "head_position" else summed

    gap, size = total((one - other) ** 2).sqrt(), total(one**2).sqrt()
    cosine = total(one * other) / (size * total(other**2).sqrt())
    arrays = {"relative": gap / size, "norm": gap, "clean_norm": size, "cosine": cosine}
    if per not in ("position", "head_position"):
        return {name: values.cpu().numpy() for name, values in arrays.items()}
    full: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    for name, values in arrays.items():
        laid = np.full((*values.shape[:-1], len(runs.pair.clean)), np.nan)
        laid[..., into] = values.cpu().numpy()
        full[name] = laid
    return full
