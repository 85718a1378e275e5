"""Fields to type into: what is too long is said, and nothing that was typed is dropped.

Streamlit's own `max_chars` gives a field its old text back without a word.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.app.session_state import check_lengths

T = TypeVar("T")

KEPT: dict[str, Any] = {"persist_state": "session"}
"""For every control: Streamlit forgets the others where the page is turned while it is drawn."""


UNLABELLED: dict[str, Any] = {"label_visibility": "collapsed"}
"""For a control whose label only screen readers need, since what it is stands beside it."""


def text_area(
    place: DeltaGenerator, label: str, key: str, height: int | Literal["content"] = 80, **more: Any
) -> None:
    """A field of several lines."""
    place.text_area(label, key=key, height=height, **KEPT, **more)


def text_input(place: DeltaGenerator, label: str, key: str, **more: Any) -> None:
    """A field of one line."""
    place.text_input(label, key=key, **KEPT, **more)


def number_input(
    place: DeltaGenerator, label: str, low: float, high: float, key: str, **more: Any
) -> None:
    """A field for a number; for a whole one where both bounds are."""
    place.number_input(label, low, high, key=key, **KEPT, **more)


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
        key=key,
        format_func=str if names is None else names.__getitem__,
        **KEPT,
        **more,
    )
    return st.session_state[key]


def check(labels: Mapping[str, str]) -> None:
    """Raise PromptError for the first field, by its key, with more text than the page takes."""
    check_lengths(st.session_state, labels)
