"""The workbench: a map, what is known of its selected cell, the set of places, and progress."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from patchwright.app.widgets.heat_map import read_widget_file, script
from patchwright.app.widgets.message import pack_message

ACTIONS = ("place", "add", "drop", "pin", "zoom", "threshold", "edges", "stop", "like", "pair")
"""What a person can do in it; each comes with a place, a number, or the word itself."""


@st.cache_resource
def _component() -> Any:
    return component(
        "patchwright_workbench",
        html=read_widget_file("workbench.html"),
        css=read_widget_file("workbench.css"),
        js=script(),
    )


def workbench(data: Mapping[str, Any], key: str, acts: Mapping[str, Callable[[Any], None]]) -> None:
    """Show `data` (`maps` or a `graph`, `inspector`, `set`, `progress`, `state`), and call what a person does.

    It keeps its place under the pointer from the first cell of a sweep to the last.
    """

    def handler_for(what: str) -> Callable[[], None]:
        def call() -> None:
            value = getattr(st.session_state[key], what)
            if value is not None:
                acts[what](value)

        return call

    _component()(
        data=pack_message(data),
        key=key,
        **{f"on_{what}_change": handler_for(what) for what in ACTIONS},
    )
