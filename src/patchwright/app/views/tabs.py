"""The tabs of Explore: one experiment and one selection, seen by several methods."""

import streamlit as st

from patchwright.app.text import escape_typed

TABS = {
    "patch": "Patch",
    "ablation": "Ablate",
    "activations": "Compare activations",
    "attention": "Attention",
    "lens": "Logit lens",
    "trace": "Causal trace",
    "paths": "Paths",
    "circuit": "Circuit",
}
"""The pages that are tabs, with what they are called."""


def show_heading(title: str) -> None:
    """Tell screen readers which page this is; the bar and the tabs show it to everyone else."""
    st.container(key="heading").html(f"<h1>{title}</h1>")


def show(now: str) -> None:
    """Draw the tabs, with the note of the experiment below them."""
    show_heading(TABS[now])
    if "pages" not in st.session_state:
        return
    with st.container(horizontal=True, gap="xxsmall", key="tabs"):
        for page, label in TABS.items():
            st.page_link(st.session_state["pages"][page], label=label)
    with st.container():
        if note := st.session_state["note"].strip():
            st.caption(f"Note: {escape_typed(note)}")
