"""Take it away: figures, tables, and programs that give the same numbers again."""

from collections.abc import Callable

import streamlit as st

from patchwright.figures.printed import image
from patchwright.keep.export import csv_text, notebook_text, script_text
from patchwright.methods.result import Result


def away(result: Result) -> None:
    """One button a format; the file is made when it is asked for."""
    st.subheader("Take it away", anchor=False)
    files: dict[str, tuple[str, str, Callable[[], str | bytes]]] = {
        "PNG": ("figure.png", "image/png", lambda: image(result, "png")),
        "SVG": ("figure.svg", "image/svg+xml", lambda: image(result, "svg")),
        "PDF": ("figure.pdf", "application/pdf", lambda: image(result, "pdf")),
        "CSV": ("cells.csv", "text/csv", lambda: csv_text(result)),
        "JSON": ("result.json", "application/json", lambda: result.to_json()),
        "Python": ("experiment.py", "text/x-python", lambda: script_text(result)),
        "Notebook": (
            "experiment.ipynb",
            "application/x-ipynb+json",
            lambda: notebook_text(result),
        ),
    }
    with st.container(horizontal=True):
        for name, (file, kind, content) in files.items():
            st.download_button(
                name, content, f"patchwright-{result.method}-{file}", kind, key=f"take-{name}",
                on_click="ignore",
            )  # fmt: skip
    st.caption("The address of this page holds the experiment: copy it to share what you see.")
