"""The examples of the Library, by subject: what each shows, which models it suits, and a way in."""

import streamlit as st

from patchwright.app import session_state
from patchwright.app.text import escape
from patchwright.prompts.examples import Example, examples
from patchwright.spelling import plural


def show() -> None:
    """Two columns of subjects, each with its examples."""
    search: str = st.session_state["search"]
    subjects = examples_by_subject(search)
    total = sum(map(len, subjects.values()))
    told = plural(total, "example") if total else "No example"
    st.caption(f"{told} with all these words." if search.strip() else f"{told}, by subject.")
    room, used = st.columns(2, gap="large"), 0
    for subject, group in subjects.items():
        with room[0 if 2 * used < total else 1]:
            st.markdown(f"**{escape(subject.capitalize())}**")
            for one in group:
                _show_example(one)
        used += len(group)


def examples_by_subject(search: str) -> dict[str, list[Example]]:
    """The examples that have every word of `search`, by subject, in the order of the library."""
    words, found = search.casefold().split(), dict[str, list[Example]]()
    for one in examples():
        said = " ".join((one.title, one.task, one.look_for, *one.models, str(one.pair.clean)))
        if all(word in said.casefold() for word in words):
            found.setdefault(one.task, []).append(one)
    return found


def model_for(one: Example, now: str) -> str:
    """The model that an example opens on: the chosen one where it suits it, else its first."""
    return now if now in one.models else one.models[0]


def _show_example(one: Example) -> None:
    with st.container(gap=None, key=f"example-row-{one.id}"):
        model = model_for(one, session_state.model_of(st.session_state))
        st.button(
            escape(one.title),
            key=f"open-example-{one.id}",
            type="tertiary",
            icon=":material/open_in_new:",
            on_click=_open,
            args=(one.id, model),
            help=f"Opens it on {escape(model)}.",
        )
        st.caption(f"{escape(one.look_for)} Suits {', '.join(map(escape, one.models))}.")


def _open(name: str, model: str) -> None:
    """Put an example's prompts into the controls, on a model that it suits, and go to Explore."""
    now = st.session_state
    if model != session_state.model_of(now):
        session_state.set_controls(now, {"model": model})
    session_state.take_example(now, name)
    now["go_to"] = "patch"
