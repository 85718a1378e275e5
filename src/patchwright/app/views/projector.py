"""The view for the projector: a large map with its question and no controls; Escape leaves it."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

VIEW = "projector"
"""What the address calls it."""

HIDDEN = """
:root { --inspector: none; --columns: minmax(0, 1fr); }
[data-testid="conclusion"] { display: none !important; }
"""
"""The style that hides what the class is to predict."""


WITHOUT_TEXT = ".st-key-lesson > :has(> .st-key-lesson-text) { display: none; }"
"""The style that leaves a question alone beside the map of a lesson."""


def is_on() -> bool:
    """Whether the page is shown so."""
    return st.session_state["view"] == VIEW


def is_revealed() -> bool:
    """Whether what the class was to predict is shown."""
    return bool(st.session_state.get("revealed"))


def show_button() -> None:
    """The button that leads there."""
    st.button(
        "Projector",
        icon=":material/present_to_all:",
        key="open-projector",
        on_click=_set_view,
        args=(VIEW,),
        help="A large map with its question and no controls. Escape leads back.",
    )


def show(asks: bool = True) -> None:
    """Where the page is shown so: what hides the rest of it, and the buttons that are left.

    What `asks` nothing has nothing to reveal.
    """
    if not is_on():
        return
    style = Path(__file__).parents[1].joinpath("projector.css").read_text(encoding="utf-8")
    style += ("" if is_revealed() else HIDDEN) + (WITHOUT_TEXT if asks else "")
    st.html(f"<style>{style}</style>")
    with st.container(horizontal=True, horizontal_alignment="right", key="projector"):
        if asks:
            st.button(
                "Hide" if is_revealed() else "Reveal",
                key="projector-reveal",
                type="primary",
                shortcut="V",
                on_click=_toggle_revealed,
                help="The answer and what is known of the selected cell.",
            )
        st.button("Leave", type="tertiary", shortcut="Esc", on_click=_set_view, args=("",))


def show_step_buttons(number: int, steps: int, go: Callable[[int], None]) -> None:
    """The step of a lesson, from 0, and the buttons to those before and behind it."""
    if steps == 1:
        return
    with st.container(
        horizontal=True,
        horizontal_alignment="distribute",
        vertical_alignment="center",
        key="projector-ways",
    ):
        st.button(
            "Previous",
            type="tertiary",
            shortcut="Left",
            disabled=number == 0,
            on_click=go,
            args=(number - 1,),
        )
        st.markdown(f"{number + 1} of {steps}", width="content")
        st.button(
            "Next",
            type="tertiary",
            shortcut="Right",
            disabled=number == steps - 1,
            on_click=go,
            args=(number + 1,),
        )


def _set_view(view: str) -> None:
    st.session_state.update(view=view, revealed=False)


def _toggle_revealed() -> None:
    st.session_state["revealed"] = not is_revealed()
