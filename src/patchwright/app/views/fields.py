"""Fields to type into: what is too long is said, and nothing that was typed is dropped.

Streamlit's own `max_chars` gives a field its old text back without a word.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.app.session_state import check_lengths

T = TypeVar("T")

DRAWN, SHOWN = "fields_drawn", "fields_shown"
"""Where the session notes the controls that this run has drawn, and those of the last whole run."""


def begin() -> None:
    """Note that a run of the page begins."""
    st.session_state[DRAWN] = set()


def end() -> None:
    """Note that a run of the page has drawn all of it."""
    st.session_state[SHOWN] = st.session_state[DRAWN]


def persistent_key(key: str) -> dict[str, Any]:
    """The key of a control and what keeps its value; every control has it.

    Streamlit forgets other controls where the page is turned while it is drawn. And it does not send
    the value of one that comes back if the browser still named it in its last request: the browser
    then shows it empty, and that empty value replaces what was typed. So the value is set again
    for each control that the last whole run did not draw.
    """
    now = st.session_state
    if DRAWN in now:
        now[DRAWN].add(key)
        if key in now and key not in now.get(SHOWN, {key}):
            now[key] = now[key]
    return {"key": key, "persist_state": "session"}


UNLABELLED: dict[str, Any] = {"label_visibility": "collapsed"}
"""For a control whose label only screen readers need, since what it is stands beside it."""


def text_area(
    place: DeltaGenerator, label: str, key: str, height: int | Literal["content"] = 80, **more: Any
) -> None:
    """A field of several lines."""
    place.text_area(label, height=height, **persistent_key(key), **more)


def text_input(place: DeltaGenerator, label: str, key: str, **more: Any) -> None:
    """A field of one line."""
    place.text_input(label, **persistent_key(key), **more)


def number_input(
    place: DeltaGenerator, label: str, low: float, high: float, key: str, **more: Any
) -> None:
    """A field for a number; for a whole one where both bounds are."""
    place.number_input(label, low, high, **persistent_key(key), **more)


def choice(
    place: DeltaGenerator,
    label: str,
    options: Sequence[T],
    key: str,
    names: Mapping[T, str] | None = None,
    usual: T | None = None,
    **more: Any,
) -> T:
    """One of `options`, shown by its name; `usual`, else the first, where none is chosen yet.

    The browser answers with what an option is called. So a name never changes with anything
    else, and an option that is not there any more, as of another model, gives way to the usual.
    """
    if st.session_state.get(key) not in options:
        st.session_state[key] = options[0] if usual is None else usual
    place.selectbox(
        label,
        options,
        format_func=str if names is None else names.__getitem__,
        **persistent_key(key),
        **more,
    )
    return st.session_state[key]


def check(labels: Mapping[str, str]) -> None:
    """Raise PromptError for the first field, by its key, with more text than the page takes."""
    check_lengths(st.session_state, labels)
