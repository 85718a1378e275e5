"""How sure a result over several pairs is: intervals, tests, and the pairs that stand out.

A pair is drawn, a place is chosen: so everything here is over pairs. Intervals are
bootstrapped (Efron & Tibshirani 1993, chapter 14: bias-corrected and accelerated);
whether a place moves anything is tested by flipping pairs' signs; and because a sweep
asks of many places at once, p-values are corrected for the false discovery rate
(Benjamini & Hochberg 1995). The effect over pairs is the ratio of means, which a pair
with a small gap cannot dominate (Miller et al. 2024). The same pair twice is drawn once:
what is resampled and flipped are groups of duplicates (`algorithms.duplicates`), as in a
cluster bootstrap (Davison & Hinkley 1997, section 3.8), while means stay over all pairs.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from operator import index
from typing import Any, Literal, SupportsFloat, SupportsIndex, get_args

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import false_discovery_control, median_abs_deviation

from patchwright.algorithms.duplicates import groups_of
from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result, axes_of, place_of, plain_values
from patchwright.axes import Metric
from patchwright.errors import InputError

Ratio = Literal["of_means", "mean_of"]
"""The effect over pairs: ratio of means, or mean of the pairs' own ratios."""

STATISTIC_NAMES = ("mean_effect", "low", "high", "p_value", "q_value", "same_sign", "pairs")
"""The arrays of `Statistics`."""

SETTING_NAMES = ("array", "site", "level", "resamples", "seed", "ratio")
"""What else it says of how they came about."""

DETAILS_KEY = "statistics"
"""Under which a result's details have them."""

MOST_FLIPS = 100_000
"""Most sign flips that are tried at random; where there are fewer, all are tried."""

FALSE_DISCOVERY_RATE = 0.05
"""False discovery rate at which a place counts as different from zero, unless told otherwise."""

SMALL_P_VALUE = 0.1
"""Share of flips up to which a cell's p-value is worth more of them."""

OUTLIER_SCORE = 3.5
"""Robust z-score from which a pair stands out (Iglewicz & Hoaglin 1993)."""

TILE = 1 << 22
"""Resampled numbers that exist at one time: 32 MiB."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class OddPair:
    """A pair that stands out: its index from 0, in what, its robust z-score, and a sentence."""

    pair: int
    measure: Literal["gap", "profile"]
    score: float
    why: str


@dataclass(frozen=True)
class Statistics:
    """Statistics of each cell over pairs, on the result's dims without `pair`.

    `mean_effect` is the mean over pairs (for effects by `ratio`), unitless for effects,
    otherwise in the unit of `array`; `low` and `high` are the bounds of its interval at `level`.
    `p_value` comes from the sign-flip test against zero, `q_value` is corrected over all cells;
    `same_sign` counts the pairs with the mean's sign, `pairs` those that have the
    cell; duplicates count as one. NaN where fewer than two pairs have a cell. If the gap
    itself is not distinguishable from zero, the mean or its bounds are NaN and the test is of
    the change in the metric's unit.
    """

    array: str
    site: str | None
    level: float
    resamples: int
    seed: int
    ratio: str
    mean_effect: xr.DataArray
    low: xr.DataArray
    high: xr.DataArray
    p_value: xr.DataArray
    q_value: xr.DataArray
    same_sign: xr.DataArray
    pairs: xr.DataArray
    odd_pairs: list[OddPair]

    def __repr__(self) -> str:
        """One line: what is averaged over how many pairs, and the cells."""
        over = ", ".join(f"{dim} {size}" for dim, size in self.mean_effect.sizes.items())
        return f"Statistics({self.array} of {int(self.pairs.max())} pairs over {over or 'one run'})"

    def differs(self, rate: float = FALSE_DISCOVERY_RATE) -> xr.DataArray:
        """Which cells differ from zero at a false discovery rate."""
        return self.q_value <= rate

    @property
    def unsure(self) -> xr.DataArray:
        """Which of the cells that were tested do not differ from zero at `FALSE_DISCOVERY_RATE`."""
        return self.q_value > FALSE_DISCOVERY_RATE

    @property
    def outliers(self) -> dict[int, str]:
        """The pairs that stand out, by index, the farthest first, each with its strongest reason."""
        ordered = sorted(self.odd_pairs, key=lambda one: abs(one.score))
        strongest = {one.pair: one for one in ordered}
        farthest = sorted(strongest.values(), key=lambda one: -abs(one.score))
        return {one.pair: one.why for one in farthest}

    def to_frame(self) -> pd.DataFrame:
        """One row for each cell that at least two pairs have: its place and dims, and `STATISTIC_NAMES`."""
        columns = {name: getattr(self, name) for name in STATISTIC_NAMES}
        if not self.mean_effect.dims:
            return pd.DataFrame({name: [float(array)] for name, array in columns.items()})
        frame = xr.Dataset(columns).to_dataframe().reset_index()
        frame = frame[frame["p_value"].notna()].reset_index(drop=True)
        if self.site is not None:
            places = [place_of(self.site, row) for row in frame.to_dict("records")]
            frame.insert(0, "place", places)
        return frame.astype({"same_sign": int, "pairs": int})

    def strongest(self, count: SupportsIndex = 5) -> pd.DataFrame:
        """The first rows of `to_frame` by |mean|."""
        frame = self.to_frame()
        order = frame["mean_effect"].abs().sort_values(ascending=False, kind="stable").index
        return frame.loc[order].head(index(count)).reset_index(drop=True)

    def document(self) -> dict[str, Any]:
        """As plain JSON types; NaN becomes null."""
        return {
            **{name: getattr(self, name) for name in SETTING_NAMES},
            **axes_of(self.mean_effect),
            **{name: plain_values(getattr(self, name)) for name in STATISTIC_NAMES},
            "odd_pairs": [asdict(one) for one in self.odd_pairs],
        }

    def on(self, result: Result) -> Result:
        """The result with these numbers in its details, for figures and insights."""
        return replace(result, details=result.details | {DETAILS_KEY: self.document()})


def stored_statistics(result: Result) -> Statistics | None:
    """What `Statistics.on` has put on a result; None where nothing was."""
    document: dict[str, Any] | None = result.details.get(DETAILS_KEY)
    if document is None:
        return None
    axes = {"dims": document["dims"], "coords": document["coords"]}
    arrays: dict[str, Any] = {
        name: xr.DataArray(np.array(document[name], dtype=np.float64), **axes, name=name)
        for name in STATISTIC_NAMES
    }
    choices: dict[str, Any] = {name: document[name] for name in SETTING_NAMES}
    odd = [OddPair(**one) for one in document["odd_pairs"]]
    return Statistics(**choices, **arrays, odd_pairs=odd)


@dataclass(frozen=True)
class _Sample:
    """Numerators [pair, cell] and denominators [pair] whose means' ratio is asked for.

    `groups` has each pair's group of duplicates.
    """

    above: Values
    below: Values
    smallest: float
    groups: NDArray[np.intp]


def statistics(
    result: Result,
    *,
    level: SupportsFloat = 0.95,
    resamples: SupportsIndex = 2000,
    seed: SupportsIndex = 0,
    ratio: str = "of_means",
) -> Statistics:
    """Statistics of the result's main array over pairs: see `Statistics`.

    `seed` draws the resamples, which all cells share. Raises InputError for a result of
    one pair (perhaps repeated) or over no pairs, and for a choice that is out of range.
    """
    level, resamples, seed = float(level), index(resamples), index(seed)
    _check_settings(level, resamples, seed, ratio)
    array, sample = _sample_of(result, ratio)
    cells = array.isel(pair=0, drop=True)
    flat = np.full((len(STATISTIC_NAMES), sample.above.shape[1]), np.nan)
    for columns, rows in _cells_by_pairs(sample.above):
        groups = sample.groups[rows]
        flat[-1, columns] = len(set(groups))
        if len(set(groups)) > 1:
            above, below = sample.above[np.ix_(rows, columns)], sample.below[rows]
            part = _Sample(above, below, sample.smallest, groups)
            flat[:-1, columns] = _statistics_by_cell(part, level, resamples, seed)
    known = np.isfinite(flat[3])
    if known.any():
        flat[4, known] = false_discovery_control(flat[3, known])
    made = {
        name: cells.copy(data=one.reshape(cells.shape)).rename(name)
        for name, one in zip(STATISTIC_NAMES, flat, strict=True)
    }
    return Statistics(
        str(array.name),
        result.experiment.get("site"),
        level,
        resamples,
        seed,
        ratio,
        **made,
        odd_pairs=[*_odd_gaps(result, sample.groups), *_odd_profiles(sample)],
    )


def _check_settings(level: float, resamples: int, seed: int, ratio: str) -> None:
    if not 0 < level < 1:
        raise InputError(f"A level of {level}: give a share between 0 and 1, such as 0.95.")
    if resamples < 100:
        raise InputError(f"{resamples} resamples: an interval needs at least 100.")
    if seed < 0:
        raise InputError(f"A seed of {seed}: give a whole number of 0 or more.")
    if ratio not in get_args(Ratio):
        raise InputError(f"'{ratio}' is not a ratio: choose {' or '.join(get_args(Ratio))}.")


def _sample_of(result: Result, ratio: str) -> tuple[xr.DataArray, _Sample]:
    """The main array, `pair` first, and what its means are made of."""
    array = result.arrays[result.main]
    if "pair" not in array.dims:
        raise InputError(
            f"This result's '{result.main}' is not over pairs, so its uncertainty is unknown: run "
            "the same on a list of pairs."
        )
    array = array.transpose("pair", ...)
    n, groups = array.sizes["pair"], np.array(groups_of(result))
    if len(set(groups)) < 2:
        same = f"These {n} pairs are one and the same. " if n > 1 else ""
        raise InputError(
            f"{same}One pair is too few for statistics: give at least two different pairs."
        )
    if result.main != "effect":
        return array, _Sample(_as_matrix(array), np.ones(n), 0.0, groups)
    clean, corrupt = (one.metrics().values for one in (result.clean, result.corrupt))
    metric: Metric = result.experiment["metric"]
    smallest = METRIC_TABLE[metric].unit.min_gap
    if ratio == "mean_of":
        return array, _Sample(_as_matrix(array), np.ones(n), 0.0, groups)
    patched = _as_matrix(result.patched.transpose(*array.dims))
    denoising = result.experiment["direction"] == "denoise"
    moved = patched - corrupt[:, None] if denoising else clean[:, None] - patched
    return array, _Sample(moved, clean - corrupt, smallest, groups)


def _as_matrix(array: xr.DataArray) -> Values:
    values: Values = np.asarray(array.values, dtype=np.float64)
    return values.reshape(len(values), -1)


def _cells_by_pairs(values: Values) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Cells that the same pairs have: (cells, pairs)."""
    present, of_cell = np.unique(np.isfinite(values), axis=1, return_inverse=True)
    for i, rows in enumerate(present.T):
        yield np.flatnonzero(of_cell.reshape(-1) == i), np.flatnonzero(rows)


def _statistics_by_cell(sample: _Sample, level: float, resamples: int, seed: int) -> Values:
    """The first six of `STATISTIC_NAMES`, [number, cell], of cells that all pairs have; q is to come."""
    gap = sample.below.mean()
    # A ratio of means is one of sums: a group's sums stand for all its pairs.
    above, below = (_group_sums(one, sample.groups) for one in (sample.above, sample.below))
    n, cells = above.shape
    # An overflow or a division by nothing stands for an interval without bounds.
    with np.errstate(all="ignore"):
        mean = sample.above.mean(axis=0) / (gap if abs(gap) > sample.smallest else np.nan)
        drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
        weights = np.stack([np.bincount(one, minlength=n) for one in drawn]) / n
        resampled = weights @ below
        sure = _has_sure_sign(resampled, gap, level)
        bounds = np.full((2, cells), np.nan)
        for some in _tiles(cells, resamples) if sure else ():
            part = above[:, some]
            bounds[:, some] = _bca(part, below, (weights @ part) / resampled[:, None], level)
    whole = np.sign(above.sum(axis=0) * gap)
    signs = np.sign(above * below[:, None]) == whole
    p = _sign_flip_p_values(above, resamples, seed)
    return np.stack([mean, *bounds, p, np.full(cells, np.nan), signs.sum(axis=0)])


def _group_sums(values: Values, groups: NDArray[np.intp]) -> Values:
    """Sums over the pairs of each group, [pair, ...] to [group, ...], in the groups' order."""
    kinds, of_pair = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(kinds), *values.shape[1:]))
    np.add.at(sums, of_pair, values)
    return sums


def _has_sure_sign(below: Values, gap: float, level: float) -> bool:
    """Whether the gap's own interval leaves out zero: otherwise its ratios have no bounds."""
    return bool(np.mean(np.sign(below) != np.sign(gap)) <= (1 - level) / 2)


def _tiles(cells: int, resamples: int) -> Iterator[slice]:
    step = max(1, TILE // resamples)
    return (slice(at, at + step) for at in range(0, cells, step))


def _bca(above: Values, below: Values, resampled: Values, level: float) -> Values:
    """Bias-corrected, accelerated bounds [2, cell] from `resampled` [resample, cell].

    As `scipy.stats.bootstrap` has them, but for all cells at once; where every pair
    says the same, the bounds are that.
    """
    # Why not SciPy's, called once for all cells (measured, one core, 2,000 resamples): it gathers
    # every pair of every resample, where here a product with weights does. 1,000 pairs x 1,000
    # cells take 2.1 s there and 0.2 s here; 50 pairs x 36,864 cells 7 s and 1.2 GB, 0.9 s and 73 MB.
    # Of 15 pairs on the bounds agree to 1e-14. Of 5, SciPy's differ by up to a fifth of the interval:
    # rounding decides which resamples lie below a sample that they equal, so that another unit (all
    # values times 3) moves them. Cells in which all pairs agree have no bounds there.
    n, resamples = len(above), len(resampled)
    value = above.mean(axis=0) / below.mean()
    ordered = np.sort(resampled.T, axis=1)
    # A resample that has every pair once is the sample: equal but for its rounding.
    even = 1e-12 * np.abs(above).mean(axis=0) / abs(below.mean())
    lower = sum((ordered < (value + side)[:, None]).mean(axis=1) for side in (-even, even))
    shift = ndtri(np.clip(lower / 2, 0.5 / resamples, 1 - 0.5 / resamples))
    left_out = (above.sum(axis=0) - above) / (below.sum() - below)[:, None]
    spread = left_out.mean(axis=0) - left_out
    squares = (spread**2).sum(axis=0)
    tiny = squares <= n * (1e-14 * np.abs(value)) ** 2
    speed = np.where(tiny, 0.0, (spread**3).sum(axis=0) / (6 * squares**1.5))
    z = ndtri(np.array([[(1 - level) / 2], [(1 + level) / 2]]))
    at = ndtr(shift + (shift + z) / (1 - speed * (shift + z))) * (resamples - 1)
    under = np.clip(np.floor(np.nan_to_num(at)).astype(np.intp), 0, resamples - 2)
    cell = np.arange(len(value))
    first, second = ordered[cell, under], ordered[cell, under + 1]
    return np.where(tiny, value, first + (second - first) * (at - under))


def _sign_flip_p_values(values: Values, resamples: int, seed: int) -> Values:
    """Two-sided p-values [cell] of the mean against zero, values [pair, cell].

    The share of ways to flip pairs' signs that move the mean at least as far: of all
    ways where they are at most `MOST_FLIPS`, else of random ones with the observed one
    counted among them. Cells of a small share get as many as the correction over the
    cells needs. Without an effect a pair's value is as likely to have the other sign.
    """
    # Why not `scipy.stats.permutation_test` (measured as for `_bca`): with the 40,000 flips that
    # 1,000 cells need it takes 3.8 s and 640 MB for 50 pairs, where this takes 0.2 s and 73 MB.
    n, cells = values.shape
    if 2 ** min(n, 64) <= MOST_FLIPS:
        # The other half are these with every sign turned: the same distances.
        ways = np.arange(2 ** (n - 1))[:, None]
        return _count_as_extreme(values, ways >> np.arange(n) & 1) / len(ways)
    draw = np.random.default_rng(seed)

    def p_values(some: Values, flips: int) -> Values:
        further, left = np.ones(some.shape[1]), flips
        while left:
            count = min(left, max(1, TILE // n))
            further += _count_as_extreme(some, draw.integers(0, 2, (count, n), dtype=np.int8))
            left -= count
        return further / (flips + 1)

    found = p_values(values, min(resamples, MOST_FLIPS))
    small = found <= SMALL_P_VALUE
    flips = int(np.clip(2 * cells / FALSE_DISCOVERY_RATE, resamples, MOST_FLIPS))
    if flips > resamples and small.any():
        found[small] = p_values(values[:, small], flips)
    return found


def _count_as_extreme(values: Values, flipped: NDArray[np.integer[Any]]) -> Values:
    """How many rows of `flipped` [flip, pair] (1 turns a sign) move each cell's mean as far."""
    total = np.abs(values.sum(axis=0)) - 1e-12 * np.abs(values).sum(axis=0)
    count = np.zeros(values.shape[1])
    step = max(1, TILE // max(values.shape))
    for at in range(0, len(flipped), step):
        signs = 1.0 - 2.0 * flipped[at : at + step]
        count += (np.abs(signs @ values) >= total).sum(axis=0)
    return count


def _odd_gaps(result: Result, groups: NDArray[np.intp]) -> list[OddPair]:
    """Pairs whose clean-corrupt gap is far from the others'."""
    metric: Metric = result.experiment["metric"]
    gaps = (result.clean.metrics() - result.corrupt.metrics()).values
    return [
        OddPair(
            pair,
            "gap",
            score,
            f"Its gap is {gaps[pair]:.3g} {METRIC_TABLE[metric].unit.name} where the median of the pairs is "
            f"{middle:.3g} (robust z-score {score:.1f}).",
        )
        for pair, score, middle in _robust_scores(gaps, groups)
        if abs(score) > OUTLIER_SCORE
    ]


def _odd_profiles(sample: _Sample) -> list[OddPair]:
    """Pairs whose cells lie far from the cells' medians, by Euclidean distance."""
    whole = sample.above[:, np.isfinite(sample.above).all(axis=0)]
    middles = np.median(whole[_first_pairs(sample.groups)], axis=0)
    distances = np.sqrt(((whole - middles) ** 2).sum(axis=1))
    return [
        OddPair(
            pair,
            "profile",
            score,
            f"Its places together lie {distances[pair]:.3g} from the median pair's, where the "
            f"median distance is {middle:.3g} (robust z-score {score:.1f}).",
        )
        for pair, score, middle in _robust_scores(distances, sample.groups)
        if score > OUTLIER_SCORE
    ]


def _robust_scores(values: Values, groups: NDArray[np.intp]) -> Iterator[tuple[int, float, float]]:
    """Each pair, its robust z-score (the distance from the median in scaled median deviations), the median.

    Of duplicates the first stands for all. Nothing of fewer than three pairs, or where all are alike.
    """
    firsts = _first_pairs(groups)
    known = values[firsts]
    # 1.4826 makes it the standard deviation of a normal distribution.
    spread = 1.4826 * float(median_abs_deviation(known))
    if len(firsts) < 3 or not spread > 1e-9 * np.abs(known).max(initial=0.0):
        return
    middle = float(np.median(known))
    for pair in firsts.tolist():
        yield pair, float((values[pair] - middle) / spread), middle


def _first_pairs(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """The first pair of each group, rising."""
    return np.sort(np.unique(groups, return_index=True)[1])
