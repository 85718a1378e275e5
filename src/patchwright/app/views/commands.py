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

_PLACE_WORDS = re.compile(
    r"(?:layer\s*)?(\d+)(?:[\s.,]+(?:head\s*)?(\d+))?(?:[\s,]+(?:token|position)\s*(-?\d+))?",
    re.IGNORECASE,
)


def show() -> None:
    """Put the palette's button into the bar at the top."""
    palette(_commands_list(), run_command)


def _commands_list() -> list[dict[str, str]]:
    """All commands, each with the words besides its label that find it."""
    found = [_command(f"page {name}", "Page", label, name) for name, label in PAGES.items()]
    found += [
        _command(f"do {name}", "Prompts", label) for name, (label, _) in _PROMPT_COMMANDS.items()
    ]
    for control, (group, names) in CHOICES.items():
        found += [_command(f"{control} {value}", group, names[value], value) for value in names]
    return found + [
        _command(f"example {one.id}", "Example", one.title, one.id) for one in examples()
    ]


def _command(name: str, group: str, label: str, words: str = "") -> dict[str, str]:
    return {"id": name, "group": group, "label": label, "words": words}


def run_command(command: str) -> None:
    """Do what was chosen; what is no command, as from an older page, does nothing."""
    kind, _, value = command.partition(" ")
    now = st.session_state
    if kind == "page" and value in PAGES:
        now["go_to"] = value
    elif kind == "do" and value in _PROMPT_COMMANDS:
        _PROMPT_COMMANDS[value][1]()
    elif kind == "example" and value in {one.id for one in examples()}:
        session_state.take_example(now, value)
        _go_to_explore()
    elif kind in CHOICES and value in CHOICES[kind][1]:
        _set_control(kind, value)
    elif kind == "place":
        _look_at(value)


def _set_control(control: str, value: str) -> None:
    now = st.session_state
    now[control] = value
    if control == "site":
        now["per"], now["chosen"] = pers_of(check_site(value))[0], ""
    now["go_to"] = "patch"


def _look_at(typed: str) -> None:
    """Select the place that was typed, or say what is wrong with it."""
    try:
        place = place_from_text(typed)
    except PatchwrightError as error:
        st.session_state["complaint"] = error_markdown(error)
        return
    session_state.choose_place(st.session_state, place)
    _go_to_explore()


def place_from_text(typed: str) -> str:
    """A place by its name (`L3H1.z@14`) or in words (`layer 3 head 1 token 14`, `3.1`).

    Raises UnknownPlaceError for what is neither.
    """
    if (found := _PLACE_WORDS.fullmatch(typed.strip())) is None:
        return str(parse_place(typed))
    layer, head, position = found.groups()
    what = f"L{layer}.resid_pre" if head is None else f"L{layer}H{head}.z"
    return str(parse_place(what if position is None else f"{what}@{position}"))


def _go_to_explore() -> None:
    """Go where places are looked at, if this is not such a page."""
    if st.session_state.get("page") not in TABS:
        st.session_state["go_to"] = "patch"


def _empty_prompts() -> None:
    session_state.empty_prompts(st.session_state)
    _go_to_explore()


def _clear_places() -> None:
    st.session_state["places"] = []


_PROMPT_COMMANDS: dict[str, tuple[str, Callable[[], None]]] = {
    "swap": ("Swap A and B", lambda: session_state.swap(st.session_state)),
    "own": ("Try your own prompts", _empty_prompts),
    "clear": ("Empty the set of places", _clear_places),
}
