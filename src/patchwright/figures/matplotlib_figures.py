"""Figures for paper and slides: which a result has, drawn to PNG, SVG or PDF."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale
from patchwright.algorithms.statistics import stored_statistics
from patchwright.atomic_files import write_atomic
from patchwright.errors import InputError
from patchwright.figures.captions import caption_of
from patchwright.figures.chart_figures import (
    agreement_text,
    baselines_text,
    draw_bars,
    draw_curve,
    draw_intervals,
    draw_layer_lines,
    draw_scatter,
    open_circle_note,
)
from patchwright.figures.circuit_figure import draw_circuit
from patchwright.figures.comparison import comparison_grids
from patchwright.figures.fonts import MissingCharactersWarning, missing_characters_text
from patchwright.figures.formats import check_format
from patchwright.figures.grid import (
    Grid,
    asked_of,
    grid_of,
    grids_of,
    is_one_number,
    on_one_scale,
    title_of,
    title_of_all,
    unit_of,
)
from patchwright.figures.heat_map_figure import draw_grids
from patchwright.figures.sheet import render_figure
from patchwright.figures.style import DEFAULT_STYLE, FigureStyle
from patchwright.methods.trace import Trace


@dataclass(frozen=True)
class Drawing:
    """One figure of some results: how it is drawn, and what its caption says that it shows."""

    name: str
    results: tuple[Result, ...]
    draw: Callable[[FigureStyle], Figure]
    shows: str = ""

    def file(self, suffix: str, style: FigureStyle) -> tuple[bytes, str]:
        """The bytes of a file, the same every time, and a sentence on what no font has, or ''."""
        content, lacking = render_figure(self.draw(style), suffix)
        return content, missing_characters_text(lacking, suffix != "svg") if lacking else ""

    def caption(self, format: str) -> str:
        """What it shows, as `Result.caption` says it."""
        return caption_of(self.results, format, self.shows)


def drawing_of(*results: Result) -> Drawing:
    """The figure of a result, or of several on one scale. Raises InputError where they have none."""
    if len(results) > 1:
        _check_alike(results)
    return Drawing(
        "Map" if len(results) == 1 else "Panels",
        results,
        lambda style: draw_result(*results, style=style),
    )


def drawings_of(result: Result) -> list[Drawing]:
    """All figures that a result has, the main one first."""
    found, one = [drawing_of(result)], (result,)
    if "accumulated" in result.arrays:
        shows = "Logit difference as each layer's output reads, at the last token"
        found.append(Drawing("By layer", one, lambda style: draw_layer_lines(result, style), shows))
    if "exact" in result.arrays:
        shows = f"Exact effects against their estimates, {agreement_text(result)}"
        found.append(Drawing("Exact", one, lambda style: draw_scatter(result, style), shows))
    statistics = stored_statistics(result)
    if statistics is not None and (statistics.array != "effect" or has_scale(result)):
        shows = (
            f"The strongest places with their intervals over pairs; {open_circle_note(statistics)}"
        )
        found.append(Drawing("Intervals", one, lambda style: draw_intervals(result, style), shows))
    return found


def circuit_drawing(
    edges: Sequence[tuple[str, str]], scores: Sequence[float], result: Result
) -> Drawing:
    """The graph of a circuit that `result` was about."""
    shows = f"The circuit's {len(edges):,} edges; wider lines have larger scores"
    return Drawing("Graph", (result,), lambda style: draw_circuit(edges, scores, style), shows)


def draw_result(*results: Result, style: FigureStyle = DEFAULT_STYLE) -> Figure:
    """The figure of a result: its panels on one scale, its bars or its curve; or panels of several."""
    first = results[0]
    if len(results) == 1 and is_one_number(first):
        return draw_bars(first, style)
    if len(results) == 1 and first.method == "evaluate_circuit":
        return draw_curve(first, style)
    found = stored_statistics(first)
    grids = _panels(results)
    note = baselines_text(first)
    if found is not None and any(grid.unsure is not None for grid in grids):
        note += f"\n{open_circle_note(found)}"
    return draw_grids(grids, title_of_all(results, " / "), note, style)


def _panels(results: Sequence[Result]) -> list[Grid]:
    """What is drawn, each under the words for its unit."""
    if len(results) == 1 and not _is_windowed(results[0]):
        return [replace(one, unit=unit_of(results[0], one)) for one in grids_of(results[0])]
    _check_alike(results)
    grids = [(one, grid_of(one)) for one in results]
    named = [replace(grid, title=_panel_title(one), unit=unit_of(one, grid)) for one, grid in grids]
    return on_one_scale(named)


def _panel_title(result: Result) -> str:
    asked = asked_of(result)
    return asked.panel_title if isinstance(asked, Trace) else title_of(result)


def _is_windowed(result: Result) -> bool:
    """Whether several layers were restored at once, which the figure has to say."""
    asked = asked_of(result)
    return isinstance(asked, Trace) and asked.window > 1


def _check_alike(results: Sequence[Result]) -> None:
    """Raise InputError unless the results show one thing, so that one colour bar serves them."""
    units = list(dict.fromkeys(unit_of(one, grid_of(one)) for one in results))
    if len(units) > 1:
        raise InputError(
            f"The panels would show different things ({'; '.join(units)}), so they have no common "
            "scale: put results of one method and metric beside each other."
        )


def draw_comparison(one: Result, other: Result, style: FigureStyle = DEFAULT_STYLE) -> Figure:
    """Two results and their difference (`figures.comparison`). Raises InputError where they have none."""
    notes = "\n".join(dict.fromkeys((baselines_text(one), baselines_text(other))))
    grids = [replace(grid, unit=unit_of(one, grid)) for grid in comparison_grids(one, other)]
    return draw_grids(grids, title_of_all((one, other), " / "), notes, style)


def image_bytes(result: Result, suffix: str, style: FigureStyle = DEFAULT_STYLE) -> bytes:
    """The figure of a result as a file's bytes, the same every time."""
    return render_figure(draw_result(result, style=style), suffix)[0]


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure; warn, as MissingCharactersWarning, of characters that no font has.

    Raises OutputError for a suffix that is not in `formats.FORMATS`.
    """
    suffix = check_format(path)
    content, lacking = render_figure(figure, suffix)
    write_atomic(path, content)
    if lacking:
        warnings.warn(
            missing_characters_text(lacking, suffix != "svg"),
            MissingCharactersWarning,
            stacklevel=2,
        )
