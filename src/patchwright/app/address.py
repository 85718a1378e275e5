"""The address of what the page shows: its controls as query parameters, and back.

An example's pair is written as the example's name; a control that stands at its
usual value is left out. What comes from an address is checked before it is used:
anybody can write one.
"""

import math
from collections.abc import Mapping
from typing import Any, get_args

from patchwright.app.state import (
    BOUNDS,
    FIELDS,
    PAIR_FIELDS,
    State,
    example_shown,
    fields_of,
)
from patchwright.axes import DIRECTIONS, PERS
from patchwright.errors import InputError, PatchwrightError
from patchwright.methods.difference import ARRAYS
from patchwright.methods.direct import Part
from patchwright.methods.lens import LENS_METRICS
from patchwright.methods.metrics import METRICS
from patchwright.methods.tracing import Sever
from patchwright.places import SITES, parse_place
from patchwright.prompts.examples import example

MOST_CHARACTERS = 6000
"""In a whole address; browsers and proxies cut longer ones."""

LISTS = "~"
"""Between the entries of a list; no place and no number contains it."""

PAGES: dict[str, tuple[str, ...]] = {
    "patch": ("site", "per", "neuron_layer", "direction", "metric", "chosen", "places"),
    "activations": ("metric", "seen_site", "measure", "seen_head"),
    "trace": (
        "subject",
        "noise",
        "samples",
        "window",
        "seed",
        "sever",
        "trace_metric",
        "trace_chosen",
    ),
    "lens": ("metric", "lens_measure", "part"),
    "circuit": ("metric", "edges"),
}
"""The controls of each page, besides the model and the pair."""

CHOICES: dict[str, tuple[str, ...]] = {
    "site": SITES,
    "seen_site": SITES,
    "per": PERS,
    "direction": DIRECTIONS,
    "metric": METRICS,
    "trace_metric": METRICS,
    "align": ("exact", "edges"),
    "measure": ARRAYS,
    "lens_measure": LENS_METRICS,
    "part": get_args(Part),
    "sever": ("nothing", *get_args(Sever)),
}


def written(page: str, state: State) -> dict[str, str]:
    """The query parameters that stand for what `page` shows."""
    found: dict[str, str] = {}
    if state["model"] != FIELDS["model"]:
        found["model"] = state["model_name"] or state["model"]
    usual = dict(FIELDS)
    shown = example_shown(state)
    if shown is None:
        found |= {name: state[name] for name in PAIR_FIELDS if state[name] != FIELDS[name]}
    else:
        found["example"] = shown
        usual |= fields_of(example(shown))
    for name in PAGES[page]:
        if state[name] != usual[name]:
            found[name] = _text(state[name])
    return found


def read(page: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The controls that query parameters set.

    Raises InputError, with a sentence about the first that is wrong.
    """
    if sum(len(name) + len(value) for name, value in parameters.items()) > MOST_CHARACTERS:
        raise InputError(
            f"The address is longer than {MOST_CHARACTERS:,} characters and was not read: open the "
            "page without it, and paste the prompts."
        )
    found: dict[str, Any] = {}
    if "example" in parameters:
        found |= fields_of(example(parameters["example"]))
    for name, text in parameters.items():
        if name in ("example", "embed"):
            continue
        if name not in ("model", *PAIR_FIELDS, *PAGES[page]):
            raise InputError(f"The address has '{name[:40]}', which means nothing on this page.")
        found[name] = _value(name, text)
    return found


def _text(value: Any) -> str:
    if isinstance(value, list):
        return LISTS.join(str(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _value(name: str, text: str) -> Any:
    if name in CHOICES and text not in CHOICES[name]:
        raise InputError(
            f"The address has {name} '{text[:40]}': it may be {', '.join(CHOICES[name])}."
        )
    usual = FIELDS[name]
    try:
        if name == "subject":
            return [_whole(part) for part in text.split(LISTS)] if text else []
        if name in ("chosen", "seen_head", "trace_chosen") and text:
            return str(parse_place(text))
        if isinstance(usual, list):
            return [str(parse_place(part)) for part in text.split(LISTS)] if text else []
        if isinstance(usual, float):
            return _bounded(name, _finite(text))
        return _bounded(name, _whole(text)) if isinstance(usual, int) else text
    except PatchwrightError:
        raise
    except ValueError:
        raise InputError(f"The address has {name} '{text[:40]}', which is no number.") from None


def _bounded(name: str, number: float) -> float:
    low, high = BOUNDS.get(name, (number, number))
    if not low <= number <= high:
        raise InputError(f"The address has {name} {number:g}: it may be {low:g} to {high:g}.")
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
