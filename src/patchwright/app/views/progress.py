"""Long work on the page: how far it is, Stop, and what is finished meanwhile."""

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app.limits import LIMITS
from patchwright.app.resources import job_queue
from patchwright.app.session_jobs import job_of, result_so_far, start_again, stop
from patchwright.experiment.base import CellByCell, Experiment
from patchwright.jobs import Job
from patchwright.model.load import Model

TOO_LONG = (
    f"An experiment may work for {LIMITS.seconds:g} seconds on this page: what was finished by then "
    "is shown. Ask for less, or use the command line, which has no such bound."
)


def finished(experiment: Experiment, model: Model, slot: str, what: str) -> Result | None:
    """The result; while there is none yet, None and how many of `what` are done.

    Raises what the work raised. What was stopped is a result too where it has cells, with a
    button to do the rest.
    """
    job = job_of(experiment, model, slot)
    if not job.over:
        _under_way(experiment, model, slot, what)
        return None
    result = result_of_job(job, experiment, model)
    if result is None:
        st.warning(f"Stopped before all {what} were done, and a part of them shows nothing.")
    if job.late:
        st.warning(TOO_LONG)
    elif result is None or stopped(result):
        rest([slot])
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


def stopped(result: Result) -> bool:
    """Whether cells are missing because somebody stopped the work."""
    return any(notice["code"] == "stopped" for notice in result.warnings)


def rest(slots: list[str]) -> None:
    """A button that does what was stopped after all."""
    st.button("Compute the rest", key=f"rest-{slots[0]}", on_click=start_again, args=(slots,))


@st.fragment(run_every=0.4)
def _under_way(experiment: Experiment, model: Model, slot: str, what: str) -> None:
    job = job_of(experiment, model, slot)
    if job.over:
        st.rerun()
    bar, button = st.columns([5, 1], vertical_alignment="bottom")
    bar.progress(*how_far(job, job_queue().ahead_of(job), what))
    button.button(
        "Stop",
        on_click=stop,
        args=([slot],),
        key=f"stop-{slot}",
        width="stretch",
        disabled=job.stopping,
        help="Keeps what is finished.",
    )


def how_far(job: Job, ahead: int, what: str) -> tuple[float, str]:
    """The share of the work that is done, and a line about it; `ahead` jobs wait before it."""
    now, left = job.progress, job.seconds_left
    if job.result is not None:
        return 1.0, "Done"
    if now is None:
        waits = f"Waiting: {ahead} before it" if ahead else "Waiting for its turn"
        return 0.0, "Running the prompts" if job.running else waits
    time = "" if left is None else f", about {left:.0f} s left"
    if job.stopping:
        time = ", stopping"
    return now.done / now.total, f"{now.done:,} of {now.total:,} {what}{time}"
