"""The address of what the page shows: its controls as query parameters, and back.

An example's pair is written as the example's name, the first one's not at all; a
control that stands at its usual value is left out. What comes from an address is
checked before it is used: anybody can write one.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from patchwright.algorithms.difference import ARRAYS
from patchwright.algorithms.metrics import LENS_METRICS
from patchwright.algorithms.paths import SENDERS
from patchwright.app import restore_state
from patchwright.app.page_fields import FORMS, choices, place_lists
from patchwright.app.session_state import (
    BOUNDS,
    EDGE_ORDERS,
    FIELDS,
    MOST_EDGES,
    PAIR_FIELDS,
    SHELVES,
    SOURCES,
    State,
    example_shown,
    fields_of,
    first_example,
    model_of,
    names_role,
)
from patchwright.errors import InputError, PatchwrightError, UnknownRunError
from patchwright.experiment.base import Experiment
from patchwright.lessons import READINGS
from patchwright.methods.lens import Part
from patchwright.places import parse_place
from patchwright.prompts.builtin_templates import tasks
from patchwright.prompts.examples import example, usual_bos

MOST_CHARACTERS = 6000
"""In a whole address; browsers and proxies cut longer ones."""

RANGES: dict[str, tuple[float, float]] = {
    "edges": (1, MOST_EDGES),
    "edge_share": (1, 100),
    "step": (1, 1000),
    **BOUNDS,
}
"""Numbers that have a least and a most; other whole ones go from 0 to a million."""

FORMER = {
    **dict.fromkeys(("ablated", "seen_head", "trace_chosen", "path", "set_chosen"), "chosen"),
    "how": "ablation",
}
"""Names that controls had in addresses of before."""

LISTS = "~"
"""Between the entries of a list; no place and no number contains it."""

PLACES = ("chosen", "pinned")
"""Controls that name a place, or nothing."""

BENCH = ("chosen", "pinned", "pinned_run", "threshold", "places", "note", "view")
"""Controls of the workbench, on every tab that has one."""

_OWN: dict[str, tuple[str, ...]] = {
    "patch": (
        "neuron_layer",
        *BENCH,
    ),
    "activations": (
        "metric",
        "measure",
        *BENCH,
    ),
    "attention": (
        "metric",
        *BENCH,
    ),
    "trace": BENCH,
    "lens": (
        "metric",
        "lens_measure",
        "part",
        *BENCH,
    ),
    "ablation": (
        "neuron_layer",
        "references",
        *BENCH,
    ),
    "paths": BENCH,
    "circuit": (
        "edge_order",
        "edges",
        "edge_chosen",
        "edge_share",
        "note",
    ),
    "learn": (
        "lesson",
        "reading",
        "step",
        "ask",
        "explain",
        "map",
        "view",
    ),
    "many": (
        "set_source",
        "task",
        "set_count",
        "set_seed",
        "template_text",
        "template_slots",
        "template_swap",
        "template_answer",
        "template_wrong",
        "sentences",
        "swap_prompt",
        "swap_word",
        "swap_answer",
        "neuron_layer",
        *BENCH,
    ),
    "runs": ("search", "shelf", "picked"),
}
"""Controls that are no field of the page's method."""

PAGES: dict[str, tuple[str, ...]] = {
    page: (*(FORMS[page].names.values() if page in FORMS else ()), *own)
    for page, own in _OWN.items()
}
"""The controls of each page, besides the model and the pair."""

PROMPTLESS = ("runs", "learn")
"""Pages that run no prompts of their own."""

PAIRLESS = ("many", *PROMPTLESS)
"""Pages that do not show the pair of the others; Learn has its lesson's model too."""

CHOICES: dict[str, tuple[str, ...]] = {
    **choices(),
    "align": ("exact", "edges"),
    "bos": ("0", "1"),
    "chat": ("0", "1"),
    "reading": tuple(READINGS),
    "view": ("", "projector"),
    "measure": ARRAYS,
    "lens_measure": LENS_METRICS,
    "part": get_args(Part),
    "edge_order": EDGE_ORDERS,
    "sender": SENDERS,
    "set_source": SOURCES,
    "shelf": SHELVES,
    "task": tuple(one.name for one in tasks()),
}


_SENDER = r"embed|L[0-9]{1,4}H[0-9]{1,4}|L[0-9]{1,4}\.mlp"
_RECEIVER = r"L[0-9]{1,4}H[0-9]{1,4}\.[qkv]|L[0-9]{1,4}\.mlp|logits"
_IN_GRAPH = re.compile(rf"{_SENDER}|logits|(?:{_SENDER})>(?:{_RECEIVER})")
"""Nodes of a circuit, and edges between them."""

LookUp = Callable[[str], Experiment]
"""The stored experiment whose hash begins so. Raises PatchwrightError where there is none."""


def written(page: str, state: State) -> dict[str, str]:
    """The query parameters that stand for what `page` shows, by its fields."""
    found, usual = _of_pair(page, state) if _has_pair(page, state) else ({}, dict(FIELDS))
    if page not in PROMPTLESS and state["bos"] != usual_bos(model_of(state)):
        found["bos"] = _text("bos", state["bos"])
    if page != "learn":
        # Always: what a page opens on without one is another model on another machine.
        found = {"model": model_of(state), **found}
    for name in PAGES[page]:
        text = _text(name, state[name])
        if text != _text(name, usual[name]):
            found[name] = text
    return found


def _has_pair(page: str, state: State) -> bool:
    """Whether what a page shows depends on the pair of Explore, as a set of pairs like it does."""
    return page not in PAIRLESS or (page == "many" and state["set_source"] == "pair")


def _of_pair(page: str, state: State) -> tuple[dict[str, str], dict[str, Any]]:
    """What says which pair it is, and what the controls then usually are."""
    shown = example_shown(state)
    if shown is None:
        # Written also when it is empty: a pair without any field is the first example's.
        given = {
            name: _text(name, state[name]) for name in PAIR_FIELDS if state[name] != FIELDS[name]
        }
        return {"clean": state["clean"], **given}, dict(FIELDS)
    usual = FIELDS | fields_of(example(shown))
    named = page in PAIRLESS or shown != first_example(page)
    return ({"example": shown} if named else {}), usual


def shortest(page: str, state: State, run: Experiment | None) -> dict[str, str]:
    """By its fields, or by the stored `run` that it shows and what that does not hold.

    A set from a file has no fields: without a run nobody else can see it.
    """
    long = written(page, state)
    shown = None if run is None else restore_state.page_of(run)
    if run is None or shown is None or shown[0] != page:
        return long
    if page in PAIRLESS and _has_pair(page, state):
        return long  # The set follows from its one pair, which a run over many does not name.
    brought = {**FIELDS, **fields_of(example(first_example(page))), **shown[1]}
    short = {"run": run.hash[: restore_state.DIGITS]}
    if (model := model_of(state)) != brought["model"]:
        short["model"] = model
    if state["bos"] != brought["bos"]:
        short["bos"] = _text("bos", state["bos"])
    from_run = state["set_source"] in ("file", "run")
    pair = () if page in PAIRLESS else PAIR_FIELDS
    for name in (*pair, *PAGES[page]):
        text = _text(name, state[name])
        if text != _text(name, brought[name]) and not (name == "set_source" and from_run):
            short[name] = text
    needed = page == "many" and from_run
    # What is named on every page is not what makes one of them long.
    return short if needed or _length(short) < _length(long) - _length({"model": model}) else long


def fits(parameters: Mapping[str, str]) -> bool:
    """Whether an address is short enough to be read back."""
    return _length(parameters) <= MOST_CHARACTERS


def _length(parameters: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in parameters.items())


def _run_digits(text: str) -> str:
    if not re.fullmatch(f"[0-9a-f]{{{restore_state.DIGITS},64}}", text):
        raise InputError(
            f"The address has run '{text[:40]}': a run is named by at least {restore_state.DIGITS} "
            "digits out of 0-9 and a-f."
        )
    return text


def _from_run(page: str, text: str, look_up: LookUp | None) -> dict[str, Any]:
    """The controls of a stored run."""
    text = _run_digits(text)
    if look_up is None:
        raise InputError(
            "The address names a stored run, and this page was started without a store."
        )
    try:
        shown = restore_state.page_of(look_up(text))
    except UnknownRunError:
        raise InputError(
            f"The address names the run '{text[:16]}…', which this machine's store does not have "
            "(any more): ask for the long link, at the end of the page that shows the experiment."
        ) from None
    if shown is None:
        raise InputError(
            f"The run '{text[:16]}…' has what no page's controls can say: open it in the Library."
        )
    if shown[0] != page:
        raise InputError(
            f"The run '{text[:16]}…' is one of the page {shown[0].capitalize()}: open it there, or in "
            "the Library."
        )
    return shown[1]


def read(page: str, parameters: Mapping[str, str], look_up: LookUp | None = None) -> dict[str, Any]:
    """The controls that query parameters set; `look_up` serves a stored run.

    Raises InputError, with a sentence about the first that is wrong.
    """
    if not fits(parameters):
        raise InputError(
            f"The address is longer than {MOST_CHARACTERS:,} characters and was not read: open the "
            "page without it, and paste the prompts."
        )
    parameters = {FORMER.get(name, name): text for name, text in parameters.items()}
    found: dict[str, Any] = {}
    if "run" in parameters:
        found |= _from_run(page, parameters["run"], look_up)
    elif "example" in parameters:
        found |= fields_of(example(parameters["example"][:40]))
    elif any(name in parameters for name in PAIR_FIELDS):
        found |= {name: FIELDS[name] for name in PAIR_FIELDS}
    for name, text in parameters.items():
        if name in ("example", "embed", "run"):
            continue
        if name not in ("model", "bos", *PAIR_FIELDS, *PAGES[page]):
            raise InputError(f"The address has '{name[:40]}', which means nothing on this page.")
        found[name] = _value(name, text)
    if found.get("set_source") in ("file", "run") and "set_pairs" not in found:
        raise InputError(
            "The address is of a set of pairs from a file, which is not in this machine's run "
            "store: upload the file on the page Sets."
        )
    return found


def usual(page: str, model: str) -> dict[str, Any]:
    """The controls of a page that stand for an address without parameters, on this model."""
    found: dict[str, Any] = {} if page == "learn" else {"model": model}
    names = PAGES[page]
    if page not in PAIRLESS:
        found |= fields_of(example(first_example(page)))
        names = tuple(name for name in names if name not in found)
        found["opened_on"] = first_example(page)
    # What was chosen for the subject belongs to the prompt that was there.
    found |= {"subject_tokens": None, "subject_cleared": False}
    return found | {name: FIELDS[name] for name in names}


def _text(name: str, value: Any) -> str:
    """A control's value; of the set only what names a place: a slip is not worth sharing."""
    if name in place_lists():
        return LISTS.join(str(parse_place(one)) for one in value if _is_place(one))
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return LISTS.join(str(one) for one in value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _is_place(text: str) -> bool:
    try:
        parse_place(text)
    except PatchwrightError:
        return False
    return True


def _value(name: str, text: str) -> Any:
    if name in CHOICES and text not in CHOICES[name]:
        raise InputError(
            f"The address has {name} '{text[:40]}': it may be {', '.join(CHOICES[name])}."
        )
    usual = FIELDS[name]
    if isinstance(usual, bool):
        return text == "1"
    try:
        if name == "subject":
            return [_whole(part) for part in text.split(LISTS)] if text else []
        if name == "set_roles":
            return [part[:60] for part in text.split(LISTS) if part]
        if name == "picked":
            return [_run_digits(part) for part in text.split(LISTS) if part]
        if name == "pinned_run" and text:
            return _run_digits(text)
        if name in PLACES and text:
            return _place(text)
        if name == "edge_chosen" and text:
            return _in_graph(text)
        if isinstance(usual, list):
            return [_place(part) for part in text.split(LISTS)] if text else []
        if isinstance(usual, float):
            return _within(name, _finite(text))
        return _within(name, _whole(text)) if isinstance(usual, int) else text
    except PatchwrightError:
        raise
    except ValueError:
        raise InputError(f"The address has {name} '{text[:40]}', which is no number.") from None


def _place(text: str) -> str:
    if len(text) > 60:
        raise InputError(f"The address has '{text[:60]}…', which is too long for a place.")
    if names_role(text):
        base, _, role = text.rpartition("@")
        return f"{parse_place(base)}@{role}"
    return str(parse_place(text))


def _in_graph(text: str) -> str:
    if not _IN_GRAPH.fullmatch(text):
        raise InputError(
            f"The address has edge_chosen '{text[:40]}': it may be a node, such as embed, L3H1, L2.mlp "
            "or logits, or an edge, such as L2.mlp>L3H1.q."
        )
    return text


def _within(name: str, number: float) -> float:
    least, most = RANGES.get(name, (number, number))
    if not least <= number <= most:
        raise InputError(f"The address has {name} {number:g}: it may be {least:g} to {most:,g}.")
    return number


def _whole(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 1_000_000:
        raise ValueError(text)
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
