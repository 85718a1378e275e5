"""The palette of commands: a list that is searched by typing, opened by Ctrl-K."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from patchwright.app.widgets.heat_map import read_widget_file


@st.cache_resource
def _component() -> Any:
    html, css, js = (read_widget_file(f"palette.{kind}") for kind in ("html", "css", "js"))
    return component("patchwright_palette", html=html, css=css, js=js)


def palette(commands: Sequence[dict[str, str]], act: Callable[[str], None]) -> None:
    """Offer `commands` (`id`, `group`, `label`, `words`); `act` is called with the chosen id.

    What is typed with a number in it may name a place: `place` and what was typed are its id.
    """
    key = "palette"

    def handle_choice() -> None:
        if given := st.session_state[key].act:
            act(str(given))

    _component()(data={"commands": list(commands)}, key=key, on_act_change=handle_choice)
