"""The Result of an experiment: labelled arrays, baselines, provenance, warnings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from operator import index
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, SupportsIndex, runtime_checkable

import numpy as np
import pandas as pd
import xarray as xr

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.atomic_files import write_atomic
from patchwright.axes import CHOICE, Direction, Metric
from patchwright.errors import InputError
from patchwright.places import SITE_TABLE, Place, check_site
from patchwright.upgrade import upgrade_result
from patchwright.warnings import Notice

SCHEMA = 1
"""Number of the JSON layout that `to_json` writes."""

PATCHES = ("patched", "effect")
"""Arrays of the methods that change a run; they share their axes."""

Tokens = Sequence[str] | Sequence[Sequence[str]]
"""Token texts of a prompt; of several pairs, one list for each."""


@dataclass(frozen=True)
class Baseline:
    """An unpatched run: the metric in its own unit, and what the model predicts.

    `logit_diff`, `answer_logit`, `wrong_logit` (logits) and `rank` (1 is the top)
    are None where the answers do not allow them; `probability` is that of any of
    the answers. `top` lists the most probable next tokens. Of several pairs the
    numbers are means, `top` is empty, and `pairs` holds each pair's own baseline.
    """

    metric: float
    logit_diff: float | None
    answer_logit: float | None
    wrong_logit: float | None
    probability: float
    rank: float | None
    top: list[dict[str, Any]]
    pairs: list["Baseline"] = field(default_factory=list["Baseline"])

    def metrics(self, many: bool = True) -> xr.DataArray:
        """The metric of each of several pairs, with a `pair` dim; if not `many`, of all together."""
        if many:
            return xr.DataArray([one.metric for one in self.pairs], dims="pair")
        return xr.DataArray(self.metric)


@runtime_checkable
class ExperimentLike(Protocol):
    """What a result needs of its experiment, which stands a floor above it."""

    main: ClassVar[str]
    """The array that the result is about."""


@dataclass(frozen=True)
class Result:
    """The result of an experiment: `arrays` by name, each with labelled dims.

    Methods that change a run have the arrays `patched` and `effect`. `patched` is the metric after
    each patch, in the metric's unit; `effect` is the share of the gap that the patch moved (0 is no
    change, 1 is all the way to the other run; empty if the gap is too small for shares). Both have the dims that
    the experiment's `per` names, after a `pair` dim for a list of pairs. Cells
    that were not computed, or have no counterpart in the other prompt, are NaN.
    `altered` is what the model predicts in the patched run, if there is only one such run.
    `details` holds what else the method chose or measured, such as the size of the noise.
    `numbers` is the version of the method's numbers (`Experiment.numbers`); `asked` is the
    experiment itself, if it is known.
    """

    method: str
    experiment: dict[str, Any]
    model: dict[str, Any]
    tokens: dict[str, Tokens]
    clean: Baseline
    corrupt: Baseline
    arrays: dict[str, xr.DataArray]
    warnings: list[Notice]
    seconds: float
    altered: Baseline | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    numbers: int = 1
    asked: "ExperimentLike | None" = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        """One line: the method, the model, and what its main array is over."""
        array = self.arrays[self.main]
        over = ", ".join(f"{dim} {size}" for dim, size in array.sizes.items())
        return f"Result({self.method!r} on {self.model.get('name')!r}: {self.main} over {over or 'one run'})"

    @property
    def patched(self) -> xr.DataArray:
        """The metric after each patch, in its unit. Raises InputError where nothing was patched."""
        return self.array("patched")

    @property
    def effect(self) -> xr.DataArray:
        """The share of the gap that each patch moved. Raises InputError as `patched` does."""
        return self.array("effect")

    def array(self, name: str) -> xr.DataArray:
        """One of `arrays`. Raises InputError that lists the names."""
        if name not in self.arrays:
            raise InputError(
                f"A result of '{self.method}' has no '{name}': it has {', '.join(self.arrays)}."
            )
        return self.arrays[name]

    @property
    def mean_effect(self) -> xr.DataArray:
        """`effect` without a pair dim: over pairs, the ratio of means (Miller et al. 2024).

        The means for a cell, those of the baselines too, are over the pairs that have the cell: in
        a stopped sweep, or with prompts of unequal length, different cells may have different pairs.
        """
        if "pair" not in self.patched.dims:
            return self.effect
        direction: Direction = self.experiment["direction"]
        metric: Metric = self.experiment["metric"]
        runs = self._mean_metric(self.clean), self._mean_metric(self.corrupt)
        return effect_of(self.patched.mean("pair"), *runs, direction, metric)

    def _mean_metric(self, baseline: Baseline) -> xr.DataArray:
        """The metric of a run, for each cell the mean over the pairs that have the cell."""
        if "pair" not in self.patched.dims:
            return xr.DataArray(baseline.metric)
        return baseline.metrics().where(self.patched.notnull()).mean("pair")

    @property
    def main(self) -> str:
        """The array that the result is about: what figures show and `top` ranks by.

        Its experiment says so; of a result whose experiment is not known it is the effect, or
        the first array.
        """
        stated = "effect" if self.asked is None else self.asked.main
        return next(name for name in (stated, *self.arrays) if name in self.arrays)

    def table(self) -> pd.DataFrame:
        """One row for each computed cell: place, dims, token (for one pair), the arrays' values.

        Only arrays with the dims of the main array are included. Pairs are counted
        from 1 here, as in warnings and files of pairs; on the arrays' axis from 0.
        """
        first = PATCHES[0] if self.main == PATCHES[1] else self.main
        dims = self.arrays[first].dims
        columns = {name: array for name, array in self.arrays.items() if array.dims == dims}
        if not dims:
            frame = pd.DataFrame({name: [float(values)] for name, values in columns.items()})
        else:
            frame = xr.Dataset(columns).to_dataframe().reset_index()
        frame = frame[frame[first].notna()].reset_index(drop=True)
        if "pair" in frame:
            frame["pair"] += 1
        texts = self.position_tokens
        if texts is not None and "position" in frame and "run" not in frame:
            at = len(frame.columns) - len(columns)
            frame.insert(at, "token", [texts[i] for i in frame["position"]])
        site = self.experiment.get("site")
        if site is not None and dims:
            frame.insert(0, "place", [place_of(site, row) for row in frame.to_dict("records")])
        return frame

    def top(self, count: SupportsIndex = 5) -> pd.DataFrame:
        """The `count` strongest places by |effect| (by distance moved where it is empty).

        Without effects, by the absolute value of the main array. Over several pairs by its mean;
        for effects that is the ratio of means.
        """
        averaged = self if "pair" not in self.arrays[self.main].dims else self.averaged()
        frame = averaged.table()
        strength = frame[self.main].abs()
        if self.main == "effect" and bool(strength.isna().all()):
            moved = averaged.patched - self._mean_metric(self.base)
            strength = pd.Series(np.abs(moved.values[np.isfinite(moved.values)]))
        order = strength.sort_values(ascending=False, kind="stable").index
        return frame.loc[order].head(index(count)).reset_index(drop=True)

    @property
    def base(self) -> Baseline:
        """The unpatched run that was patched: the corrupted one when denoising."""
        return self.corrupt if self.experiment["direction"] == "denoise" else self.clean

    @property
    def position_tokens(self) -> Sequence[str] | None:
        """Token texts along the position axis (those of the patched run); None for many pairs."""
        run = "corrupt" if self.experiment.get("direction") == "denoise" else "clean"
        texts = self.tokens[run]
        return [str(text) for text in texts] if all(isinstance(t, str) for t in texts) else None

    def prompts(self, run: Literal["clean", "corrupt"]) -> list[str]:
        """Text of the prompt of each pair, in order; of token ids and chats their tokens' text.

        Causal tracing has the same prompt in both runs.
        """
        given: Any = self.experiment.get("pairs") or {run: self.experiment.get("prompt")}
        texts = self.tokens[run]
        some = [texts] if all(isinstance(text, str) for text in texts) else texts
        pairs: list[Any] = given if isinstance(given, list) else [given]
        typed = [one.get(run) for one in pairs]
        typed += [None] * (len(some) - len(typed))
        return [
            one if isinstance(one, str) else "".join(str(text) for text in tokens)
            for one, tokens in zip(typed, some, strict=False)
        ]

    def averaged(self) -> "Result":
        """The arrays' means over pairs, of a cell over those that have it; of effects `mean_effect`.

        Exact values that stand beside estimates are empty where a pair has none: both
        are then means over the same pairs.
        """
        numbers = {
            name: one
            for name, one in self.arrays.items()
            if one.dtype.kind == "f" and CHOICE not in one.dims
        }
        means = {name: one.mean("pair", skipna=name != "exact") for name, one in numbers.items()}
        if "effect" in means:
            means["effect"] = self.mean_effect
        return replace(self, arrays=means)

    def document(self) -> dict[str, Any]:
        """The result as plain JSON types: schema `SCHEMA`; NaN becomes null."""
        return {
            "schema": SCHEMA,
            "patchwright": version("patchwright"),
            "method": self.method,
            "numbers": self.numbers,
            "experiment": self.experiment,
            "model": self.model,
            "tokens": {name: _token_lists(texts) for name, texts in self.tokens.items()},
            "clean": asdict(self.clean),
            "corrupt": asdict(self.corrupt),
            **self._patches(),
            "arrays": {
                name: {**axes_of(array), "values": plain_values(array)}
                for name, array in self.arrays.items()
                if name not in PATCHES
            },
            "details": self.details,
            "altered": None if self.altered is None else asdict(self.altered),
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }

    def _patches(self) -> dict[str, Any]:
        """`patched` and `effect`, which share their axes, where the method has them."""
        if "patched" not in self.arrays:
            return {}
        values = {name: plain_values(self.arrays[name]) for name in PATCHES}
        return {**axes_of(self.patched), **values}

    def to_json(self, path: str | Path | None = None) -> str:
        """The result as JSON text, written to `path` if one is given.

        Numbers survive `load_result` exactly. Raises OutputError for a bad path.
        """
        text = json.dumps(self.document(), ensure_ascii=False, allow_nan=False) + "\n"
        if path is not None:
            write_atomic(path, text)
        return text

    def plot(
        self,
        path: str | Path,
        *,
        beside: "Sequence[Result]" = (),
        width: float = 5.5,
        title: bool = False,
        numbers: bool = True,
    ) -> None:
        """Draw the figure to a .png, .svg or .pdf file, the same as `--plot` does.

        It is `width` inches wide, with text of 7 points (6 in cells) at that width; a `title`
        stands above it on request, and `numbers` in cells where they matter and fit. `beside`
        are other results, such as traces of other sites, whose panels share its scale.
        Raises OutputError for another suffix or a path that cannot be written, InputError for
        a width that cannot be drawn or results that have no common scale.
        """
        # Drawing is a floor above; this one upward step keeps `result.plot` at hand.
        from patchwright.figures.matplotlib_figures import draw_result, save_figure
        from patchwright.figures.style import FigureStyle

        save_figure(draw_result(self, *beside, style=FigureStyle(width, title, numbers)), path)

    def caption(self, format: str = "text", *, beside: "Sequence[Result]" = ()) -> str:
        r"""What the figure shows, in sentences: how, of which model, on which prompts.

        `format` is text or latex; for LaTeX it is a `\caption{...}` in which every character that LaTeX would
        read as a command is escaped. Raises InputError for another format.
        """
        from patchwright.figures.captions import caption_of

        return caption_of([self, *beside], format)


def result_of(document: dict[str, Any]) -> Result:
    """The inverse of `Result.document`, of older documents too.

    Raises KeyError, TypeError, ValueError or AttributeError where it is none.
    """
    document = upgrade_result(document)
    _check_types(document)
    axes = {name: document[name] for name in ("dims", "coords") if name in document}
    arrays = {
        name: _parse_array(name, {**axes, "values": document[name]})
        for name in PATCHES
        if name in document
    }
    more: dict[str, Any] = document["arrays"]
    arrays |= {name: _parse_array(name, one) for name, one in more.items()}
    baselines = {name: _parse_baseline(document[name]) for name in ("clean", "corrupt")}
    parts: dict[str, Any] = {name: document[name] for name in _FIELD_TYPES}
    parts |= {"arrays": arrays, **baselines}
    if document["altered"] is not None:
        parts["altered"] = _parse_baseline(document["altered"])
    return Result(**parts)


_FIELD_TYPES: dict[str, type | tuple[type, ...]] = {
    "method": str,
    "numbers": int,
    "experiment": dict,
    "model": dict,
    "tokens": dict,
    "arrays": dict,
    "warnings": list,
    "seconds": (int, float),
    "details": dict,
}


def _check_types(document: dict[str, Any]) -> None:
    """Raise ValueError or KeyError for a document that would fail later, where it is shown."""
    for name, kind in _FIELD_TYPES.items():
        if not isinstance(document[name], kind):
            raise ValueError(f"'{name}' is not what it should be")
    if ("patched" in document) != ("effect" in document):
        raise ValueError("it has one of patched and effect without the other")
    for run in ("clean", "corrupt"):
        if not isinstance(document["tokens"][run], list):
            raise ValueError("its tokens are no lists")
    for notice in document["warnings"]:
        if not isinstance(notice["code"] + notice["message"], str):
            raise ValueError("a warning has no text")


def effect_of(
    patched: xr.DataArray,
    clean: xr.DataArray,
    corrupt: xr.DataArray,
    direction: Direction,
    metric: Metric,
) -> xr.DataArray:
    """Share of the clean-corrupt gap that each patch moved; unitless, with the dims of `patched`.

    Denoising counts from the corrupted run, noising from the clean one. NaN where the runs
    differ by no more than the `min_gap` of the metric's unit: there is no scale then.
    Source: Zhang & Nanda 2023, section 2 (their normalisation).
    """
    gap = clean - corrupt
    moved = patched - corrupt if direction == "denoise" else clean - patched
    shares = moved / gap.where(abs(gap) > METRIC_TABLE[metric].unit.min_gap)
    return shares.transpose(*patched.dims).rename("effect")


def place_of(site: str, cell: Mapping[Any, Any]) -> str:
    """The place that a row of `Result.table` stands for, as text; a role as in `L9.resid_pre@last`."""
    names = ("layer", "head", "position", "neuron")
    named = {name: int(cell[name]) for name in names if name in cell}
    checked = check_site(site)
    if not SITE_TABLE[checked].in_layers:
        named.pop("layer", None)
    place = str(Place(checked, **named))
    return f"{place}@{cell['role']}" if "role" in cell else place


def cell_name(site: str | None, cell: Mapping[Any, Any]) -> str:
    """What a cell is called by its labels: the place that it is of, or where there is no site the labels."""
    if site is None:
        return ", ".join(f"{dim} {value}" for dim, value in cell.items())
    return place_of(site, cell)


def _parse_baseline(document: dict[str, Any]) -> Baseline:
    parts: dict[str, Any] = {"pairs": [_parse_baseline(pair) for pair in document["pairs"]]}
    return Baseline(**document | parts)


def axes_of(array: xr.DataArray) -> dict[str, Any]:
    """The dims and their labels as plain JSON types."""
    coords = {str(dim): array[dim].values.tolist() for dim in array.dims}
    return {"dims": list(array.dims), "coords": coords}


def _parse_array(name: str, document: dict[str, Any]) -> xr.DataArray:
    values = np.array(document["values"])
    if values.dtype.kind != "U":
        values = values.astype(np.float64)
    return xr.DataArray(values, dims=document["dims"], coords=document["coords"], name=name)


def plain_values(array: xr.DataArray) -> Any:
    """The values as plain JSON types; NaN becomes null."""
    values = array.values.astype(object)
    if array.dtype.kind == "f":
        values[~np.isfinite(array.values)] = None
    return values.tolist()


def _token_lists(texts: Tokens) -> list[Any]:
    return [text if isinstance(text, str) else list(text) for text in texts]
