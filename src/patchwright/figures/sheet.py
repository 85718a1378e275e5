"""The sheet that a figure is printed on: its sizes of type, its height, the bytes of its file."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from threading import RLock
from typing import Any, cast

from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from patchwright.figures.fonts import fit_texts, silence_font_warnings
from patchwright.figures.style import FigureStyle

TITLE, TEXT, SMALL = 8.0, 7.0, 6.0
"""Sizes of type in points, at the width that the figure is printed in."""
POINTS = 72
DPI = 300

_RC_PARAMS: dict[str, Any] = {
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "legend.fontsize": TEXT,
    "figure.titlesize": TITLE,
    "axes.linewidth": 0.6,
    "axes.titlepad": 3.0,
    "axes.labelpad": 2.0,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.minor.size": 1.0,
    "xtick.major.pad": 1.5,
    "ytick.major.pad": 1.5,
    # TrueType: submission checks refuse Type 3. Text stays text in an SVG.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "patchwright",
}
_DRAWING_LOCK = RLock()


@contextmanager
def print_settings() -> Generator[None]:
    """Matplotlib as print wants it; one thread at a time, since its settings are the process's."""
    with _DRAWING_LOCK, rc_context(cast("Any", _RC_PARAMS)):
        yield


def empty_figure(style: FigureStyle, height: float) -> Figure:
    """An empty figure of the printed width, `height` inches high."""
    figure = Figure(figsize=(style.width, height), layout="constrained")
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    assert engine is not None, "it was just named"
    engine.set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)  # pyright: ignore[reportCallIssue]
    return figure


def fit_height(figure: Figure, axes: Axes, wanted: float, rows: int = 1) -> None:
    """Give `axes`, of which `rows` stand one below the other, the height `wanted` in points."""
    unknown = fit_texts(figure, replace=False)
    for _ in range(2):
        with silence_font_warnings(unknown):
            figure.draw_without_rendering()
        lacking = wanted / POINTS - axes.get_window_extent().height / figure.dpi
        figure.set_figheight(figure.get_figheight() + rows * lacking)


def add_title(figure: Figure, title: str, note: str = "") -> None:
    """A title above the figure, and a `note` below it, in as many lines as they need."""
    room = 0.95 * POINTS * figure.get_figwidth()
    figure.suptitle(wrapped(title, TITLE, room), x=0.02, ha="left")
    if note:
        lines = "\n".join(wrapped(line, SMALL, room) for line in note.splitlines())
        figure.supxlabel(lines, x=0.02, ha="left", fontsize=SMALL, color="#444444")


def wrapped(text: str, size: float, room: float) -> str:
    """`text` in lines that are at most `room` points wide, as far as its words allow."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def text_width(text: str, size: float) -> float:
    """How wide a text is, in points; a character that the usual font lacks counts as a square."""
    return size * sum(map(_advance, text))


@lru_cache(maxsize=4096)
def _advance(character: str) -> float:
    font = font_manager.get_font(font_manager.findfont(FontProperties()))
    if not font.get_char_index(ord(character)):
        return 1.0
    font.set_size(100, POINTS)
    return font.load_char(ord(character)).linearHoriAdvance / 65536 / 100


def render_figure(figure: Figure, suffix: str) -> tuple[bytes, str]:
    """A figure as a file's bytes, in which nothing depends on the day, and what no font has."""
    stream = BytesIO()
    with print_settings():
        # Text stays text in an SVG, and its reader may have the font.
        lacking = fit_texts(figure, replace=suffix != "svg")
        dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[suffix]
        with silence_font_warnings(lacking):
            figure.savefig(stream, format=suffix, dpi=DPI, metadata=dated)
    return stream.getvalue(), lacking
