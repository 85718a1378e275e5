"""The pinned place: a cell of this run or of an earlier one, that the selected cell is held against."""

from dataclasses import dataclass

import streamlit as st

from patchwright.algorithms.metrics import METRIC_TABLE, check_metric
from patchwright.algorithms.scale import usable_effect
from patchwright.app import build_experiment
from patchwright.app.page_controls import HASH_DIGITS
from patchwright.app.resources import experiment_finder, shared_model
from patchwright.app.results import result_of
from patchwright.errors import InputError
from patchwright.methods.ablate import Ablate
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.prompts.messages import prompt_text
from patchwright.prompts.pair import Pair

Swept = Patch | Ablate

MOST_WORDS = 60
"""Of a prompt, where a run is named by it."""


@dataclass(frozen=True)
class Pin:
    """A pinned place, its effect in its own run, and which run that is; nothing of this one."""

    place: str
    effect: float
    run: str = ""


def pin_place(place: str, run: Swept | None = None) -> None:
    """Pin a place, or nothing where it is `-`; of a `run`, also for when another is on the page."""
    place = place.removesuffix("-")
    digits = run.hash[:HASH_DIGITS] if place and run is not None else ""
    st.session_state.update(pinned=place, pinned_run=digits)
    if run is not None:
        st.session_state.setdefault("pinned_runs", {})[digits] = run


def pin_of(current: Swept, model: Model) -> Pin | None:
    """What is pinned, computed in its own run. Raises InputError where that run is not here."""
    place: str = st.session_state["pinned"]
    if not place:
        return None
    run = _pinned_run(current)
    there = model if run.model == model.name else shared_model(run.model)
    effect = float(usable_effect(result_of(build_experiment.joint_change_of(run, [place]), there)))
    return Pin(place, effect, "" if run.hash == current.hash else run_in_words(run, current))


def _pinned_run(current: Swept) -> Swept:
    """The run that the pin is of; of one by another method, the place is looked at in this run."""
    digits: str = st.session_state["pinned_run"]
    if not digits or current.hash.startswith(digits):
        return current
    run = st.session_state.get("pinned_runs", {}).get(digits)
    if run is None:
        find = experiment_finder()
        run = None if find is None else find(digits)
        if run is None or run.model != current.model:
            raise InputError("its run is not on this server: pin the cell again.")
    return run if isinstance(run, type(current)) else current


def run_in_words(run: Swept, current: Swept) -> str:
    """A run in words, by what it asks otherwise than the one on the page."""
    words: list[str] = []
    if run.model != current.model:
        words.append(f"model {run.model}")
    if run.pairs != current.pairs:
        assert isinstance(run.pairs, Pair), "the page has one pair"
        text = prompt_text(run.pairs.clean)
        words.append(f"“{text if len(text) <= MOST_WORDS else text[: MOST_WORDS - 1] + '…'}”")
    if run.direction != current.direction:
        words.append("A → B" if run.direction == "denoise" else "B → A")
    if run.metric != current.metric:
        words.append(METRIC_TABLE[check_metric(run.metric)].label)
    if isinstance(run, Ablate) and isinstance(current, Ablate) and run.ablation != current.ablation:
        words.append(f"{run.ablation} ablation")
    return ", ".join(words) or "other options"
