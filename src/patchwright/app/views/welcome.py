"""The first visit: three steps at the real controls, until the visitor has done them or closes it."""

from html import escape

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import session_state
from patchwright.app.terms import with_definitions
from patchwright.lessons import built_in_lessons
from patchwright.prompts.tokens import visible

SEEN = "welcomed"
"""Set once the strip was closed, or a cell was chosen."""


def show(runs: Result) -> None:
    """What to do first, with what the model says on this pair; nothing to who has done it."""
    now = st.session_state
    if now["chosen"] or now.get(SEEN) or now.get("opened_on") is None:
        now[SEEN] = True
        return
    firsts = [str(run.top[0]["token"]).strip() for run in (runs.clean, runs.corrupt)]
    says = [f"<code>{escape(visible(one))}</code>" for one in firsts]
    text, room = st.container(key="welcome").columns([10, 4], vertical_alignment="center")
    steps = with_definitions(
        f"<b>1</b> After A the model says <b>{says[0]}</b>; one word changed, after B it says "
        f"<b>{says[1]}</b>. <b>2</b> Each cell copies one inner state of the model from A into B: "
        "click a red one. <b>3</b> Read beside the map what the copy does."
    )
    text.html(f'<div class="pw-steps">{steps}</div>')
    acts = {"Try your own": _try_own_prompts, "Start lesson 1": _start_lesson, "Close": _close}
    with room.container(horizontal=True, horizontal_alignment="right", gap="small"):
        for label, act in acts.items():
            st.button(label, on_click=act)


def _try_own_prompts() -> None:
    session_state.empty_prompts(st.session_state)
    _close()


def _start_lesson() -> None:
    st.session_state.update(lesson=built_in_lessons()[0].name, step=1, go_to="learn")
    _close()


def _close() -> None:
    st.session_state[SEEN] = True
