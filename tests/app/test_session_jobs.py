"""How much one of many visitors may ask for, how long it may take, and what becomes of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx
from streamlit.testing.v1 import AppTest

from app_pages import one_view
from patchwright.app import resources, session_jobs
from patchwright.axes import METRICS
from patchwright.experiment.run import tokens_of
from patchwright.jobs import Job, JobQueue
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import Site
from patchwright.prompts.pair import Pair, TokenPair
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])


def patch_of(site: Site = "resid_pre", per: Any = "position", **more: Any) -> Patch:
    layers = (1,) if per == "neuron" else None
    fields: dict[str, Any] = {"model": "tiny", "pairs": PAIR, "layers": layers}
    return Patch(site=site, per=per, **fields | more)


def tokens(model: Model, pair: Pair = PAIR) -> TokenPair:
    return tokens_of(pair, patch_of(), model)


def of_length(model: Model, clean: int, corrupt: int) -> TokenPair:
    return replace(tokens(model), clean=(1,) * clean, corrupt=(2,) * corrupt)


def with_sizes(model: Model, **sizes: int) -> Model:
    return replace(model, network=replace(model.network, spec=replace(model.spec, **sizes)))


def test_a_longer_or_larger_sweep_is_guessed_to_take_longer(model: Model) -> None:
    short = session_jobs.estimated_seconds(patch_of(), 4, model)
    assert 0 < short < session_jobs.LONG
    assert session_jobs.estimated_seconds(patch_of(), 8, model) > short
    assert session_jobs.estimated_seconds(patch_of(), 4, with_sizes(model, n_layers=6)) > short
    assert session_jobs.estimated_seconds(patch_of("z", "head_position"), 4, model) > short
    assert session_jobs.estimated_seconds(patch_of(layers=(0,)), 4, model) < short


def test_only_a_long_sweep_of_equal_lengths_with_a_gradient_gets_an_estimate(model: Model) -> None:
    large = with_sizes(model, n_layers=48, d_model=1600, d_mlp=6400)
    pair = of_length(model, 60, 60)
    assert session_jobs.in_best_order(patch_of(), pair, large).order == "attribution"
    assert session_jobs.in_best_order(patch_of(), pair, model).order == "layers"
    assert session_jobs.in_best_order(patch_of(), of_length(model, 60, 59), large).order == "layers"
    for metric in METRICS:
        order = session_jobs.in_best_order(patch_of(metric=metric), pair, large).order
        assert order == ("layers" if metric == "rank" else "attribution")


def test_the_options_are_read_behind_streamlits_own(monkeypatch: pytest.MonkeyPatch) -> None:
    resources.options.clear()
    monkeypatch.setattr(
        "sys.argv", ["main.py", "--max-jobs", "5", "--folder", "a", "--folder", "b"]
    )
    found = resources.options()
    resources.options.clear()
    assert (found.max_jobs, [str(one) for one in found.folders]) == (5, ["a", "b"])


def then_something_else_is_asked(
    monkeypatch: pytest.MonkeyPatch, step: str, seen: list[Job]
) -> None:
    """Right after the first such step of the queue, the visitor asks the page for something else."""
    real: Callable[..., Job] = vars(JobQueue)[step]

    def work(*given: Any) -> Job:
        seen.append(real(*given))
        running = get_script_run_ctx()
        assert running is not None
        assert running.script_requests is not None
        if len(seen) == 1:
            running.script_requests.request_rerun(RerunData())
        return seen[-1]

    monkeypatch.setattr(JobQueue, step, work)


@pytest.mark.filterwarnings("default")
def test_work_that_was_asked_for_just_before_something_else_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Job] = []
    then_something_else_is_asked(monkeypatch, "submit", seen)
    page = one_view("many", set_count="4", set_seed="31")
    assert page.session_state["jobs"] == {"set": seen[0]}
    assert seen[0].subscribers == len(seen) == 1


def called(function: str, *given: Any, **jobs: Job) -> dict[str, Job]:
    """A visitor's work by slot after a button has called this function."""
    page = AppTest.from_function(_button, args=(function, given))
    page.session_state["jobs"] = jobs
    page.run().button[0].click().run()
    return page.session_state["jobs"]


def _button(function: str, given: tuple[object, ...]) -> None:
    import streamlit as st

    from patchwright.app import session_jobs

    st.button("Act", on_click=getattr(session_jobs, function), args=given)


def test_stop_ends_all_the_work_that_is_shown_together_whatever_is_asked_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Job] = []
    then_something_else_is_asked(monkeypatch, "stop", seen)
    jobs = called("stop", ["a", "b", "c"], a=Job("a"), b=Job("b"), c=Job("c"))
    assert [job.stopping for job in jobs.values()] == [True] * 3
    assert seen == list(jobs.values())


def test_who_turns_the_page_gives_up_their_work_and_keeps_what_they_stopped() -> None:
    stopped, under_way = Job("a"), Job("b")
    stopped.cancel()
    assert called("leave_page", stopped=stopped, under_way=under_way) == {"stopped": stopped}
    assert (under_way.stopping, under_way.subscribers) == (True, 0)
