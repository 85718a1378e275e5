"""This visitor's long work: asked for, waited for, stopped, and given up when they leave."""

from collections.abc import Iterable, Mapping
from functools import partial
from time import monotonic

import streamlit as st

from patchwright.algorithms.metrics import NO_GRADIENT
from patchwright.algorithms.result import Result
from patchwright.app.limits import LIMITS
from patchwright.app.resources import job_queue, store
from patchwright.app.results import cache_key, compute, origins, unpatched_runs
from patchwright.experiment.base import CellByCell, Experiment, OnPairs
from patchwright.experiment.partial_result import partial_result
from patchwright.experiment.patching import cell_count
from patchwright.jobs import Job
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.prompts.pair import TokenPair

PATIENCE = 0.7
"""Seconds that the page waits for a sweep before it shows how far it is."""

SHOWN_FIRST = 50
"""Pairs of a set whose cells are shown before it is done."""

LONG = 2.0
"""Seconds from which on a sweep is worth an estimate before it."""

FLOPS = 1e11
"""Floating-point operations a second that a small machine does in a sweep, for a guess."""


@st.cache_resource(
    scope="session",
    show_spinner=False,
    on_release=lambda known: job_queue().unsubscribe_all(
        job for one in known for job in one.values()
    ),
)
def _jobs_to_release() -> list[dict[str, Job]]:
    """What `_jobs_by_slot` gave this visitor; it outlives the state of the session to give up the work."""
    return []


def _jobs_by_slot() -> dict[str, Job]:
    """This visitor's long work, by slot; given up when they close the page."""
    if "jobs" not in st.session_state:
        jobs: dict[str, Job] = {}
        _jobs_to_release().append(jobs)
        st.session_state["jobs"] = jobs
    return st.session_state["jobs"]


def job_of(
    experiment: Experiment,
    model: Model,
    slot: str = "job",
    patience: float = PATIENCE,
    known: Result | None = None,
) -> Job:
    """This visitor's long work of one kind; what they asked for before in `slot` is given up.

    It is waited for so many seconds: who sees it at once sees no map of empty cells before it.
    `known` is an earlier result, some of whose numbers may be the same.
    """
    job = _start_job(experiment, model, slot, known)
    job.wait(patience)
    return job


def jobs_of(
    experiments: Mapping[str, Experiment], model: Model, patience: float = PATIENCE
) -> list[Job]:
    """This visitor's long works of several kinds, by slot, asked for together."""
    jobs = [_start_job(experiment, model, slot) for slot, experiment in experiments.items()]
    deadline = monotonic() + patience
    for job in jobs:
        job.wait(max(0.0, deadline - monotonic()))
    return jobs


# Streamlit may end a run of the page wherever it is asked for something, the session's state too.
# So nothing is asked of it between a step of the queue and its note in the slots: work that no slot
# knows would go on for nobody, and of three works that are stopped together one might go on.


def _start_job(experiment: Experiment, model: Model, slot: str, known: Result | None = None) -> Job:
    by_slot, key = _jobs_by_slot(), cache_key(experiment, model)
    held = by_slot.get(slot)
    if held is not None and held.key == key:
        return held
    LIMITS.check(experiment, model)
    queue = job_queue()
    work = partial(compute, experiment, model, store(), origins(), known=known)
    if held is not None:
        del by_slot[slot]  # left once only, also where the next line raises
        queue.unsubscribe(held)
    by_slot[slot] = queue.submit(key, work)
    return by_slot[slot]


def stop(slots: Iterable[str]) -> None:
    """End this visitor's long work in `slots`; others who wait for it are not disturbed."""
    by_slot, queue = _jobs_by_slot(), job_queue()
    for slot in slots:
        job = by_slot.get(slot)
        if job is not None and not job.finished:
            by_slot[slot] = queue.stop(job)


def start_again(slots: Iterable[str]) -> None:
    """Do what was stopped after all."""
    by_slot, queue = _jobs_by_slot(), job_queue()
    for slot in slots:
        job = by_slot.pop(slot, None)
        if job is not None:
            queue.forget(job)


def leave_page() -> None:
    """Give up this visitor's long work: they look at another page now. What they stopped stays so."""
    by_slot, queue = _jobs_by_slot(), job_queue()
    for slot, job in list(by_slot.items()):
        if not job.stopping:
            del by_slot[slot]
            queue.unsubscribe(job)


def result_so_far(experiment: CellByCell, model: Model, job: Job) -> Result:
    """The cells of a sweep under way that are finished, and estimates of the others.

    Of many pairs the first ones: to run all unpatched here would take as long as a part of the work.
    """
    if isinstance(experiment, OnPairs) and experiment.many:
        first = experiment.pair_list[:SHOWN_FIRST]
        experiment = experiment.model_copy(update={"pairs": first})
    return partial_result(
        experiment, model, unpatched_runs(experiment, model), job.progress, job.finished
    )


def in_best_order(experiment: Patch, tokens: TokenPair, model: Model) -> Patch:
    """A long sweep the most promising cells first, its estimate shown before them."""
    no_estimate = experiment.metric in NO_GRADIENT or len(tokens.corrupt) != len(tokens.clean)
    if no_estimate or estimated_seconds(experiment, len(tokens.clean), model) < LONG:
        return experiment
    return experiment.model_copy(update={"order": "attribution"})


def estimated_seconds(experiment: Patch, n_positions: int, model: Model) -> float:
    """How long a sweep takes at most, about: on a small machine, every position differing."""
    spec = model.spec
    share = 0.25 if experiment.per in ("position", "head_position") else 0.5
    weights = spec.n_layers * (4 * spec.d_model**2 + 2 * spec.d_model * spec.d_mlp)
    cells = cell_count(experiment, n_positions, model)
    return cells * n_positions * share * 2 * weights / FLOPS
