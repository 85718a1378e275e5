"""Long work on the page: how far it is, Stop, and what is finished meanwhile."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app.limits import LIMITS
from patchwright.app.resources import job_queue
from patchwright.app.session_jobs import job_of, jobs_of, result_so_far, start_again, stop
from patchwright.app.views.inspector import Json
from patchwright.experiment.base import CellByCell, Experiment
from patchwright.jobs import Job
from patchwright.model.load import Model
from patchwright.warnings import is_stopped

LOOK_AGAIN = 0.4
"""Seconds between two looks at work that is under way."""

TOO_LONG = (
    f"An experiment may work for {LIMITS.seconds:g} seconds on this page: what was finished by then "
    "is shown. Ask for less, or use the command line, which has no such bound."
)


def result_or_progress(experiment: Experiment, model: Model, slot: str, what: str) -> Result | None:
    """The result; while there is none yet, None and how many of `what` are done.

    Raises what the work raised. What was stopped is a result too where it has cells, with a
    button to do the rest.
    """
    job = job_of(experiment, model, slot)
    if not job.finished:
        _show_progress(experiment, model, slot, what)
        return None
    result = result_of_job(job, experiment, model)
    if result is None:
        st.warning(f"Stopped before all {what} were done, and a part of them shows nothing.")
    if job.timed_out:
        st.warning(TOO_LONG)
    elif result is None or is_stopped(result.warnings):
        show_rest_button([slot])
    return result


def result_of_job(job: Job, experiment: Experiment, model: Model) -> Result | None:
    """What work that is over found; where this visitor alone stopped it, as far as it was then.

    Raises what the work raised. None where its parts show nothing.
    """
    if job.error is not None:
        raise job.error
    if job.result is None and isinstance(experiment, CellByCell):
        return result_so_far(experiment, model, job)
    return job.result


def show_rest_button(slots: list[str]) -> None:
    """A button that does what was stopped after all."""
    st.button("Compute the rest", key=f"rest-{slots[0]}", on_click=start_again, args=(slots,))


@st.fragment(run_every=0.4)
def _show_progress(experiment: Experiment, model: Model, slot: str, what: str) -> None:
    job = job_of(experiment, model, slot)
    if job.finished:
        st.rerun()
    bar, button = st.columns([5, 1], vertical_alignment="bottom")
    bar.progress(*job_progress(job, job_queue().queue_position(job), what))
    button.button(
        "Stop",
        on_click=stop,
        args=([slot],),
        key=f"stop-{slot}",
        width="stretch",
        disabled=job.stopping,
        help="Keeps what is finished.",
    )


def job_progress(job: Job, ahead: int, what: str) -> tuple[float, str]:
    """The share of the work that is done, and a line about it; `ahead` jobs wait before it."""
    now, left = job.progress, job.seconds_left
    if job.result is not None:
        return 1.0, "Done"
    share, said = 0.0, f"Waiting: {ahead} before it" if ahead else "Waiting for its turn"
    if job.running:
        said = "Running the prompts"
    if now is not None:
        share, said = now.done / now.total, f"{now.done:,} of {now.total:,} {what}"
    time = "" if left is None else f", about {left:.0f} s left"
    return share, said + (", stopping" if job.stopping else time)


Draw = Callable[[Sequence[Result], Json | None], None]
"""Draws the workbench of results: as far as they are, with their progress, or at the end without."""


def draw_sweeps(
    sweeps: Mapping[str, CellByCell], draw: Draw, model: Model, what: str = "cells"
) -> list[Result] | None:
    """Draw sweeps, by slot, as far as they are; their results once all are over.

    Raises what any of them raised.
    """
    jobs = jobs_of(sweeps, model)
    for job in jobs:
        if job.error is not None:
            raise job.error
    under_way = not all(job.finished for job in jobs)
    again = LOOK_AGAIN if under_way else None
    st.fragment(_draw_so_far, run_every=again)(sweeps, draw, model, what, under_way)
    return None if under_way else _results(jobs, sweeps, model)


def _draw_so_far(
    sweeps: Mapping[str, CellByCell], draw: Draw, model: Model, what: str, under_way: bool
) -> None:
    """The sweeps as far as they are; where they were stopped, the way to the rest."""
    jobs = jobs_of(sweeps, model, patience=0.0)
    over = all(job.finished for job in jobs)
    if over == under_way or any(job.error for job in jobs):
        st.rerun()
    if under_way:
        so_far = [
            job.result or result_so_far(sweep, model, job)
            for sweep, job in zip(sweeps.values(), jobs, strict=True)
        ]
        draw(so_far, _progress(jobs, what))
        return
    results = _results(jobs, sweeps, model)
    draw(results, None)
    unfinished = [
        slot for slot, one in zip(sweeps, results, strict=True) if is_stopped(one.warnings)
    ]
    if any(job.timed_out for job in jobs):
        st.warning(TOO_LONG)
    elif unfinished:
        show_rest_button(unfinished)


def _progress(jobs: Sequence[Job], what: str) -> Json:
    """How far works are that are shown together: in words of the first that is not over."""
    ahead = job_queue().queue_position
    far = [job_progress(job, ahead(job), what) for job in jobs]
    at = next((i for i, job in enumerate(jobs) if not job.finished), len(jobs) - 1)
    which = f"Map {at + 1} of {len(jobs)}: " if len(jobs) > 1 else ""
    return {
        "share": sum(share for share, _ in far) / len(jobs),
        "said": which + far[at][1],
        "stoppable": not all(job.finished or job.stopping for job in jobs),
    }


def _results(jobs: Sequence[Job], sweeps: Mapping[str, CellByCell], model: Model) -> list[Result]:
    """What sweeps that are over found. Raises what one raised."""
    found = [
        result_of_job(job, sweep, model) for job, sweep in zip(jobs, sweeps.values(), strict=True)
    ]
    return [one for one in found if one is not None]
