"""Figures for paper and slides: Matplotlib, written to PNG, SVG or PDF."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale, nothing_moved
from patchwright.algorithms.statistics import NUMBERS, RATE, Statistics, statistics_on
from patchwright.atomic_files import write_atomic
from patchwright.errors import InputError
from patchwright.figures.circuit_layout import LOWERS, RAISES, layout, target_of
from patchwright.figures.comparison import compared
from patchwright.figures.fonts import (
    MissingCharactersWarning,
    fit_texts,
    quiet,
    sentence,
    shortened,
)
from patchwright.figures.formats import check_format
from patchwright.figures.grid import Grid, grids_of, is_one_number, short, title_of
from patchwright.spelling import percent, run_name

DIVERGING = LinearSegmentedColormap.from_list("effects", ["#2166ac", "#f7f7f7", "#b2182b"], 1023)
SEQUENTIAL = LinearSegmentedColormap.from_list(
    "amounts", ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"], 1025
)
"""The colours of the page's heat maps (`app/widgets/heat_map.js`): blue to red, and viridis."""

RUN_COLORS = {"clean": "#2166ac", "corrupt": "#b2182b", "patched": "#8c6d1f"}
MOST_NUMBERS = 24
"""Columns up to which each cell carries its number."""
STRONGEST = 15
"""Places whose intervals are drawn."""
LETTERS_PER_INCH = 11
"""Of a title, about."""


def save_heat_map(result: Result, path: str | Path) -> None:
    """Draw a result to `path`. Raises OutputError for a suffix that is not in `formats.FORMATS`."""
    _save(_drawn(result), path)


def image(result: Result, suffix: str) -> bytes:
    """The figure of a result as a file's bytes, the same every time."""
    return _file(_drawn(result), suffix)[0]


def _drawn(result: Result) -> Figure:
    if is_one_number(result):
        return draw_bars(result)
    return (draw_curve if result.method == "evaluate_circuit" else draw)(result)


def _save(figure: Figure, path: str | Path) -> None:
    """Write a figure; warn, as MissingCharactersWarning, of characters that no font has."""
    suffix = check_format(path)
    content, lacking = _file(figure, suffix)
    write_atomic(path, content)
    if lacking:
        warnings.warn(sentence(lacking, suffix != "svg"), MissingCharactersWarning, stacklevel=3)


def _file(figure: Figure, suffix: str) -> tuple[bytes, str]:
    """A figure as a file's bytes, in which nothing depends on the day, and what no font has."""
    stream = BytesIO()
    # Text stays text in an SVG, and its reader may have the font.
    lacking = fit_texts(figure, replace=suffix != "svg")
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "patchwright"}), quiet(lacking):
        FigureCanvasAgg(figure)
        dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix]
        figure.savefig(stream, format=suffix, dpi=150, metadata=dated)
    return stream.getvalue(), lacking


def draw(result: Result) -> Figure:
    """The heat map of a sweep, or a method's panels side by side on one scale."""
    grids, found = grids_of(result), statistics_on(result)
    marked = found is not None and any(grid.unsure is not None for grid in grids)
    more = f"\n{_unsure(found)}" if marked and found is not None else ""
    return _draw_grids(grids, title_of(result), _baselines(result) + more)


def save_compared(one: Result, other: Result, path: str | Path) -> None:
    """Draw two results and their difference (`figures.comparison`) to `path`.

    Raises InputError where they have none, OutputError for another suffix.
    """
    titles = list(dict.fromkeys((title_of(one), title_of(other))))
    notes = list(dict.fromkeys((_baselines(one), _baselines(other))))
    figure = _draw_grids(compared(one, other), " / ".join(titles), "\n".join(notes))
    _save(figure, path)


def _draw_grids(grids: Sequence[Grid], headline: str, note: str) -> Figure:
    n_rows, n_columns = grids[0].values.shape
    width = min(max(0.62 * n_columns, 3.2), 16 / len(grids)) * len(grids) + 2.2
    figure = Figure(figsize=(width, min(max(0.34 * n_rows, 1.6), 24) + 1.9), layout="constrained")
    panels: list[Axes] = [figure.add_subplot(1, len(grids), i + 1) for i in range(len(grids))]
    images = [_draw_panel(axes, grid) for axes, grid in zip(panels, grids, strict=True)]
    scales = {(grid.centred, *_scale(grid)): i for i, grid in enumerate(grids)}
    for i in scales.values():
        figure.colorbar(images[i], ax=panels, label=grids[i].unit, fraction=0.05)
    title = fill(headline, int(LETTERS_PER_INCH * (width - 0.8)))
    if len(grids) == 1:
        panels[0].set_title(title, loc="left", fontsize=11, parse_math=False)
    else:
        figure.suptitle(title, fontsize=11, parse_math=False)
    panels[0].set_xlabel(note, fontsize=8, color="#444444")
    return figure


def _draw_panel(axes: Axes, grid: Grid) -> AxesImage:
    n_rows, n_columns = grid.values.shape
    low, high = _scale(grid)
    colors = DIVERGING if grid.centred else SEQUENTIAL
    axes.set_facecolor("#d9d9d9")
    image = axes.imshow(
        np.ma.masked_invalid(grid.values),
        cmap=colors,
        vmin=low,
        vmax=high,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    _label_axes(axes, grid)
    axes.set_title(run_name(grid.title), fontsize=9)
    if n_columns <= MOST_NUMBERS and n_rows <= 2 * MOST_NUMBERS:
        _write_numbers(axes, grid)
    if grid.unsure is not None:
        _mark(axes, grid, grid.unsure)
    return image


def _mark(axes: Axes, grid: Grid, cells: NDArray[np.bool_]) -> None:
    """A small open circle in a corner of the cells that do not differ from zero."""
    for row, column in np.argwhere(cells & np.isfinite(grid.values)).tolist():
        color = "white" if _is_dark(color_of(float(grid.values[row, column]), grid)) else "black"
        axes.plot(
            column + 0.38,
            row + 0.34,
            marker="o",
            markersize=2.6,
            fillstyle="none",
            color=color,
            markeredgewidth=0.6,
        )


def save_intervals(result: Result, path: str | Path) -> None:
    """Draw the strongest places with their intervals over pairs.

    Raises OutputError for another suffix, InputError where the result has no statistics or
    no gap that is a scale.
    """
    _save(draw_intervals(result), path)


def draw_intervals(result: Result) -> Figure:
    """The strongest places from the top down, with error bars; open dots do not differ from zero."""
    found = statistics_on(result)
    if found is None:
        raise InputError(
            "The result has no statistics: put them on it with `statistics(result).on`."
        )
    if found.array == "effect" and not has_scale(result):
        raise InputError(
            f"The mean gap over the pairs ({_baselines(result)}) is too small to rank places by their "
            "share of it, so there are no intervals to draw: choose pairs, answers or a metric on "
            "which the runs differ more."
        )
    frame = found.strongest(STRONGEST)
    figure = Figure(figsize=(6.0, 0.28 * len(frame) + 1.5), layout="constrained")
    axes = figure.add_subplot()
    labels = [name for name in frame.columns if name not in NUMBERS]
    labels = ["place"] if "place" in labels else labels
    for at, row in enumerate(frame.to_dict("records")):
        mean, low, high = (float(row[name]) for name in ("mean_effect", "low", "high"))
        face = "#2166ac" if row["q_value"] <= RATE else "white"
        axes.plot([low, high], [at, at], color="#2166ac", linewidth=1.2)
        axes.plot(mean, at, marker="o", color="#2166ac", markerfacecolor=face, linestyle="none")
    names = [_named({name: row[name] for name in labels}) for row in frame.to_dict("records")]
    axes.set_yticks(range(len(frame)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set_xlabel(
        f"{found.array}, {percent(found.level)} intervals over pairs\n{_unsure(found)}", fontsize=8
    )
    axes.set_title(title_of(result), loc="left", fontsize=10)
    return figure


def _named(cell: dict[str, object]) -> str:
    """'L9H6.z', or 'clean, layer 9, head 6'."""
    texts = [str(one) if isinstance(one, str) else f"{name} {one}" for name, one in cell.items()]
    return ", ".join(texts)


def _unsure(found: Statistics) -> str:
    """What an open circle means."""
    return (
        f"open circle: does not differ from zero over {int(found.pairs.max())} pairs (false discovery "
        f"rate {percent(RATE)})"
    )


def save_graph(result: Result, path: str | Path) -> None:
    """Draw the logit difference after each layer, one line a run of a logit lens.

    Raises OutputError for another suffix, InputError where there is no wrong answer.
    """
    _save(draw_graph(result), path)


def draw_graph(result: Result) -> Figure:
    """The logit-difference graph: accumulated over layers, at the last position."""
    lines = result.array("accumulated")
    if "pair" in lines.dims:
        lines = lines.mean("pair")
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for run, color in RUN_COLORS.items():
        if run in lines["run"].values:
            values = lines.sel(run=run)
            axes.plot(values["layer"], values, color=color, marker="o", label=run_name(run))
    axes.axhline(0, color="#444444", linewidth=0.8)
    axes.set_xlabel("after layer")
    axes.set_ylabel("logit difference at the last position")
    axes.set_title("Logit difference by layer", loc="left", fontsize=11)
    axes.legend()
    return figure


def save_scatter(result: Result, path: str | Path) -> None:
    """Draw estimate against exact of an attribution that was compared.

    Raises OutputError for another suffix, InputError where there are no exact values.
    """
    _save(draw_scatter(result), path)


def draw_scatter(result: Result) -> Figure:
    """Each cell of an attribution: its exact value against its estimate."""
    exact, estimate = result.array("exact"), result.patched
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(exact.values.ravel(), estimate.values.ravel(), s=14, color="#2166ac", alpha=0.7)
    ends = [float(min(exact.min(), estimate.min())), float(max(exact.max(), estimate.max()))]
    axes.plot(ends, ends, color="#777777", linewidth=0.8)
    metric = result.experiment["metric"]
    axes.set_xlabel(f"exact: {metric} after the patch")
    axes.set_ylabel("estimate")
    title, found = "stopped before anything could be compared", result.details
    if nothing_moved(result):
        title = "nothing moves: there are no strongest places to find"
    elif "recall" in found:
        recall = f"{percent(found['recall'])} of the {found['most']} strongest found"
        title = f"correlation {found.get('correlation', float('nan')):.2f}; {recall}"
    axes.set_title(title, loc="left", fontsize=10)
    return figure


def draw_curve(result: Result) -> Figure:
    """Faithfulness against size: the circuit, its complement, and random circuits."""
    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    known = has_scale(result)
    kept, complement, random = (
        result.array(name).where(known) for name in ("faithfulness", "complement", "random")
    )
    sizes = kept["size"].values
    for sample in random.transpose("sample", "size").values:
        axes.plot(sizes, sample, color="#999999", linewidth=0.8, label="random")
    axes.plot(sizes, complement, color="#b2182b", label="all but the circuit")
    axes.plot(sizes, kept, color="#2166ac", marker="o", label="circuit")
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter("{x:,.0f}")  # Matplotlib's own would be formulas.
    axes.axhline(0, color="#444444", linewidth=0.8)
    axes.axhline(1, color="#444444", linewidth=0.8, linestyle=":")
    axes.set_xlabel("edges")
    axes.set_ylabel("faithfulness")
    title = "no area: nothing was measured"
    if not known:
        title = "no area: the gap is too small to share out"
    elif "area" in result.details:
        title = f"area {result.details['area']:.2f}"
    axes.set_title(title, loc="left", fontsize=10)
    lines, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, lines, strict=True))
    axes.legend(unique.values(), unique.keys())
    return figure


def save_circuit(
    edges: Sequence[tuple[str, str]], scores: Sequence[float], path: str | Path
) -> None:
    """Draw a circuit's edges to `path`. Raises OutputError for another suffix."""
    _save(draw_circuit(edges, scores), path)


def draw_circuit(edges: Sequence[tuple[str, str]], scores: Sequence[float]) -> Figure:
    """A graph of edges: layers from the bottom up, width by |score|, colour by sign."""
    placed = layout(edges)
    at, rows = placed.at, placed.rows
    figure = Figure(figsize=(8, max(3.0, 0.7 * len(rows))), layout="constrained")
    axes = figure.add_subplot()
    strongest = max((abs(score) for score in scores), default=1.0) or 1.0
    for (sender, receiver), score in zip(edges, scores, strict=True):
        (x, y), (to_x, to_y) = at[sender], at[target_of(receiver)]
        color = LOWERS if score < 0 else RAISES
        axes.add_patch(
            FancyArrowPatch(
                (x, y),
                (to_x, to_y),
                arrowstyle="-",
                connectionstyle="arc3,rad=0.12",
                color=color,
                linewidth=0.4 + 4 * abs(score) / strongest,
                alpha=0.6,
            )
        )
    axes.set_xlim(-0.1, 1.1)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    for name, (x, y) in at.items():
        axes.text(
            x,
            y,
            name,
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "#777777"},
        )
    axes.set_axis_off()
    axes.set_title(
        f"{len(edges)} edges; blue: corrupting it lowers the metric", loc="left", fontsize=10
    )
    return figure


def draw_bars(result: Result) -> Figure:
    """The metric of the clean, the corrupted and the patched run, for places taken together."""
    done = result.experiment
    changed, what = "patched", done["direction"].capitalize()
    if "ablation" in done:
        changed, what = "ablated", f"Ablation ({done['ablation']})"
    figure = Figure(figsize=(5.2, 2.4), layout="constrained")
    axes = figure.add_subplot()
    values = [result.clean.metric, float(result.patched.mean()), result.corrupt.metric]
    bars = axes.barh(
        ["clean", changed, "corrupted"], values, color=["#2166ac", "#777777", "#b2182b"]
    )
    axes.bar_label(bars, fmt="%.3g", padding=3)
    axes.margins(x=0.18)
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.invert_yaxis()
    places = ", ".join(done["places"])
    shown = places if len(places) < 50 else places[:47] + "..."
    axes.set_title(f"{what}: {shown}", loc="left", fontsize=10)
    axes.set_xlabel(done["metric"])
    return figure


def _scale(grid: Grid) -> tuple[float, float]:
    return (-grid.limit, grid.limit) if grid.centred else (grid.low, grid.high)


def _label_axes(axes: Axes, grid: Grid) -> None:
    n_rows, n_columns = grid.values.shape
    every = max(1, n_columns // 40)
    columns = [shortened(label) for label in grid.columns[::every]]
    axes.set_xticks(range(0, n_columns, every), columns, rotation=60, ha="right", fontsize=8)
    every = max(1, n_rows // 48)
    rows = [shortened(label) for label in grid.rows[::every]]
    axes.set_yticks(range(0, n_rows, every), rows, fontsize=8)
    axes.set_ylabel(grid.row_title)


def _write_numbers(axes: Axes, grid: Grid) -> None:
    for (row, column), value in np.ndenumerate(grid.values):
        if np.isfinite(value):
            color = "white" if _is_dark(color_of(value, grid)) else "black"
            shown = short(float(value))
            axes.text(column, row, shown, ha="center", va="center", fontsize=7, color=color)


def color_of(value: float, grid: Grid) -> tuple[float, float, float]:
    """Red, green and blue (0 to 1) of a cell."""
    low, high = _scale(grid)
    colors = DIVERGING if grid.centred else SEQUENTIAL
    red, green, blue, _ = colors((value - low) / ((high - low) or 1.0))
    return red, green, blue


def _is_dark(color: tuple[float, float, float]) -> bool:
    red, green, blue = color
    return 255 * (0.299 * red + 0.587 * green + 0.114 * blue) < 140


def _baselines(result: Result) -> str:
    metric = result.experiment["metric"]
    return f"{metric}: clean {result.clean.metric:.3g}, corrupted {result.corrupt.metric:.3g}"
