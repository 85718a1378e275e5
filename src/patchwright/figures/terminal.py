"""The heat map in a terminal: numbers in coloured cells, readable without colour."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table

from patchwright.algorithms.result import Baseline, Result
from patchwright.algorithms.scale import SHARE_ARRAYS, has_scale, nothing_moved, usable_effect
from patchwright.algorithms.statistics import (
    FALSE_DISCOVERY_RATE,
    STATISTIC_NAMES,
    Statistics,
    stored_statistics,
)
from patchwright.figures.grid import Grid, grids_of, is_one_number, note_of, title_of
from patchwright.figures.tables import Line, table
from patchwright.figures.terminal_map import TerminalMap
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent, run_name

STRONGEST = 10
"""Places whose intervals are listed."""
WIDE_ENOUGH = 72
"""Columns of a terminal that has room for the likeliest tokens beside the baselines."""

_TOP_TOKENS = "most probable next tokens"


def renderable(result: Result) -> RenderableType:
    """Baselines, heat map, the strongest places and the warnings."""
    parts: list[RenderableType] = [_BaselinesTable(result), Line()]
    if not is_one_number(result):
        parts.append(Line(title_of(result), style="bold"))
        parts += [Line(note)] if (note := note_of(result)) else []
        for grid in grids_of(result):
            parts += [
                *([Line(run_name(grid.title))] if grid.title else []),
                TerminalMap(grid),
                Line(),
            ]
        parts += _ranking(result)
    else:
        effect = float(usable_effect(result))
        measured = (
            "no effect: the gap is too small" if math.isnan(effect) else f"effect {effect:.3f}"
        )
        patched = float(result.patched.mean())
        parts.append(Line(f"{title_of(result)}: {patched:.4g} ({measured})", style="bold"))
    found = stored_statistics(result)
    if found is not None and (found.array != "effect" or has_scale(result)):
        parts += [Line(), *_intervals(found)]
    parts += [
        Line(f"Warning ({one['code']}): {one['message']}", style="yellow")
        for one in result.warnings
    ]
    return Group(*parts)


def side_by_side(one: Result, other: Result, grids: Sequence[Grid]) -> RenderableType:
    """What two results are, and their panels as `figures.comparison` gives them."""
    parts: list[RenderableType] = []
    for name, result in (("First", one), ("Second", other)):
        parts += [
            Line(f"{name}: {title_of(result)}", style="bold"),
            _BaselinesTable(result),
            Line(),
        ]
    for grid in grids:
        parts += [Line(grid.title, style="bold"), TerminalMap(grid), Line()]
    return Group(*parts)


def _intervals(found: Statistics) -> Iterator[RenderableType]:
    """The strongest places with their intervals, how many differ from zero, and the odd pairs."""
    frame = found.strongest(STRONGEST)
    tested, differing = int(found.p_value.notnull().sum()), int(found.differs().sum())
    yield Line(
        f"Over pairs, with {percent(found.level)} intervals: {differing} of {tested} differ from zero at a "
        f"false discovery rate of {percent(FALSE_DISCOVERY_RATE)}",
        style="bold",
    )
    labels = [str(name) for name in frame.columns if name not in STATISTIC_NAMES]
    labels = ["place"] if "place" in labels else labels
    numbers = (found.array, "interval", "q", "pairs agreeing")
    rows = table(*labels, *numbers, right=numbers)
    for row in frame.to_dict("records"):
        low, high, mean = (
            _signed_number(float(row[name])) for name in ("low", "high", "mean_effect")
        )
        agreeing = f"{row['same_sign']} of {row['pairs']}"
        numbers = (mean, f"{low} to {high}", f"{row['q_value']:.2g}", agreeing)
        rows.add_row(*(_table_cell(name, row[name]) for name in labels), *numbers)
    yield rows
    for one in found.odd_pairs:
        yield Line(f"Pair {one.pair + 1} stands out: {one.why}", style="yellow")


def _signed_number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.3f}"


@dataclass(frozen=True)
class _BaselinesTable:
    """Clean and corrupted run in a table; in a narrow terminal the likeliest tokens are below it."""

    result: Result

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType]:
        metric = str(self.result.experiment["metric"])
        numbers = (metric, "answer", "rank")
        beside = [_TOP_TOKENS] if options.max_width >= WIDE_ENOUGH else []
        rows = table("run", *numbers, *beside, right=numbers, whole=("run", *numbers))
        for name, baseline in self._runs():
            rank = "-" if baseline.rank is None else f"{baseline.rank:.4g}"
            cells = (f"{baseline.metric:.4g}", percent(baseline.probability, 1), rank)
            rows.add_row(name, *cells, *([self._top_tokens(baseline)] if beside else []))
        yield rows
        if not beside:
            below = table("run", _TOP_TOKENS, whole=("run",))
            for name, baseline in self._runs():
                below.add_row(name, self._top_tokens(baseline))
            yield below

    def _runs(self) -> Iterable[tuple[str, Baseline]]:
        return (("clean", self.result.clean), ("corrupted", self.result.corrupt))

    def _top_tokens(self, baseline: Baseline) -> Line:
        tokens = [
            f"{visible(one['token'])} {percent(one['probability'], 1)}" for one in baseline.top[:4]
        ]
        # Tracing's corrupted run is the mean over its noise samples.
        averaged = "noise samples" if self.result.method == "trace" else "pairs"
        return Line("  ".join(tokens) or f"means of {len(baseline.pairs)} {averaged}")


_LABELS = ("place", "role", "run", "prompt", "component", "token", "top")


def _ranking(result: Result) -> list[RenderableType]:
    """The strongest places; where there is nothing to rank by, what stands in their place."""
    if nothing_moved(result):
        return [Line("Nothing moves, so no place is ranked.", style="bold")]
    if result.main not in SHARE_ARRAYS or has_scale(result):
        heading = "Strongest places" if result.main == "effect" else "Strongest"
        return [Line(heading, style="bold"), _strongest_table(result.top(5))]
    said = Line("The gap is too small to rank places by their share of it.", style="bold")
    if result.main != "effect":
        return [said]
    heading = Line(f"Furthest from the unpatched run, in {result.experiment['metric']}")
    return [said, heading, _strongest_table(result.top(5).drop(columns="effect"))]


def _strongest_table(frame: pd.DataFrame) -> Table:
    """Rows of `Result.top`; a place says its layer, head and position by itself."""
    if "place" in frame:
        said = {"layer", "head", "position", "neuron", "role"}
        frame = frame.drop(columns=[*said & {*frame.columns}])
    names = [str(name) for name in frame.columns]
    rows = table(*names, right=[name for name in names if name not in _LABELS])
    for row in frame.to_dict("records"):
        rows.add_row(*(_table_cell(str(name), value) for name, value in row.items()))
    return rows


def _table_cell(name: str, value: object) -> Line:
    if isinstance(value, str):
        return Line(run_name(value) if name == "run" else visible(value))
    number = float(str(value))
    if math.isnan(number):
        return Line("-")
    return Line(f"{number:+.3f}" if name == "effect" else f"{number:.4g}")
