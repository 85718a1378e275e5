"""Heat maps for print: panels of one sheet, whose cells and labels are as large as the width allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from patchwright.figures.fonts import shortened
from patchwright.figures.grid import Grid, short_number
from patchwright.figures.sheet import (
    POINTS,
    SMALL,
    TEXT,
    add_title,
    empty_figure,
    fit_height,
    print_settings,
    text_width,
    wrapped,
)
from patchwright.figures.style import AMOUNTS, NEGATIVE, POSITIVE, FigureStyle
from patchwright.spelling import run_name, sentence_case

DIVERGING = LinearSegmentedColormap.from_list("effects", [NEGATIVE, "#f7f7f7", POSITIVE], 1023)
SEQUENTIAL = LinearSegmentedColormap.from_list("amounts", AMOUNTS, 1025)

MIN_WRITTEN = 0.05
"""The share, or where numbers are larger the part of the scale, from which on a number is written."""

_LINE_HEIGHT = TEXT + 1.0
"""Points from one line of labels to the next."""
_TALLEST_CELL, _TALLEST, _TALLEST_OF_MANY, _TALLEST_OF_ALL = 14.0, 250.0, 400.0, 520.0
"""Points: of a cell, of a panel, of one whose many rows all have labels, of all panels together."""
_COLORBAR_HEIGHT = 5.0
"""Points that a colour bar is high."""
_AXIS_TITLES = {
    "layer.head": "layer and head",
    "position": "",
    "query": "token that attends",
    "key": "token attended to",
    "all": "",
    "positions": "",
}


@dataclass(frozen=True)
class _PanelLayout:
    """How panels stand on the sheet: how many side by side, and their cells in points."""

    across: int
    cell_width: float
    cell_height: float


def draw_grids(grids: Sequence[Grid], title: str, note: str, style: FigureStyle) -> Figure:
    """Panels side by side, or below each other where their cells would be too narrow."""
    with print_settings():
        plan = _lay_out_panels(grids, style)
        down = len(grids) // plan.across
        figure = empty_figure(
            style, 3.0 + down * (1.5 + plan.cell_height * len(grids[0].rows) / POINTS)
        )
        panels = [figure.add_subplot(down, plan.across, i + 1) for i in range(len(grids))]
        images = [_draw_panel(*one, plan, style) for one in zip(panels, grids, strict=True)]
        _label_panels(panels, grids, plan)
        scales = {(grid.centred, *_color_limits(grid)): i for i, grid in enumerate(grids)}
        for i in scales.values():
            _draw_bar(figure, images[i], panels, grids[i], plan)
        if style.title:
            add_title(figure, title, note)
        fit_height(figure, panels[0], plan.cell_height * len(grids[0].rows), down)
    return figure


def _lay_out_panels(grids: Sequence[Grid], style: FigureStyle) -> _PanelLayout:
    """As many panels side by side as leave cells that a label fits below, else fewer."""
    n_rows = len(grids[0].rows)
    ways = [k for k in range(len(grids), 0, -1) if len(grids) % k == 0]
    widths = {k: _cell_width(grids, k, style) for k in ways}
    written = max(len(text) for grid in grids for row in grid.texts or [[""]] for text in row)
    least = max(_LINE_HEIGHT, SMALL * min(written, 4))
    across = next((k for k in ways if widths[k] >= least), 1)
    down = len(grids) // across
    usual, most = (min(one, _TALLEST_OF_ALL / down) for one in (_TALLEST, _TALLEST_OF_MANY))
    height = min(
        _TALLEST_CELL, max(widths[across], _LINE_HEIGHT), max(_LINE_HEIGHT, usual / n_rows)
    )
    return _PanelLayout(across, widths[across], min(height, most / n_rows))


def _cell_width(grids: Sequence[Grid], across: int, style: FigureStyle) -> float:
    """Points that a cell gets where so many panels stand side by side."""
    shared = all(grid.rows == grids[0].rows for grid in grids)
    labels = 2 * _LINE_HEIGHT + max(text_width(label, TEXT) for label in _row_labels(grids[0]))
    room = POINTS * style.width - labels * (1 if shared else across) - _LINE_HEIGHT * across
    return room / across / len(grids[0].columns)


def _draw_panel(axes: Axes, grid: Grid, plan: _PanelLayout, style: FigureStyle) -> AxesImage:
    low, high = _color_limits(grid)
    axes.set_facecolor("#d9d9d9")
    image = axes.imshow(
        np.ma.masked_invalid(grid.values),
        cmap=_colormap(grid),
        vmin=low,
        vmax=high,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    if grid.title:
        room = plan.cell_width * len(grid.columns)
        axes.set_title(wrapped(sentence_case(run_name(grid.title)), TEXT, room), parse_math=False)
    _separate_layers(axes, grid)
    if style.numbers:
        _write_cells(axes, grid, plan)
    if grid.unsure is not None:
        _mark_unsure(axes, grid, grid.unsure, plan)
    return image


def _draw_bar(
    figure: Figure, image: AxesImage, panels: Sequence[Axes], grid: Grid, plan: _PanelLayout
) -> None:
    """A colour bar below all panels and as long as they are wide."""
    n_rows, n_columns = grid.values.shape
    length = plan.across * n_columns * plan.cell_width
    height = len(panels) // plan.across * n_rows * plan.cell_height
    bar = figure.colorbar(
        image,
        ax=panels,
        location="bottom",
        pad=0.02,
        fraction=min(0.9, 1.2 * _COLORBAR_HEIGHT / height),
        aspect=max(4.0, length / _COLORBAR_HEIGHT),
    )
    bar.set_label(wrapped(grid.unit, TEXT, POINTS * figure.get_figwidth() * 0.8))
    bar.ax.locator_params(nbins=5)


def _label_panels(panels: Sequence[Axes], grids: Sequence[Grid], plan: _PanelLayout) -> None:
    """Labels at the left and at the bottom; between panels only where theirs are other ones."""
    for i, (axes, grid) in enumerate(zip(panels, grids, strict=True)):
        below, left = i + plan.across, i - i % plan.across
        last = below >= len(grids) or grids[below].columns != grid.columns
        first = i == left or grids[left].rows != grid.rows
        _label_columns(axes, grid, plan, last)
        _label_rows(axes, grid, plan, first)


def _label_columns(axes: Axes, grid: Grid, plan: _PanelLayout, named: bool) -> None:
    step = max(1, ceil(_LINE_HEIGHT / plan.cell_width))
    at = _pick_labels(grid.columns, step)
    labels = [shortened(grid.columns[i]) for i in at]
    # Upright where they fit above each other's neighbours.
    lying = max(text_width(label, TEXT) for label in labels) + 2 <= step * plan.cell_width
    axes.set_xticks(at, labels if named else [""] * len(labels), rotation=0 if lying else 90)
    if named:
        axes.set_xlabel(_AXIS_TITLES.get(grid.column_title, grid.column_title))


def _pick_labels(labels: Sequence[str], step: int) -> list[int]:
    """Which labels are written, at least `step` apart: first those where the prompts differ."""
    kept: list[int] = []
    differing = [i for i, label in enumerate(labels) if "→" in label]
    for i in [*differing, *range(0, len(labels), step), *range(len(labels))]:
        if all(abs(i - other) >= step for other in kept):
            kept.append(i)
    return sorted(kept)


def _label_rows(axes: Axes, grid: Grid, plan: _PanelLayout, named: bool) -> None:
    labels, title = _row_labels(grid), _AXIS_TITLES.get(grid.row_title, grid.row_title)
    step = max(1, ceil(_LINE_HEIGHT / plan.cell_height))
    at, labels = np.arange(len(labels), dtype=float)[::step], labels[::step]
    if grid.row_title == "layer.head" and plan.cell_height < _LINE_HEIGHT:
        layers = [label.split(".")[0] for label in grid.rows]
        names = list(dict.fromkeys(layers))
        at = np.array(
            [np.mean([i for i, one in enumerate(layers) if one == name]) for name in names]
        )
        step = max(1, ceil(_LINE_HEIGHT / (plan.cell_height * len(layers) / len(names))))
        at, labels, title = at[::step], names[::step], "layer, its heads upward"
    axes.set_yticks(at, labels if named else [""] * len(labels))
    if named:
        axes.set_ylabel(title)


def _row_labels(grid: Grid) -> list[str]:
    return [shortened(label, 18) for label in grid.rows]


def _separate_layers(axes: Axes, grid: Grid) -> None:
    """Lines between the layers of a map whose rows are heads."""
    if grid.row_title != "layer.head":
        return
    layers = [label.split(".")[0] for label in grid.rows]
    for i, (one, other) in enumerate(pairwise(layers)):
        if one != other:
            axes.axhline(i + 0.5, color="#888888", linewidth=0.4)


def _write_cells(axes: Axes, grid: Grid, plan: _PanelLayout) -> None:
    """Numbers, or the texts that stand in their place, in cells that have room for all of them."""
    texts = (
        _number_texts(grid)
        if grid.texts is None
        else _truncated_texts(grid.texts, grid, plan.cell_width - 2)
    )
    widest = max((text_width(one, SMALL) for one in texts.values()), default=0.0)
    if plan.cell_height < SMALL or widest > plan.cell_width - 1:
        return
    for (row, column), text in texts.items():
        color = _text_color(grid, row, column)
        written = axes.text(column, row, text, fontsize=SMALL, color=color, parse_math=False)
        written.set(ha="center", va="center_baseline")


def _number_texts(grid: Grid) -> dict[tuple[int, int], str]:
    """The numbers that matter, by cell."""
    least = MIN_WRITTEN * (grid.limit if grid.limit > 2 else 1.0)
    cells = np.argwhere(np.abs(np.nan_to_num(grid.values)) > least).tolist()
    return {(row, column): _number_text(float(grid.values[row, column])) for row, column in cells}


def _number_text(value: float) -> str:
    return short_number(value).replace("-", "−")


def _truncated_texts(texts: list[list[str]], grid: Grid, room: float) -> dict[tuple[int, int], str]:
    """The texts of the cells, as much of each as fits; none where that is less than a few letters."""
    if room < 3 * SMALL:
        return {}
    cells = np.argwhere(np.isfinite(grid.values)).tolist()
    return {(row, column): truncated(texts[row][column], SMALL, room) for row, column in cells}


def truncated(text: str, size: float, room: float) -> str:
    """`text`, or its beginning and an ellipsis, at most `room` points wide."""
    if text_width(text, size) <= room:
        return text
    while text and text_width(f"{text}…", size) > room:
        text = text[:-1]
    return f"{text}…"


def _mark_unsure(axes: Axes, grid: Grid, cells: NDArray[np.bool_], plan: _PanelLayout) -> None:
    """A small open circle in a corner of the cells that do not differ from zero."""
    for row, column in np.argwhere(cells & np.isfinite(grid.values)).tolist():
        axes.plot(
            column + 0.38,
            row + 0.34,
            marker="o",
            markersize=min(2.2, 0.3 * min(plan.cell_width, plan.cell_height)),
            fillstyle="none",
            color=_text_color(grid, row, column),
            markeredgewidth=0.4,
        )


def _text_color(grid: Grid, row: int, column: int) -> str:
    """The colour of what is written on a cell."""
    return "white" if is_dark(color_of(float(grid.values[row, column]), grid)) else "black"


def color_of(value: float, grid: Grid) -> tuple[float, float, float]:
    """Red, green and blue (0 to 1) of a cell."""
    low, high = _color_limits(grid)
    red, green, blue, _ = _colormap(grid)((value - low) / ((high - low) or 1.0))
    return red, green, blue


def is_dark(color: tuple[float, float, float]) -> bool:
    """Whether white is read better on it than black."""
    red, green, blue = color
    return 255 * (0.299 * red + 0.587 * green + 0.114 * blue) < 140


def _colormap(grid: Grid) -> LinearSegmentedColormap:
    return DIVERGING if grid.centred else SEQUENTIAL


def _color_limits(grid: Grid) -> tuple[float, float]:
    return (-grid.limit, grid.limit) if grid.centred else (grid.low, grid.high)
