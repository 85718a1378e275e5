"""What all visitors share: the options, models, lessons, run store and queue of one server."""

import argparse
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from patchwright.app.access import Access, SeenResult
from patchwright.app.downloads import Download
from patchwright.app.lesson_progress import Catalog, load_catalog
from patchwright.app.limits import LIMITS
from patchwright.atomic_files import home
from patchwright.errors import STORE_TROUBLE
from patchwright.experiment.base import Experiment
from patchwright.jobs import JobQueue
from patchwright.model.catalog import local_path
from patchwright.model.load import Model, load_model
from patchwright.storage.store import Store

STORE_TIMEOUT = 2.0
"""Seconds to wait for another process that writes into the run store."""

PREFERRED_MODEL = "smollm2"
"""The model that the page opens on where it is here and nothing else is asked for."""

LESSONS_TTL = 10.0
"""Seconds after which lessons are read again: a teacher who mends one sees it."""


@dataclass(frozen=True)
class Options:
    """What the server was started with; `alone`: nobody beyond this machine reaches it."""

    max_jobs: int
    folders: tuple[Path, ...]
    lessons: tuple[Path, ...]
    keeps_runs: bool
    allow_edits: bool
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
        max_jobs=given.max_jobs,
        folders=tuple(given.folder),
        lessons=tuple(given.lessons),
        keeps_runs=not given.no_store,
        allow_edits=given.allow_edits,
        alone=given.alone,
        model=given.model,
    )


@st.cache_resource(ttl=LESSONS_TTL, show_spinner=False)
def lessons() -> Catalog:
    """The lessons of the package and of the folders that the server was started with."""
    return load_catalog(options().lessons)


def store() -> Store | None:
    """The run store, shared by all visitors; None where the server was started without."""
    return _store_in(home()) if options().keeps_runs else None


@st.cache_resource
def _store_in(folder: Path) -> Store:
    return Store(folder, busy=STORE_TIMEOUT)


@st.cache_resource(on_release=JobQueue.close)
def job_queue() -> JobQueue:
    """Where everybody's sweeps are done; cleared, it ends them."""
    return JobQueue(options().max_jobs, seconds=LIMITS.seconds)


@st.cache_resource
def short_work_semaphore() -> threading.Semaphore:
    """Short work waits here, so that no crowd of visitors takes all memory at once."""
    return threading.Semaphore(options().max_jobs)


@st.cache_resource(max_entries=2, show_spinner="Loading the model")
def shared_model(name: str) -> Model:
    """The named model; loaded once for everybody."""
    return load_model(name)


def first_model() -> str:
    """The model that the page opens on: the one it was started with, as soon as it is here."""
    wanted = options().model or PREFERRED_MODEL
    return wanted if local_path(wanted) is not None else "demo"


def fetch_first_model() -> str | None:
    """Fetch what the page is to open on, once; a sentence about it, or None where it is here."""
    wanted = options().model
    if wanted is None or local_path(wanted) is not None:
        return None
    return download_of(wanted).start_once()


@st.cache_resource(max_entries=32, show_spinner=False)
def download_of(name: str) -> Download:
    """The download of a model, the same for everybody."""
    return Download(name)


def seen_results() -> set[SeenResult]:
    """The experiments whose results this visitor has seen whole, each with its model."""
    return st.session_state.setdefault("seen_runs", set())


def experiment_finder() -> Callable[[str], Experiment] | None:
    """Finds a stored experiment by the beginning of its hash; None without a store."""
    found = access()
    return None if found is None else found.experiment


def access() -> Access | None:
    """The run store, for this visitor; None where the server was started without."""
    kept = store()
    return None if kept is None else Access(kept, options().allow_edits, seen_results())


def new_notices() -> list[str]:
    """What the store has to say that this visitor has not been told: in full to its owner alone."""
    kept = store()
    told: set[str] = st.session_state.setdefault("told", set())
    said = [] if kept is None else kept.notices
    fresh = [one for one in said if one not in told]
    told.update(fresh)
    return fresh if options().allow_edits or not fresh else [STORE_TROUBLE]
