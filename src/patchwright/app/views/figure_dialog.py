"""The dialog for a printed figure: its width and what is written in it, a preview, its caption."""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial

import streamlit as st

from patchwright.app.text import escape
from patchwright.app.views.file_button import file_button
from patchwright.figures.formats import FORMATS
from patchwright.figures.matplotlib_figures import Drawing
from patchwright.figures.style import DEFAULT_STYLE, WIDTHS, FigureStyle

DOTS = 96
"""Of a screen, an inch: the preview is about as large as the figure in print."""
KINDS = {"pdf": "application/pdf", "svg": "image/svg+xml", "png": "image/png"}
SWITCHES = {"title": "Title", "numbers": "Numbers"}
CAPTIONS = {"latex": "Caption for LaTeX", "text": "Caption as text"}


def show_button(drawings: Sequence[Drawing], method: str) -> None:
    """The button that opens the dialog; `method` is part of the files' names."""
    if st.button("Figure", icon=":material/image:", key="open-figure", help="Draw it for print."):
        _show_dialog(drawings, method)


@st.dialog("Figure for print", width="large")
def _show_dialog(drawings: Sequence[Drawing], method: str) -> None:
    drawing = _select_drawing(drawings)
    style = _select_style()
    png, lacking = drawing.file("png", style)
    st.image(png, width=round(DOTS * style.width))
    if lacking:
        st.warning(escape(lacking))
    with st.container(horizontal=True):
        for suffix in sorted(FORMATS):
            file_button(
                suffix.upper(),
                partial(_bytes, drawing, suffix, style),
                f"patchwright-{method}-figure.{suffix}",
                KINDS[suffix],
                f"take-{suffix}",
            )
    for tab, format in zip(st.tabs(list(CAPTIONS.values())), CAPTIONS, strict=True):
        language = "latex" if format == "latex" else None
        tab.code(drawing.caption(format), language=language, wrap_lines=True)


def _select_drawing(drawings: Sequence[Drawing]) -> Drawing:
    """Which figure, where the result has several."""
    if len(drawings) == 1:
        return drawings[0]
    names = [one.name for one in drawings]
    name = st.radio("What is drawn", names, key="figure-name", horizontal=True)
    return drawings[names.index(name)]


def _select_style() -> FigureStyle:
    """The choices of `FigureStyle`, as they are declared there."""
    names = {inches: f"{inches:g} in: {name}" for name, inches in WIDTHS.items()}
    width = st.radio(
        "Width",
        list(names),
        list(names).index(DEFAULT_STYLE.width),
        key="figure-width",
        format_func=names.__getitem__,
        horizontal=True,
        help=FigureStyle.help_of("width"),
    )
    switches: dict[str, bool] = {}
    with st.container(horizontal=True):
        for one in fields(FigureStyle):
            if one.name in SWITCHES:
                switches[one.name] = st.toggle(
                    SWITCHES[one.name],
                    getattr(DEFAULT_STYLE, one.name),
                    key=f"figure-{one.name}",
                    help=one.metadata["help"],
                )
    return FigureStyle(width, **switches)


def _bytes(drawing: Drawing, suffix: str, style: FigureStyle) -> bytes:
    return drawing.file(suffix, style)[0]
