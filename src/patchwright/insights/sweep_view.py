"""One sweep as the rules look at it: its cells by strength, columns by layer, its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from patchwright.algorithms.duplicates import groups_of
from patchwright.algorithms.result import Baseline, Result, place_of
from patchwright.algorithms.scale import has_scale, nothing_moved, usable_effect
from patchwright.axes import Direction, Metric
from patchwright.insights.sentences import Numbers
from patchwright.places import Place, Site
from patchwright.prompts.tokens import quoted_token

NOTABLE = 0.05
"""A single place with a smaller effect is not named."""

VERB: dict[Direction, str] = {"denoise": "restores", "noise": "destroys"}
NEED: dict[Direction, str] = {"denoise": "sufficient", "noise": "necessary"}


@dataclass(frozen=True)
class Cell:
    """One place of a sweep; `effect` is the share of the gap that its patch moved."""

    place: str
    effect: float
    estimated: bool

    def share_text(self, say: Numbers, limit: float | None = None) -> str:
        """The effect as `Numbers.share` writes it, and whether it is only an estimate."""
        return f"{'an estimated ' if self.estimated else ''}{say.share(self.effect, limit)}"


@dataclass(frozen=True)
class SweepView:
    """A result of `patch` or `attribute`; over several pairs, means."""

    result: Result

    @property
    def site(self) -> Site:
        """What was patched."""
        return self.result.experiment["site"]

    @property
    def per(self) -> str:
        """Which places were patched at once."""
        return self.result.experiment["per"]

    @property
    def metric(self) -> Metric:
        """What was measured."""
        return self.result.experiment["metric"]

    @property
    def direction(self) -> Direction:
        """Which run was patched."""
        return self.result.experiment["direction"]

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """The pairs of the experiment, as plain JSON."""
        given = self.result.experiment["pairs"]
        return [given] if isinstance(given, dict) else list(given)

    @property
    def baselines(self) -> list[tuple[Baseline, Baseline]]:
        """The unpatched runs of each pair: clean, corrupted."""
        clean, corrupt = self.result.clean, self.result.corrupt
        return list(zip(clean.pairs or [clean], corrupt.pairs or [corrupt], strict=True))

    @property
    def different_pairs(self) -> int:
        """Number of pairs, of which duplicates count as one."""
        return len(set(groups_of(self.result)))

    @property
    def gap(self) -> float:
        """Metric of the clean run minus that of the corrupted one, in its unit."""
        return self.result.clean.metric - self.result.corrupt.metric

    @cached_property
    def effect(self) -> xr.DataArray:
        """Effects without a pair dim; empty where a pair's value is missing or the gap is flat."""
        effect, patched = usable_effect(self.result), self.result.patched
        return effect.where(patched.notnull().all("pair")) if "pair" in patched.dims else effect

    @cached_property
    def estimated(self) -> NDArray[np.bool_]:
        """Which cells of `effect` are estimates, at least for one pair."""
        marks = self.result.arrays.get("estimated")
        if marks is None:
            return np.full(self.effect.shape, self.result.method == "attribute")
        return np.asarray((marks.any("pair") if "pair" in marks.dims else marks).values) > 0

    @property
    def flat(self) -> bool:
        """Whether the runs are too close to conclude anything from effects."""
        return not has_scale(self.result)

    @property
    def nothing_moved(self) -> bool:
        """Whether no patch of this sweep moved anything."""
        return nothing_moved(self.result)

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells that have an effect, in the order of the axes."""
        effect, dims = self.effect, [str(dim) for dim in self.effect.dims]
        labels = {dim: effect[dim].values.tolist() for dim in dims}
        found: list[Cell] = []
        for index in zip(*np.nonzero(np.isfinite(effect.values)), strict=True):
            row = {dim: labels[dim][i] for dim, i in zip(dims, index, strict=True)}
            value = float(effect.values[index])
            found.append(Cell(place_of(self.site, row), value, bool(self.estimated[index])))
        return found

    @cached_property
    def ranked_cells(self) -> list[Cell]:
        """`cells` from the highest effect to the lowest; of equals the first place is first."""
        return sorted(self.cells, key=lambda cell: -cell.effect)

    @property
    def carrying_cells(self) -> list[Cell]:
        """Cells of notable effect, the strongest first."""
        return [cell for cell in self.ranked_cells if cell.effect >= NOTABLE]

    @property
    def opposing_cells(self) -> list[Cell]:
        """Cells of notable negative effect, the most negative first."""
        below = (cell for cell in self.cells if cell.effect <= -NOTABLE)
        return sorted(below, key=lambda cell: cell.effect)

    def position_cells(self, position: int) -> dict[int, Cell]:
        """The cells at a position, by layer; those without an effect left out."""
        return self._cells_at({n: Place(self.site, n, position=position) for n in self.layers})

    def head_cells(self, head: Place) -> dict[int, Cell]:
        """A head's cells, by position; those without an effect left out."""
        return self._cells_at({p: replace(head, position=p) for p in self.positions})

    def _cells_at(self, places: dict[int, Place]) -> dict[int, Cell]:
        return {
            n: cell for n, one in places.items() if (cell := self._cells_by_place.get(str(one)))
        }

    @cached_property
    def _cells_by_place(self) -> dict[str, Cell]:
        return {cell.place: cell for cell in self.cells}

    @property
    def layers(self) -> list[int]:
        """The layers swept, rising."""
        return sorted(int(layer) for layer in self.effect["layer"].values)

    @property
    def positions(self) -> list[int]:
        """The positions swept."""
        return [int(position) for position in self.effect["position"].values]

    @property
    def last_position(self) -> int:
        """The position where the patched run's answer is read off."""
        return len(self._texts("corrupt" if self.direction == "denoise" else "clean")[0]) - 1

    @property
    def has_equal_lengths(self) -> bool:
        """Whether all prompts have the same number of tokens."""
        return len({len(texts) for run in ("clean", "corrupt") for texts in self._texts(run)}) == 1

    @property
    def first_unequal_lengths(self) -> tuple[int, int] | None:
        """Tokens of the clean and the corrupted prompt of the first pair that is unequal."""
        both = zip(self._texts("clean"), self._texts("corrupt"), strict=True)
        lengths = ((len(clean), len(corrupt)) for clean, corrupt in both)
        return next((some for some in lengths if some[0] != some[1]), None)

    @property
    def differing_positions(self) -> list[int]:
        """Positions at which any pair's prompts, of one length, differ."""
        both = zip(self._texts("clean"), self._texts("corrupt"), strict=True)
        found = {i for pair in both for i, (a, b) in enumerate(zip(*pair, strict=True)) if a != b}
        return sorted(found)

    def position_text(self, say: Numbers, position: int) -> str:
        """A position with its token: of one pair, in both prompts where they differ."""
        name = f"position {say.count(position)}"
        clean, corrupt = self._texts("clean"), self._texts("corrupt")
        if len(clean) > 1:
            return name
        if not self.has_equal_lengths:
            run = corrupt if self.direction == "denoise" else clean
            return f"{name} ({quoted_token(run[0][position])})"
        ours, theirs = clean[0][position], corrupt[0][position]
        if ours == theirs:
            return f"{name} ({quoted_token(ours)})"
        return f"{name} ({quoted_token(ours)} in the clean prompt, {quoted_token(theirs)} in the corrupted one)"

    def _texts(self, run: str) -> list[Sequence[str]]:
        """The tokens of each pair's prompt."""
        texts = self.result.tokens[run]
        return [texts] if all(isinstance(one, str) for one in texts) else list(texts)  # pyright: ignore[reportReturnType] - as the comparison says
