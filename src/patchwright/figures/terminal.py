"""The heat map in a terminal: numbers in coloured cells, readable without colour."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from patchwright.figures.grid import TOGETHER, Grid, grids_of, title_of
from patchwright.methods.result import Baseline, Result
from patchwright.methods.statistics import NUMBERS, RATE, Statistics, statistics_on
from patchwright.prompts.tokens import visible

MOST_COLUMNS = 24
MOST_ROWS = 48
STRONGEST = 10
"""Places whose intervals are listed."""


def shown(result: Result) -> RenderableType:
    """Baselines, heat map, the strongest places and the warnings."""
    parts: list[RenderableType] = [_baselines(result), Text()]
    if result.method not in TOGETHER:
        parts.append(Text(title_of(result), style="bold"))
        for grid in grids_of(result):
            parts += [*([Text(grid.title)] if grid.title else []), heat_map(grid), Text()]
        heading = "Strongest places" if result.main == "effect" else "Strongest"
        parts += [Text(heading, style="bold"), _strongest(result)]
    else:
        effect = float(result.mean_effect)
        measured = (
            "no effect: the gap is too small" if math.isnan(effect) else f"effect {effect:.3f}"
        )
        patched = float(result.patched.mean())
        parts.append(Text(f"{title_of(result)}: {patched:.4g} ({measured})", style="bold"))
    found = statistics_on(result)
    if found is not None:
        parts += [Text(), *_intervals(found)]
    parts += [
        Text(f"Warning ({one['code']}): {one['message']}", style="yellow")
        for one in result.warnings
    ]
    return Group(*parts)


def beside(one: Result, other: Result, grids: Sequence[Grid]) -> RenderableType:
    """What two results are, and their panels as `figures.compared` gives them."""
    parts: list[RenderableType] = []
    for name, result in (("First", one), ("Second", other)):
        parts += [Text(f"{name}: {title_of(result)}", style="bold"), _baselines(result), Text()]
    for grid in grids:
        parts += [Text(grid.title, style="bold"), heat_map(grid), Text()]
    return Group(*parts)


def _intervals(found: Statistics) -> Iterator[RenderableType]:
    """The strongest places with their intervals, how many differ from zero, and the odd pairs."""
    frame = found.strongest(STRONGEST)
    tested, differing = int(found.p_value.notnull().sum()), int(found.differs().sum())
    yield Text(
        f"Over pairs, with {found.level:.0%} intervals: {differing} of {tested} differ from zero at a "
        f"false discovery rate of {RATE:.0%}",
        style="bold",
    )
    table = Table(box=None, pad_edge=False)
    labels = [name for name in frame.columns if name not in NUMBERS]
    labels = ["place"] if "place" in labels else labels
    for name in labels:
        table.add_column(str(name))
    for name in (found.array, "interval", "q", "pairs agreeing"):
        table.add_column(name, justify="right")
    for row in frame.to_dict("records"):
        low, high, mean = (_rounded(float(row[name])) for name in ("low", "high", "mean_effect"))
        agreeing = f"{row['same_sign']} of {row['pairs']}"
        numbers = (mean, f"{low} to {high}", f"{row['q_value']:.2g}", agreeing)
        table.add_row(*(Text(visible(str(row[name]))) for name in labels), *numbers)
    yield table
    for one in found.odd_pairs:
        yield Text(f"Pair {one.pair + 1} stands out: {one.why}", style="yellow")


def _rounded(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.3f}"


def _baselines(result: Result) -> Table:
    metric = result.experiment["metric"]
    table = Table(box=None, pad_edge=False)
    for name in ("run", metric, "answer", "rank", "most probable next tokens"):
        table.add_column(name, justify="left" if name.startswith(("run", "most")) else "right")
    for name, baseline in (("clean", result.clean), ("corrupted", result.corrupt)):
        table.add_row(
            name,
            f"{baseline.metric:.4g}",
            f"{baseline.probability:.1%}",
            "-" if baseline.rank is None else f"{baseline.rank:.4g}",
            _tops(baseline),
        )
    return table


def _tops(baseline: Baseline) -> Text:
    pairs = [f"{visible(one['token'])} {one['probability']:.1%}" for one in baseline.top[:4]]
    return Text("  ".join(pairs) if pairs else f"means of {len(baseline.pairs)} pairs")


def heat_map(grid: Grid) -> RenderableType:
    """A grid as a table of numbers; a sentence where it is too large for a terminal."""
    n_rows, n_columns = grid.values.shape
    if n_columns > MOST_COLUMNS or n_rows > MOST_ROWS:
        return Text(f"{n_rows} × {n_columns} cells: too many for a terminal; see --plot or --csv.")
    table = Table(box=None, padding=(0, 0), pad_edge=False, header_style="dim")
    table.add_column(grid.row_title, justify="right")
    for label in grid.columns:
        short = f" {label}" if grid.column_title == "role" else _short(label)
        table.add_column(Text(short), justify="right", min_width=6, no_wrap=True)
    for label, values in reversed(list(zip(grid.rows, grid.values.tolist(), strict=True))):
        table.add_row(Text(label + " "), *(_cell(value, grid) for value in values))
    return table


def _short(label: str) -> str:
    token = label.rsplit(" ", 1)[0]
    return " " + token[:5]


def _cell(value: float, grid: Grid) -> Text:
    if math.isnan(value):
        return Text("    . ")
    rounded = round(value, 2) + 0.0  # no minus sign before nothing
    number = f"{rounded:6.2f}" if abs(value) < 10 else f"{rounded:6.1f}"
    if not grid.centred:
        return Text(number)
    strength = min(abs(value) / grid.limit, 1.0)
    faded = round(255 - 150 * strength)
    color = f"rgb({255},{faded},{faded})" if value > 0 else f"rgb({faded},{faded},{255})"
    return Text(number, style=f"black on {color}")


_LABELS = ("place", "role", "run", "prompt", "component", "token", "top")


def _strongest(result: Result) -> Table:
    """The first rows of `Result.top`; a place says its layer, head and position by itself."""
    frame = result.top(5)
    if "place" in frame:
        said = {"layer", "head", "position", "neuron", "role"}
        frame = frame.drop(columns=[*said & {*frame.columns}])
    table = Table(box=None, pad_edge=False)
    for name in frame.columns:
        table.add_column(str(name), justify="left" if name in _LABELS else "right")
    for row in frame.to_dict("records"):
        table.add_row(*(_written(str(name), value) for name, value in row.items()))
    return table


def _written(name: str, value: object) -> Text:
    if isinstance(value, str):
        return Text(visible(value))
    number = float(str(value))
    if math.isnan(number):
        return Text("-")
    return Text(f"{number:+.3f}" if name == "effect" else f"{number:.4g}")
