"""The view for the projector: a large map with its question and no controls; Escape leaves it."""

from pathlib import Path

import streamlit as st

VIEW = "projector"
"""What the address calls it."""

HIDDEN = """
:root { --inspector: none; --columns: minmax(0, 1fr); }
[data-testid="conclusion"] { display: none !important; }
"""
"""The style that hides what the class is to predict."""


def on() -> bool:
    """Whether the page is shown so."""
    return st.session_state["view"] == VIEW


def revealed() -> bool:
    """Whether what the class was to predict is shown."""
    return bool(st.session_state.get("revealed"))


def button() -> None:
    """The button that leads there."""
    st.button(
        "Projector",
        icon=":material/present_to_all:",
        key="open-projector",
        on_click=_turn,
        args=(VIEW,),
        help="A large map with its question and no controls. Escape leads back.",
    )


def frame() -> None:
    """Where the page is shown so: what hides the rest of it, and the two buttons that are left."""
    if not on():
        return
    style = Path(__file__).parents[1].joinpath("projector.css").read_text(encoding="utf-8")
    st.html(f"<style>{style}{'' if revealed() else HIDDEN}</style>")
    with st.container(horizontal=True, horizontal_alignment="right", key="projector"):
        st.button(
            "Hide" if revealed() else "Reveal",
            type="primary",
            on_click=_reveal,
            help="The answer and what is known of the selected cell.",
        )
        st.button("Leave", type="tertiary", shortcut="Esc", on_click=_turn, args=("",))


def _turn(view: str) -> None:
    st.session_state.update(view=view, revealed=False)


def _reveal() -> None:
    st.session_state["revealed"] = not revealed()
