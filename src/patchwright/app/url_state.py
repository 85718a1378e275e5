"""The address of what the page shows: its controls as query parameters, and back.

An example's pair is written as the example's name, the first one's not at all; a
control that stands at its usual value is left out.
"""

from collections.abc import Callable, Mapping
from typing import Any

from patchwright.app import restore_state
from patchwright.app.page_controls import CONTROLS, HASH_DIGITS, check_run_digits
from patchwright.app.page_fields import FORMS
from patchwright.app.session_state import (
    FIELDS,
    PAIR_FIELDS,
    State,
    current_example,
    example_fields,
    first_example,
    model_of,
)
from patchwright.errors import InputError, UnknownRunError
from patchwright.experiment.base import Experiment
from patchwright.prompts.examples import default_bos, example

MOST_CHARACTERS = 6000
"""In a whole address; browsers and proxies cut longer ones."""

FORMER_NAMES = {
    **dict.fromkeys(("ablated", "seen_head", "trace_chosen", "path", "set_chosen"), "chosen"),
    "how": "ablation",
}
"""Names that controls had in addresses of before."""

WORKBENCH_CONTROLS = ("chosen", "pinned", "pinned_run", "threshold", "places", "note", "view")
"""Controls of the workbench, on every tab that has one."""

_PAGE_CONTROLS: dict[str, tuple[str, ...]] = {
    "patch": ("neuron_layer", *WORKBENCH_CONTROLS),
    "activations": ("metric", "measure", *WORKBENCH_CONTROLS),
    "attention": ("metric", *WORKBENCH_CONTROLS),
    "trace": WORKBENCH_CONTROLS,
    "lens": ("metric", "lens_measure", "part", *WORKBENCH_CONTROLS),
    "ablation": ("neuron_layer", "references", *WORKBENCH_CONTROLS),
    "paths": WORKBENCH_CONTROLS,
    "circuit": ("edge_order", "edges", "edge_chosen", "edge_share", "note"),
    "learn": ("lesson", "reading", "step", "ask", "explain", "map", "view"),
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
        *WORKBENCH_CONTROLS,
    ),
    "runs": ("search", "shelf", "picked"),
}
"""Controls that are no field of the page's method."""

PAGES: dict[str, tuple[str, ...]] = {
    page: (*(FORMS[page].names.values() if page in FORMS else ()), *own)
    for page, own in _PAGE_CONTROLS.items()
}
"""The controls of each page, besides the model and the pair."""

PROMPTLESS = ("runs", "learn")
"""Pages that run no prompts of their own."""

PAIRLESS = ("many", *PROMPTLESS)
"""Pages that do not show the pair of the others; Learn has its lesson's model too."""

LookUp = Callable[[str], Experiment]
"""The stored experiment whose hash begins so. Raises PatchwrightError where there is none."""


def query_parameters(page: str, state: State) -> dict[str, str]:
    """The query parameters that stand for what `page` shows, by its fields."""
    found, usual = _pair_parameters(page, state) if _has_pair(page, state) else ({}, dict(FIELDS))
    if page not in PROMPTLESS and state["bos"] != default_bos(model_of(state)):
        found["bos"] = CONTROLS["bos"].write(state["bos"])
    if page != "learn":
        # Always: what a page opens on without one is another model on another machine.
        found = {"model": model_of(state), **found}
    for name in PAGES[page]:
        text = CONTROLS[name].write(state[name])
        if text != CONTROLS[name].write(usual[name]):
            found[name] = text
    return found


def _has_pair(page: str, state: State) -> bool:
    """Whether what a page shows depends on the pair of Explore, as a set of pairs like it does."""
    return page not in PAIRLESS or (page == "many" and state["set_source"] == "pair")


def _pair_parameters(page: str, state: State) -> tuple[dict[str, str], dict[str, Any]]:
    """What says which pair it is, and what the controls then usually are."""
    shown = current_example(state)
    if shown is None:
        # Written also when it is empty: a pair without any field is the first example's.
        given = {
            name: CONTROLS[name].write(state[name])
            for name in PAIR_FIELDS
            if state[name] != FIELDS[name]
        }
        return {"clean": state["clean"], **given}, dict(FIELDS)
    usual = FIELDS | example_fields(example(shown))
    named = page in PAIRLESS or shown != first_example(page)
    return ({"example": shown} if named else {}), usual


def shortest_parameters(page: str, state: State, run: Experiment | None) -> dict[str, str]:
    """By its fields, or by the stored `run` that it shows and what that does not hold.

    A set from a file has no fields: without a run nobody else can see it.
    """
    long = query_parameters(page, state)
    shown = None if run is None else restore_state.page_of(run)
    if run is None or shown is None or shown[0] != page:
        return long
    if page in PAIRLESS and _has_pair(page, state):
        return long  # The set follows from its one pair, which a run over many does not name.
    brought = {**FIELDS, **example_fields(example(first_example(page))), **shown[1]}
    short = {"run": run.hash[:HASH_DIGITS]}
    if (model := model_of(state)) != brought["model"]:
        short["model"] = model
    if state["bos"] != brought["bos"]:
        short["bos"] = CONTROLS["bos"].write(state["bos"])
    from_run = state["set_source"] in ("file", "run")
    pair = () if page in PAIRLESS else PAIR_FIELDS
    for name in (*pair, *PAGES[page]):
        text = CONTROLS[name].write(state[name])
        if text != CONTROLS[name].write(brought[name]) and not (name == "set_source" and from_run):
            short[name] = text
    needed = page == "many" and from_run
    # What is named on every page is not what makes one of them long.
    return short if needed or _length(short) < _length(long) - _length({"model": model}) else long


def is_short_enough(parameters: Mapping[str, str]) -> bool:
    """Whether an address is short enough to be read back."""
    return _length(parameters) <= MOST_CHARACTERS


def _length(parameters: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in parameters.items())


def _controls_of_run(page: str, text: str, look_up: LookUp | None) -> dict[str, Any]:
    """The controls of a stored run."""
    text = check_run_digits(text)
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


def read_parameters(
    page: str, parameters: Mapping[str, str], look_up: LookUp | None = None
) -> dict[str, Any]:
    """The controls that query parameters set; `look_up` serves a stored run.

    Raises InputError, with a sentence about the first that is wrong.
    """
    if not is_short_enough(parameters):
        raise InputError(
            f"The address is longer than {MOST_CHARACTERS:,} characters and was not read: open the "
            "page without it, and paste the prompts."
        )
    parameters = {FORMER_NAMES.get(name, name): text for name, text in parameters.items()}
    found: dict[str, Any] = {}
    if "run" in parameters:
        found |= _controls_of_run(page, parameters["run"], look_up)
    elif "example" in parameters:
        found |= example_fields(example(parameters["example"][:40]))
    elif any(name in parameters for name in PAIR_FIELDS):
        found |= {name: FIELDS[name] for name in PAIR_FIELDS}
    for name, text in parameters.items():
        if name in ("example", "embed", "run"):
            continue
        if name not in ("model", "bos", *PAIR_FIELDS, *PAGES[page]):
            raise InputError(f"The address has '{name[:40]}', which means nothing on this page.")
        found[name] = CONTROLS[name].read(name, text)
    if found.get("set_source") in ("file", "run") and "set_pairs" not in found:
        raise InputError(
            "The address is of a set of pairs from a file, which is not in this machine's run "
            "store: upload the file on the page Sets."
        )
    return found


def usual_controls(page: str, model: str) -> dict[str, Any]:
    """The controls of a page that stand for an address without parameters, on this model."""
    found: dict[str, Any] = {} if page == "learn" else {"model": model}
    names = PAGES[page]
    if page not in PAIRLESS:
        found |= example_fields(example(first_example(page)))
        names = tuple(name for name in names if name not in found)
        found["opened_on"] = first_example(page)
    # What was chosen for the subject belongs to the prompt that was there.
    found |= {"subject_tokens": None, "subject_cleared": False}
    return found | {name: FIELDS[name] for name in names}
