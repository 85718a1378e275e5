"""What the page remembers, and what its controls mean; no widgets here."""

from collections.abc import MutableMapping
from typing import Any

from patchwright.experiment import Patch, PatchTogether, check_direction
from patchwright.methods.metrics import check_metric
from patchwright.places import check_site, pers_of
from patchwright.prompts.examples import example
from patchwright.prompts.pair import Pair

FIRST_EXAMPLE = "ioi"
SEPARATOR = "|"
"""Between several answers in one text field."""

FIELDS: dict[str, str] = {
    "clean": "",
    "corrupt": "",
    "answer": "",
    "wrong": "",
    "align": "exact",
    "site": "resid_pre",
    "per": "position",
    "direction": "denoise",
    "metric": "logit_diff",
}
"""The controls of an experiment, by key, with what they start from."""

State = MutableMapping[Any, Any]


def prepare(state: State) -> None:
    """Fill in what is not there yet: the first example, so that no page is empty."""
    if "clean" not in state:
        take_example(state, FIRST_EXAMPLE)
    for name, value in FIELDS.items():
        state.setdefault(name, value)
    state.setdefault("places", [])


def take_example(state: State, name: str) -> None:
    """Put an example's prompts, answers and metric into the controls."""
    chosen = example(name)
    pair = chosen.pair
    state["metric"] = chosen.metric
    state["clean"], state["corrupt"] = str(pair.clean), str(pair.corrupt)
    state["answer"] = SEPARATOR.join(str(answer) for answer in pair.answers)
    state["wrong"] = SEPARATOR.join(str(wrong) for wrong in pair.wrongs)
    state["align"] = pair.align


def swap(state: State) -> None:
    """Make the clean prompt the corrupted one, and the answers with them."""
    state["clean"], state["corrupt"] = state["corrupt"], state["clean"]
    state["answer"], state["wrong"] = state["wrong"], state["answer"]


def take_usual_per(state: State) -> None:
    """After another site was chosen: sweep it the way it is usually swept."""
    state["per"] = pers_of(check_site(state["site"]))[0]


def pair_of(state: State) -> Pair:
    """The pair that the controls describe."""
    return Pair(
        clean=state["clean"],
        corrupt=state["corrupt"],
        answer=tuple(part for part in state["answer"].split(SEPARATOR) if part),
        wrong=tuple(part for part in state["wrong"].split(SEPARATOR) if part),
        align="edges" if state["align"] == "edges" else "exact",
    )


def experiment_of(state: State, model: str) -> Patch:
    """The sweep that the controls describe."""
    site = check_site(state["site"])
    per = state["per"] if state["per"] in pers_of(site) else pers_of(site)[0]
    layers = (int(state.get("neuron_layer", 0)),) if per == "neuron" else None
    return Patch(
        model=model,
        pairs=pair_of(state),
        direction=check_direction(state["direction"]),
        metric=check_metric(state["metric"]),
        site=site,
        per=per,
        layers=layers,
    )


def together_of(swept: Patch, places: list[str]) -> PatchTogether:
    """The same experiment with some places patched in one run."""
    return PatchTogether(
        model=swept.model,
        pairs=swept.pairs,
        direction=swept.direction,
        metric=swept.metric,
        places=tuple(places),
    )
