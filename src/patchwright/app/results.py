"""Results, computed once for all visitors and never changed."""

import logging
from typing import Literal

import streamlit as st
import xarray as xr

from patchwright.algorithms.batches import OnProgress
from patchwright.algorithms.result import Result
from patchwright.algorithms.statistics import statistics
from patchwright.app.limits import LIMITS
from patchwright.app.resources import seen_results, short_work_semaphore, store
from patchwright.experiment.base import CellByCell, Experiment
from patchwright.experiment.run import run
from patchwright.methods import METHODS
from patchwright.methods.lens import LogitLens
from patchwright.methods.trace import Trace
from patchwright.model.load import Model
from patchwright.storage.run_cached import run_cached
from patchwright.storage.store import Store

_log = logging.getLogger(__name__)

MOST_ORIGINS = 2048

MOST_NOTICES = 16

LIKELIEST = 3
"""Next tokens of each cell, which the page shows under the pointer."""

Origin = Literal["kept", "from the store"]


@st.cache_resource
def origins() -> dict[str, Origin]:
    """Of experiments on a model that are in the store: whether the store gave the answer."""
    return {}


def origin(result: Result) -> Origin | None:
    """Whether a result that the page shows is kept, and came from the store; None: it is not kept."""
    asked = METHODS.parse(result.experiment).hash
    found = origins().get(f"{asked} {result.model['fingerprint']}")
    if found is not None:
        seen_results().add((asked, result.model["fingerprint"]))
    return found


@st.cache_resource(max_entries=256, show_spinner=False)
def _result_slot(key: str) -> dict[str, Result]:
    return {}


def result_of(experiment: Experiment, model: Model, keep: bool = False) -> Result:
    """The result of an experiment that takes no longer than a few runs, remembered.

    What a page is about is to `keep` in the run store; what is looked at beside it is not.
    """
    slot = _result_slot(cache_key(experiment, model))
    if "result" not in slot:
        LIMITS.check(experiment, model)
        with short_work_semaphore():
            if keep:
                slot["result"] = compute(experiment, model, store(), origins(), None)
            else:
                slot["result"] = run(experiment, model)
    return slot["result"]


def values_by_layer(experiment: LogitLens, model: Model) -> xr.DataArray | None:
    """What the runs of a lens have reached after each layer, remembered; None as `LogitLens.accumulated_logit_diff`."""
    slot = _layers_slot(cache_key(experiment, model))
    if not slot:
        LIMITS.check(experiment, model)
        with short_work_semaphore():
            slot.append(experiment.accumulated_logit_diff(model))
    return slot[0]


@st.cache_resource(max_entries=256, show_spinner=False)
def _layers_slot(key: str) -> list[xr.DataArray | None]:
    return []


def statistics_of(result: Result) -> Result:
    """A result over pairs with its statistics, which are remembered."""
    key = f"{METHODS.parse(result.experiment).hash} {result.model['fingerprint']}"
    cells = int(result.arrays[result.main].notnull().sum())
    slot = _result_slot(f"statistics {key} {cells}")
    if "result" not in slot:
        with short_work_semaphore():
            slot["result"] = statistics(result).on(result)
    return slot["result"]


def compute(
    experiment: Experiment,
    model: Model,
    kept: Store | None,
    origins: dict[str, Origin],
    progress: OnProgress | None,
    known: Result | None = None,
) -> Result:
    """From the run store, or computed and kept there; noted in `origins`.

    `known` is an earlier result, some of whose numbers may be the same.
    """
    said = 0 if kept is None else len(kept.notices)
    lists = isinstance(experiment, CellByCell) and experiment.lists_tokens
    top = LIKELIEST if lists and not experiment.many else 0
    result, stored = run_cached(experiment, model, kept, progress, top=top, known=known)
    if kept is not None and (stored or len(kept.notices) == said):
        while len(origins) >= MOST_ORIGINS:
            origins.pop(next(iter(origins)), None)
        if all(notice["code"] != "stopped" for notice in result.warnings):
            origins[cache_key(experiment, model)] = "from the store" if stored else "kept"
    if kept is not None:
        for notice in kept.notices[said:]:
            _log.warning("%s", notice)
        kept.notices[:] = list(dict.fromkeys(kept.notices))[-MOST_NOTICES:]
    return result


def unpatched_runs(experiment: CellByCell, model: Model) -> Result:
    """Both unpatched runs of a sweep's pair, and what is to be said about them."""
    # Of a trace the same noise serves all sites.
    asked = experiment.for_stream() if isinstance(experiment, Trace) else experiment
    slot = _result_slot(f"unpatched {cache_key(asked, model)}")
    if "result" not in slot:
        LIMITS.check(experiment, model)
        with short_work_semaphore():
            slot["result"] = asked.run_unpatched(model)
    return slot["result"]


def cache_key(experiment: Experiment, model: Model) -> str:
    """What an experiment on a model is remembered by."""
    return f"{experiment.hash} {model.fingerprint}"
