"""The first visit: three steps at the real controls, until the visitor has done them or closes it."""

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import session_state
from patchwright.app.text import token
from patchwright.lessons import built_in

SEEN = "welcomed"
"""Set once the strip was closed, or a cell was chosen."""


def strip(runs: Result) -> None:
    """What to do first, with what the model says on this pair; nothing to who has done it."""
    now = st.session_state
    if now["chosen"] or now.get(SEEN) or now.get("opened_on") is None:
        now[SEEN] = True
        return
    says = [token(str(run.top[0]["token"]).strip()) for run in (runs.clean, runs.corrupt)]
    text, *room = st.container(key="welcome").columns(
        [10, 1.5, 1.6, 0.9], vertical_alignment="center"
    )
    text.markdown(
        f":small[**1** After A the model says **{says[0]}**; one word changed, after B it says "
        f"**{says[1]}**. **2** Each cell copies one inner state of the model from A into B: click a "
        "red one. **3** Read beside the map what the copy does.]"
    )
    acts = {"Try your own": _own, "Start lesson 1": _lesson, "Close": _close}
    for place, (label, act) in zip(room, acts.items(), strict=True):
        place.button(label, on_click=act, width="stretch")


def _own() -> None:
    session_state.empty_prompts(st.session_state)
    _close()


def _lesson() -> None:
    st.session_state.update(lesson=built_in()[0].name, step=1, go_to="learn")
    _close()


def _close() -> None:
    st.session_state[SEEN] = True
