"""The tabs of Explore: one experiment and one selection, seen by several methods."""

import streamlit as st

from patchwright.app.text import typed

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


def shown(now: str) -> None:
    """Draw the tabs, and say for screen readers which one this is."""
    st.html(f'<h1 class="pw-title">{TABS[now]}</h1>')
    if "pages" not in st.session_state:
        return
    with st.container(horizontal=True, gap="xxsmall", key="tabs"):
        for page, label in TABS.items():
            st.page_link(st.session_state["pages"][page], label=label)
    with st.container():
        if note := st.session_state["note"].strip():
            st.caption(f"Note: {typed(note)}")
