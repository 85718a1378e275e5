"""Models and results, shared by all visitors and never changed."""

import argparse
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Literal

import streamlit as st
import xarray as xr

from patchwright.algorithms.batches import OnProgress
from patchwright.algorithms.metrics import NO_GRADIENT
from patchwright.algorithms.result import Result
from patchwright.algorithms.statistics import statistics
from patchwright.app.access import Access, Seen
from patchwright.app.downloads import Download
from patchwright.app.lesson_progress import Catalog, load_catalog
from patchwright.app.limits import LIMITS
from patchwright.atomic_files import home
from patchwright.errors import STORE_TROUBLE
from patchwright.experiment.base import CellByCell, Experiment
from patchwright.experiment.cost import cell_count
from patchwright.experiment.partial_result import partial_result
from patchwright.experiment.run import run
from patchwright.jobs import Job, JobQueue
from patchwright.methods import METHODS
from patchwright.methods.lens import LogitLens
from patchwright.methods.patch import Patch
from patchwright.methods.trace import Trace
from patchwright.model.catalog import local
from patchwright.model.load import Model, load_model
from patchwright.prompts.pair import TokenPair
from patchwright.storage.run_cached import run_cached
from patchwright.storage.store import Store

_log = logging.getLogger(__name__)

STORE_WAITS = 2.0
"""Seconds to wait for another process that writes into the run store."""

MOST_ORIGINS = 2048
MOST_NOTICES = 16

LIKELIEST = 3
"""Next tokens of each cell, which the page shows under the pointer."""

PATIENCE = 0.7
"""Seconds that the page waits for a sweep before it shows how far it is."""

REAL = "smollm2"
"""The model that the page opens on where it is here and nothing else is asked for."""

LESSONS_FOR = 10.0
"""Seconds after which lessons are read anew: a teacher who mends one sees it."""

LONG = 2.0
"""Seconds from which on a sweep is worth an estimate before it."""

FLOPS = 1e11
"""Floating-point operations a second that a small machine does in a sweep, for a guess."""


@dataclass(frozen=True)
class Options:
    """What the server was started with; `alone`: nobody beyond this machine reaches it."""

    at_once: int
    folders: tuple[Path, ...]
    lessons: tuple[Path, ...]
    keeps: bool
    own: bool
    alone: bool = False
    model: str | None = None


@st.cache_resource(show_spinner=False)
def options() -> Options:
    """The options behind `--` on Streamlit's command line; `patchwright app` gives them."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model")
    parser.add_argument("--max-jobs", type=int, default=2)
    parser.add_argument("--folder", action="append", type=Path, default=[])
    parser.add_argument("--lessons", action="append", type=Path, default=[])
    parser.add_argument("--no-store", action="store_true")
    parser.add_argument("--allow-edits", action="store_true")
    parser.add_argument("--alone", action="store_true")
    given, _ = parser.parse_known_args(sys.argv[1:])
    return Options(
        at_once=given.max_jobs,
        folders=tuple(given.folder),
        lessons=tuple(given.lessons),
        keeps=not given.no_store,
        own=given.allow_edits,
        alone=given.alone,
        model=given.model,
    )


@st.cache_resource(ttl=LESSONS_FOR, show_spinner=False)
def lessons() -> Catalog:
    """The lessons of the package and of the folders that the server was started with."""
    return load_catalog(options().lessons)


def store() -> Store | None:
    """The run store, shared by all visitors; None where the server was started without."""
    return _store_in(home()) if options().keeps else None


@st.cache_resource
def _store_in(folder: Path) -> Store:
    return Store(folder, busy=STORE_WAITS)


Origin = Literal["kept", "from the store"]


@st.cache_resource
def _origins() -> dict[str, Origin]:
    """Of experiments on a model that are in the store: whether the store gave the answer."""
    return {}


def origin(result: Result) -> Origin | None:
    """Whether a result that the page shows is kept, and came from the store; None: it is not kept."""
    asked = METHODS.parse(result.experiment).hash
    found = _origins().get(f"{asked} {result.model['fingerprint']}")
    if found is not None:
        seen().add((asked, result.model["fingerprint"]))
    return found


@st.cache_resource(on_release=JobQueue.close)
def desk() -> JobQueue:
    """Where everybody's sweeps are done; cleared, it ends them."""
    return JobQueue(options().at_once, seconds=LIMITS.seconds)


@st.cache_resource
def turns() -> threading.Semaphore:
    """Short work waits here, so that no crowd of visitors takes all memory at once."""
    return threading.Semaphore(options().at_once)


@st.cache_resource(max_entries=2, show_spinner="Loading the model")
def model_called(name: str) -> Model:
    """The named model; loaded once for everybody."""
    return load_model(name)


def first_model() -> str:
    """The model that the page opens on: the one it was started with, as soon as it is here."""
    wanted = options().model or REAL
    return wanted if local(wanted) is not None else "demo"


def fetch_first() -> str | None:
    """Fetch what the page is to open on, once; a sentence about it, or None where it is here."""
    wanted = options().model
    if wanted is None or local(wanted) is not None:
        return None
    return download_of(wanted).start_once()


@st.cache_resource(max_entries=32, show_spinner=False)
def download_of(name: str) -> Download:
    """The download of a model, the same for everybody."""
    return Download(name)


@st.cache_resource(max_entries=256, show_spinner=False)
def _remembered(key: str) -> dict[str, Result]:
    return {}


def result_of(experiment: Experiment, model: Model, keep: bool = False) -> Result:
    """The result of an experiment that takes no longer than a few runs, remembered.

    What a page is about is to `keep` in the run store; what is looked at beside it is not.
    """
    slot = _remembered(_key(experiment, model))
    if "result" not in slot:
        LIMITS.check(experiment, model)
        with turns():
            if keep:
                slot["result"] = _answered(experiment, model, store(), _origins(), None)
            else:
                slot["result"] = run(experiment, model)
    return slot["result"]


def layers_of(experiment: LogitLens, model: Model) -> xr.DataArray | None:
    """What the runs of a lens have reached after each layer, remembered; None as `LogitLens.accumulated`."""
    slot = _layers(_key(experiment, model))
    if not slot:
        LIMITS.check(experiment, model)
        with turns():
            slot.append(experiment.accumulated(model))
    return slot[0]


@st.cache_resource(max_entries=256, show_spinner=False)
def _layers(key: str) -> list[xr.DataArray | None]:
    return []


def statistics_of(result: Result) -> Result:
    """A result over pairs with its statistics, which are remembered."""
    key = f"{METHODS.parse(result.experiment).hash} {result.model['fingerprint']}"
    cells = int(result.arrays[result.main].notnull().sum())
    slot = _remembered(f"statistics {key} {cells}")
    if "result" not in slot:
        with turns():
            slot["result"] = statistics(result).on(result)
    return slot["result"]


def _answered(
    experiment: Experiment,
    model: Model,
    kept: Store | None,
    origins: dict[str, Origin],
    progress: OnProgress | None,
) -> Result:
    """From the run store, or computed and kept there; noted in `origins`."""
    said = 0 if kept is None else len(kept.notices)
    lists = isinstance(experiment, CellByCell) and experiment.lists_tokens
    top = LIKELIEST if lists and not experiment.many else 0
    result, stored = run_cached(experiment, model, kept, progress, top=top)
    if kept is not None and (stored or len(kept.notices) == said):
        while len(origins) >= MOST_ORIGINS:
            origins.pop(next(iter(origins)), None)
        if all(notice["code"] != "stopped" for notice in result.warnings):
            origins[_key(experiment, model)] = "from the store" if stored else "kept"
    if kept is not None:
        for notice in kept.notices[said:]:
            _log.warning("%s", notice)
        kept.notices[:] = list(dict.fromkeys(kept.notices))[-MOST_NOTICES:]
    return result


def seen() -> set[Seen]:
    """The experiments whose results this visitor has seen whole, each with its model."""
    return st.session_state.setdefault("seen_runs", set())


def look_up() -> Callable[[str], Experiment] | None:
    """Finds a stored experiment by the beginning of its hash; None without a store."""
    found = access()
    return None if found is None else found.experiment


def access() -> Access | None:
    """The run store, for this visitor; None where the server was started without."""
    kept = store()
    return None if kept is None else Access(kept, options().own, seen())


def notices() -> list[str]:
    """What the store has to say that this visitor has not been told: in full to its owner alone."""
    kept = store()
    told: set[str] = st.session_state.setdefault("told", set())
    said = [] if kept is None else kept.notices
    fresh = [one for one in said if one not in told]
    told.update(fresh)
    return fresh if options().own or not fresh else [STORE_TROUBLE]


def unpatched(experiment: CellByCell, model: Model) -> Result:
    """Both unpatched runs of a sweep's pair, and what is to be said about them."""
    # Of a trace the same noise serves all sites.
    asked = experiment.of_stream() if isinstance(experiment, Trace) else experiment
    slot = _remembered(f"unpatched {_key(asked, model)}")
    if "result" not in slot:
        LIMITS.check(experiment, model)
        with turns():
            slot["result"] = asked.unpatched(model)
    return slot["result"]


@st.cache_resource(
    scope="session", show_spinner=False, on_release=lambda held: desk().leave_all(held.values())
)
def _held() -> dict[str, Job]:
    """This visitor's long work, by slot; given up when they close the page."""
    return {}


def job_of(
    experiment: Experiment, model: Model, slot: str = "job", patience: float = PATIENCE
) -> Job:
    """This visitor's long work of one kind; what they asked for before in `slot` is given up.

    It is waited for so many seconds: who sees it at once sees no map of empty cells before it.
    """
    return jobs_of({slot: experiment}, model, patience)[0]


def jobs_of(
    experiments: Mapping[str, Experiment], model: Model, patience: float = PATIENCE
) -> list[Job]:
    """This visitor's long works of several kinds, by slot, asked for together."""
    jobs = [_asked(experiment, model, slot) for slot, experiment in experiments.items()]
    deadline = monotonic() + patience
    for job in jobs:
        job.wait(max(0.0, deadline - monotonic()))
    return jobs


def _asked(experiment: Experiment, model: Model, slot: str) -> Job:
    held: Job | None = st.session_state.get(slot)
    key = _key(experiment, model)
    if held is None or held.key != key:
        LIMITS.check(experiment, model)
        if held is not None:
            _give_back(slot)  # left once only, also where the next line raises
            desk().leave(held)
        held = desk().ask(key, partial(_answered, experiment, model, store(), _origins()))
        _keep(slot, held)
        st.session_state.setdefault("slots", set()).add(slot)
    return held


def _keep(slot: str, job: Job) -> None:
    st.session_state[slot] = _held()[slot] = job


def _give_back(slot: str) -> Job | None:
    _held().pop(slot, None)
    return st.session_state.pop(slot, None)


def stop(slots: Iterable[str]) -> None:
    """End this visitor's long work in `slots`; others who wait for it are not disturbed."""
    for slot in slots:
        job: Job | None = st.session_state.get(slot)
        if job is not None and not job.over:
            _keep(slot, desk().stop(job))


def start_again(slots: Iterable[str]) -> None:
    """Do what was stopped after all."""
    for slot in slots:
        job = _give_back(slot)
        if job is not None:
            desk().forget(job)


def leave_page() -> None:
    """Give up all of this visitor's long work: they look at another page now."""
    for slot in st.session_state.pop("slots", set()):
        job = _give_back(slot)
        if job is not None:
            desk().leave(job)


def result_so_far(experiment: CellByCell, model: Model, job: Job) -> Result:
    """The cells of a sweep under way that are finished, and estimates of the others."""
    return partial_result(experiment, model, unpatched(experiment, model), job.progress, job.over)


def in_best_order(experiment: Patch, tokens: TokenPair, model: Model) -> Patch:
    """A long sweep the most promising cells first, its estimate shown before them."""
    no_estimate = experiment.metric in NO_GRADIENT or len(tokens.corrupt) != len(tokens.clean)
    if no_estimate or guessed_seconds(experiment, len(tokens.clean), model) < LONG:
        return experiment
    return experiment.model_copy(update={"order": "attribution"})


def guessed_seconds(experiment: Patch, n_positions: int, model: Model) -> float:
    """How long a sweep takes at most, about: on a small machine, every position differing."""
    spec = model.spec
    share = 0.25 if experiment.per in ("position", "head_position") else 0.5
    weights = spec.n_layers * (4 * spec.d_model**2 + 2 * spec.d_model * spec.d_mlp)
    cells = cell_count(experiment, n_positions, model)
    return cells * n_positions * share * 2 * weights / FLOPS


def _key(experiment: Experiment, model: Model) -> str:
    return f"{experiment.hash} {model.fingerprint}"
