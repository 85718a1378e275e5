"""What can be done from the palette (Ctrl-K): every page, example, choice and place by its name."""

import re
from collections.abc import Callable, Mapping

import streamlit as st

from patchwright.app import session_state
from patchwright.app.text import error_markdown
from patchwright.app.views import controls
from patchwright.app.views.tabs import TABS
from patchwright.app.widgets.palette import palette
from patchwright.errors import PatchwrightError
from patchwright.places import check_site, parse_place, pers_of
from patchwright.prompts.examples import examples

PAGES = {**TABS, "many": "Sets", "learn": "Learn", "runs": "Library"}

CHOICES: dict[str, tuple[str, Mapping[str, str]]] = {
    "site": ("What is copied", dict(controls.SITE_NAMES)),
    "metric": ("Metric", controls.METRIC_NAMES),
    "direction": ("Direction", controls.DIRECTION_NAMES),
}
"""Controls of Patch that can be set by name: what each is called, and its values in words."""

_IN_WORDS = re.compile(
    r"(?:layer\s*)?(\d+)(?:[\s.,]+(?:head\s*)?(\d+))?(?:[\s,]+(?:token|position)\s*(-?\d+))?",
    re.IGNORECASE,
)


def shown() -> None:
    """Put the palette's button into the bar at the top."""
    palette(_listed(), do)


def _listed() -> list[dict[str, str]]:
    """All commands, each with the words besides its label that find it."""
    found = [_command(f"page {name}", "Page", label, name) for name, label in PAGES.items()]
    found += [_command(f"do {name}", "Prompts", label) for name, (label, _) in _DEEDS.items()]
    for control, (group, names) in CHOICES.items():
        found += [_command(f"{control} {value}", group, names[value], value) for value in names]
    return found + [
        _command(f"example {one.id}", "Example", one.title, one.id) for one in examples()
    ]


def _command(name: str, group: str, label: str, words: str = "") -> dict[str, str]:
    return {"id": name, "group": group, "label": label, "words": words}


def do(command: str) -> None:
    """Do what was chosen; what is no command, as from an older page, does nothing."""
    kind, _, value = command.partition(" ")
    now = st.session_state
    if kind == "page" and value in PAGES:
        now["go_to"] = value
    elif kind == "do" and value in _DEEDS:
        _DEEDS[value][1]()
    elif kind == "example" and value in {one.id for one in examples()}:
        session_state.take_example(now, value)
        _explore()
    elif kind in CHOICES and value in CHOICES[kind][1]:
        _choose(kind, value)
    elif kind == "place":
        _look_at(value)


def _choose(control: str, value: str) -> None:
    now = st.session_state
    now[control] = value
    if control == "site":
        now["per"], now["chosen"] = pers_of(check_site(value))[0], ""
    now["go_to"] = "patch"


def _look_at(typed: str) -> None:
    """Select the place that was typed, or say what is wrong with it."""
    try:
        place = place_called(typed)
    except PatchwrightError as error:
        st.session_state["complaint"] = error_markdown(error)
        return
    session_state.choose_place(st.session_state, place)
    _explore()


def place_called(typed: str) -> str:
    """A place by its name (`L3H1.z@14`) or in words (`layer 3 head 1 token 14`, `3.1`).

    Raises UnknownPlaceError for what is neither.
    """
    if (found := _IN_WORDS.fullmatch(typed.strip())) is None:
        return str(parse_place(typed))
    layer, head, position = found.groups()
    what = f"L{layer}.resid_pre" if head is None else f"L{layer}H{head}.z"
    return str(parse_place(what if position is None else f"{what}@{position}"))


def _explore() -> None:
    """Go where places are looked at, if this is not such a page."""
    if st.session_state.get("page") not in TABS:
        st.session_state["go_to"] = "patch"


def _empty() -> None:
    session_state.empty_prompts(st.session_state)
    _explore()


def _clear() -> None:
    st.session_state["places"] = []


_DEEDS: dict[str, tuple[str, Callable[[], None]]] = {
    "swap": ("Swap A and B", lambda: session_state.swap(st.session_state)),
    "own": ("Try your own prompts", _empty),
    "clear": ("Empty the set of places", _clear),
}
