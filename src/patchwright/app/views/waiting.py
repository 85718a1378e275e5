"""Long work on the page: how far it is, and Stop."""

import streamlit as st

from patchwright.app.work import desk, job_of
from patchwright.experiment import AnyExperiment
from patchwright.methods.result import Result
from patchwright.model.load import Model


def finished(experiment: AnyExperiment, model: Model, slot: str, what: str) -> Result | None:
    """The result; while there is none yet, None and how many of `what` are done.

    Raises what the work raised. What was stopped is a result too, with a button to do the rest.
    """
    job = job_of(experiment, model, slot)
    if not job.over:
        _under_way(experiment, model, slot, what)
        return None
    if job.error is not None:
        raise job.error
    assert job.result is not None, "a job that is over has an error or a result"
    if any(notice["code"] == "stopped" for notice in job.result.warnings):
        st.button("Compute the rest", key=f"rest-{slot}", on_click=_start_again, args=(slot,))
    return job.result


@st.fragment(run_every=0.4)
def _under_way(experiment: AnyExperiment, model: Model, slot: str, what: str) -> None:
    job = job_of(experiment, model, slot)
    if job.over:
        st.rerun()
    bar, stop = st.columns([5, 1], vertical_alignment="bottom")
    if job.progress is None:
        ahead = desk().ahead_of(job)
        waits = f"Waiting: {ahead} before it" if ahead else "Starting"
        bar.progress(0.0, "Running both prompts" if job.running else waits)
    else:
        done, total, left = job.progress.done, job.progress.total, job.seconds_left
        time = "" if left is None else f", about {left:.0f} s left"
        bar.progress(done / total, f"{done:,} of {total:,} {what}{time}")
    stop.button(
        "Stop", on_click=job.stop, disabled=job.stopping, key=f"stop-{slot}", width="stretch"
    )


def _start_again(slot: str) -> None:
    job = st.session_state.pop(slot, None)
    if job is not None:
        desk().forget(job)
