"""A circuit for print: a graph whose layers grow upward, its edges by what they do."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from patchwright.edges import layer_and_head
from patchwright.figures.circuit_layout import LOWERS, RAISES, Layout, layout
from patchwright.figures.sheet import (
    POINTS,
    SMALL,
    TEXT,
    add_title,
    empty_figure,
    fit_height,
    print_settings,
    text_width,
)
from patchwright.figures.style import DEFAULT_STYLE, FigureStyle

_ROW, _LEAST_ROW, _TALLEST = 26.0, 11.0, 560.0
"""Points from one row of nodes to the next, the least of them, and about the most of all rows."""
_BOX = {
    "boxstyle": "round,pad=0.3",
    "facecolor": "white",
    "edgecolor": "#777777",
    "linewidth": 0.5,
}
_MEANING = {
    LOWERS: "corrupting it lowers the metric",
    RAISES: "corrupting it raises the metric",
}


def draw_circuit(
    edges: Sequence[tuple[str, str]], scores: Sequence[float], style: FigureStyle = DEFAULT_STYLE
) -> Figure:
    """A graph of edges: layers from the bottom up, width by |score|, colour by sign."""
    placed = layout(edges)
    with print_settings():
        figure = empty_figure(style, 3.0)
        axes = figure.add_subplot()
        _draw_edges(axes, scores, placed)
        for name, (x, y) in placed.at.items():
            axes.text(x, y, _node_label(name), ha="center", va="center", fontsize=SMALL, bbox=_BOX)
        axes.set_xlim(-0.1, placed.width + 0.1)
        axes.set_ylim(-0.5, len(placed.rows) - 0.5)
        axes.set_yticks(range(len(placed.rows)), placed.rows)
        axes.tick_params(length=0)
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        _add_legend(figure, scores)
        if style.title:
            add_title(figure, f"The circuit's {len(edges):,} edges")
        rows = max(2, len(placed.rows))
        fit_height(figure, axes, rows * max(_LEAST_ROW, min(_ROW, _TALLEST / rows)))
    return figure


def _draw_edges(axes: Axes, scores: Sequence[float], placed: Layout) -> None:
    strongest = max((abs(score) for score in scores), default=1.0) or 1.0
    for lane, score in zip(placed.lanes, scores, strict=True):
        axes.add_patch(
            PathPatch(
                _lane_path(lane),
                fill=False,
                edgecolor=LOWERS if score < 0 else RAISES,
                linewidth=0.3 + 2.2 * abs(score) / strongest,
                alpha=0.6,
            )
        )


def _lane_path(lane: Sequence[tuple[float, int]]) -> Path:
    """A line through these points that is upright at each of them."""
    points, codes = list[tuple[float, float]](lane[:1]), [Path.MOVETO]
    for (x, y), (to_x, to_y) in pairwise(lane):
        middle = (y + to_y) / 2
        points += [(x, middle), (to_x, middle), (to_x, to_y)]
        codes += [Path.CURVE4] * 3
    return Path(points, codes)


def _add_legend(figure: Figure, scores: Sequence[float]) -> None:
    """What the colours mean that there are."""
    there = dict.fromkeys(LOWERS if score < 0 else RAISES for score in scores)
    lines = [Line2D([], [], color=color) for color in there]
    texts = [_MEANING[color] for color in there]
    room = POINTS * figure.get_figwidth()
    beside = sum(text_width(text, TEXT) + 5 * TEXT for text in texts) < room
    figure.legend(lines, texts, loc="outside lower center", ncols=2 if beside else 1)


def _node_label(node: str) -> str:
    """A node beside the name of its row: the number of a head."""
    layer, head = layer_and_head(node)
    return str(head) if head is not None else node if layer is None else "MLP"
