"""The tab Causal trace: what it says and shows, without a browser."""

import threading
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app_pages import (
    errors,
    facts,
    looked_at,
    one_view,
    settled,
    unopened_view,
    words,
    workbench,
)
from patchwright.algorithms.batches import OnProgress, Progress
from patchwright.algorithms.result import Result
from patchwright.app import results, session_jobs, session_state, url_state
from patchwright.app.text import BREAK
from patchwright.app.views import trace_maps, trace_place
from patchwright.app.views.progress import job_progress
from patchwright.app.views.workbench import place_on_maps
from patchwright.axes import METRICS
from patchwright.errors import ExperimentError, InputError
from patchwright.figures.grid import grid_of
from patchwright.jobs import Job
from patchwright.methods.trace import TraceSite, trace
from patchwright.model.load import Model
from patchwright.spelling import percent
from patchwright.storage.run_cached import run_cached
from timeouts import SECONDS

TEXTS = ("<bos>", "The", " Eiffel", " Tower", " is", " in")
PROMPT = [1, 2, 3, 4, 5]
OTHER = ("<bos>", "The", " Blue", " Mosque", " is", " in")

on_the_page = pytest.mark.filterwarnings("default")


def opened(**parameters: str) -> AppTest:
    """The page on the Eiffel Tower, unless it is asked for another prompt."""
    return one_view("trace", **({"example": "eiffel-tower"} | parameters))


@on_the_page
def test_the_first_paint_is_a_finished_trace_of_the_subject_in_which_the_prompts_differ() -> None:
    page = opened()
    assert errors(page) == []
    assert page.button_group(key="subject").value == [2, 3]
    bench = workbench(page)
    assert looked_at(page) == "L0.mlp_out@2"
    assert "of what the noise took away" in bench["inspector"]["sentence"]
    assert [one["caption"] for one in bench["maps"]] == ["Hidden state", "MLP", "Attention"]
    assert [one["scaled"] for one in bench["maps"]] == [True, False, False]
    assert "Noise on **·Eiffel** **·Tower**, 3 × σ strong" in words(page)
    assert "drawn 10 times: the answer's probability goes from 0.999 to **0.281**" in words(page)
    assert (
        facts(page)["the 10 noisy runs say"]
        == "·Rome (3), ·Athens (3), ·Paris (2), other tokens (2)"
    )
    noisy, restored, clean = bench["inspector"]["runs"]
    assert [round(one["tokens"][0][1], 2) for one in (noisy, restored, clean)] == [0.28, 0.91, 1.0]
    assert bench["inspector"]["ruler"]["value"] == restored["tokens"][0][1]


@on_the_page
def test_the_window_stands_over_each_map_and_what_is_severed_with_the_noise() -> None:
    page = opened(window="3", sever="attn_out", chosen="L0.mlp_out@2")
    assert errors(page) == []
    assert [one["caption"] for one in workbench(page)["maps"]] == [
        "Hidden state",
        "MLP, 3 layers at once",
        "Attention, 3 layers at once",
    ]
    assert facts(page)["restored at once"] == "layers 0 to 1"
    assert "attn_out stays noisy where a place is restored, but in its own map" in words(page)


@on_the_page
def test_the_address_reproduces_what_was_chosen_and_seen() -> None:
    asked = {"subject": "2", "noise": "2.5", "samples": "3", "seed": "7"}
    asked |= {"chosen": "L3.attn_out@5", "trace_metric": "logit_diff"}
    page = opened(**asked)
    assert errors(page) == []
    assert looked_at(page) == "L3.attn_out@5"
    assert {name: str(value) for name, value in page.query_params.items()} == {
        "model": "demo",
        "example": "eiffel-tower",
    } | asked


@on_the_page
def test_an_address_of_before_chose_its_place_by_another_name() -> None:
    assert looked_at(opened(trace_chosen="L3.attn_out@5", samples="1")) == "L3.attn_out@5"


@on_the_page
@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_can_be_traced_and_asks_for_a_wrong_answer_only_where_it_needs_one(
    metric: str,
) -> None:
    page = opened(samples="1", trace_metric=metric)
    assert errors(page) == []
    asked = any(one.key == "wrong" for one in page.text_input)
    assert asked == metric.endswith("_diff")


@on_the_page
@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"window": "7"}, "A window of 7 layers: the model has 6"),
        ({"answer": ""}, "No answer was given"),
        ({"wrong": "", "trace_metric": "logit_diff"}, "compares with a wrong answer"),
        ({"clean": ""}, "The prompt is empty"),
        ({"clean": "the " * 80}, "takes at most 64"),
        ({"clean": "Paris is in", "corrupt": "Rome was at"}, "No subject is chosen"),
    ],
)
def test_what_cannot_be_traced_is_one_sentence_in_place(
    parameters: dict[str, str], says: str
) -> None:
    found = errors(
        opened(
            **({"subject": "1"} if parameters.get("clean", "").startswith("the") else {})
            | parameters
        )
    )
    assert len(found) == 1
    assert says in found[0].replace(BREAK, "").replace("\\", "")


@on_the_page
def test_a_subject_that_was_cleared_stays_so_and_is_asked_for() -> None:
    page = opened(samples="1")
    page.button_group(key="subject").set_value([]).run()
    assert page.button_group(key="subject").value == []
    assert "No subject is chosen" in errors(page)[0]
    page.button_group(key="subject").set_value([3])
    page = settled(page.run())
    assert errors(page) == []


@on_the_page
def test_a_shorter_prompt_leaves_no_subject_behind_its_end() -> None:
    page = opened(samples="1", subject="2~4")
    page.text_area(key="clean").set_value("The Eiffel")
    page = settled(page.run())
    assert not page.exception
    assert all(position < 3 for position in page.button_group(key="subject").value or [])


@on_the_page
def test_a_subject_outside_the_prompt_is_refused_in_a_sentence_and_proposed_anew() -> None:
    page = opened(samples="1", subject="2~40")
    assert "outside positions 1-5" in page.warning[0].value
    assert page.button_group(key="subject").value == [2, 3]
    assert errors(page) == []


@on_the_page
def test_the_answer_can_be_taken_from_the_run() -> None:
    page = opened(samples="1", answer=" red")
    next(one for one in page.button if one.label == "Use the model's own answer").click()
    page = settled(page.run())
    assert page.text_input(key="answer").value == " Paris"


@on_the_page
def test_what_the_user_typed_is_never_markup() -> None:
    page = opened(samples="1", clean="<b>x</b> **Paris** is", subject="1", answer=" <i>")
    assert not page.exception
    texts = [str(one.value) for one in (*page.markdown, *page.error, *page.caption)]
    assert not any("<b>" in one or "<i>" in one for one in texts)
    assert not any("<b>" in option for option in page.button_group(key="subject").options)


@pytest.mark.parametrize(
    ("name", "value"),
    [("samples", "0"), ("samples", "101"), ("noise", "-1"), ("noise", "21"), ("window", "0")],
)
def test_an_address_with_numbers_that_the_controls_do_not_have_is_refused(
    name: str, value: str
) -> None:
    with pytest.raises(InputError, match=f"{name} {value}: it may be"):
        url_state.read_parameters("trace", {name: value})


def test_what_streamlit_forgets_when_another_page_is_shown_comes_back() -> None:
    page: dict[Any, Any] = {}
    session_state.prepare(page)
    session_state.set_controls(page, {"clean": "mine", "samples": 3})
    session_state.keep(page)
    for name in session_state.FIELDS:
        del page[name]
    session_state.prepare(page, "trace")
    assert (page["clean"], page["samples"], page["noise"]) == ("mine", 3, 3.0)


def test_the_proposed_subject_is_the_stretch_in_which_the_prompts_differ() -> None:
    assert session_state.proposed_subject(TEXTS, OTHER, 1) == [2, 3]
    assert session_state.proposed_subject(TEXTS, ("<bos>", "The", " Louvre", " is", " in"), 1) == [
        2,
        3,
    ]
    assert session_state.proposed_subject(TEXTS, TEXTS, 1) == []
    assert session_state.proposed_subject(TEXTS, ("<bos>", "Quite", " other"), 1) == []


def test_a_subject_stays_while_its_tokens_stay_where_they_are() -> None:
    page: dict[Any, Any] = {"subject": []}
    assert session_state.settle_subject(page, TEXTS, OTHER, 1) is None
    assert page["subject"] == [2, 3]
    page["subject"] = [2]
    assert session_state.settle_subject(page, (*TEXTS, " the"), OTHER, 1) is None
    assert page["subject"] == [2]
    moved = ("<bos>", "Oh", "The", " Eiffel", " Tower", " is")
    assert session_state.settle_subject(page, moved, OTHER, 1) is None
    assert page["subject"] == []


@given(st.lists(st.integers(-3, 20), max_size=4), st.integers(1, 8), st.integers(0, 1))
def test_no_subject_is_ever_outside_the_prompt(subject: list[int], length: int, first: int) -> None:
    page: dict[Any, Any] = {"subject": subject}
    session_state.settle_subject(page, TEXTS[:length], OTHER, first)
    assert all(first <= one < min(length, len(TEXTS)) for one in page["subject"])


def traced(model: Model) -> dict[TraceSite, Result]:
    settings: dict[str, Any] = {"subject": [1, 2], "answer": [7], "samples": 3}
    settings |= {"wrong": [11], "metric": "logit_diff", "seed": 2}
    windows = {"resid_post": 1, "mlp_out": 2, "attn_out": 2}
    return {
        site: trace(model, PROMPT, site=site, window=windows[site], **settings)
        for site in trace_maps.SITES
    }


def test_the_maps_share_one_scale_that_holds_all_their_values(model: Model) -> None:
    results = traced(model)
    grids = trace_maps.maps_of(list(results.values())).grids
    assert len({(one.low, one.high) for one in grids}) == 1
    every = np.concatenate([one.values.ravel() for one in grids])
    assert (grids[0].low, grids[0].high) == (every.min(), every.max())
    for grid, result in zip(grids, results.values(), strict=True):
        np.testing.assert_array_equal(grid.values, grid_of(result).values)


def test_the_sentence_carries_the_results_numbers(model: Model) -> None:
    result = traced(model)["mlp_out"]
    text = trace_place.sentence("L1.mlp_out@2", result)
    cell = {"layer": 1, "position": 2}
    assert f"to {float(result.patched.sel(cell)):.3g} on average over 3 samples" in text
    assert f"from {result.corrupt.metric:.3g}" in text
    assert f"(standard deviation {float(result.array('spread').sel(cell)):.2g})" in text
    assert f"{percent(float(result.effect.sel(cell)))} of what the noise took away" in text
    assert "MLP output of layer 1 in a window of 2 layers" in text
    assert "changes nothing" in trace_place.sentence("L1.mlp_out@0", result)


def test_the_samples_of_a_place_average_to_its_effect(model: Model) -> None:
    result = traced(model)["attn_out"]
    mean = result.array("samples").sel(layer=2, position=3).mean()
    assert float(result.patched.sel(layer=2, position=3)) == pytest.approx(float(mean))
    assert len(trace_place.predictions_table(result)) == 4


def test_noise_that_leaves_the_answer_standing_is_said_and_only_then(demo: Model) -> None:
    asked = "The Eiffel Tower is in", "Eiffel Tower", " Paris"
    weak, strong = (trace(demo, *asked, noise=noise, samples=5) for noise in (0.01, 6.0))
    assert trace_place.noisy_answers(weak) == "·Paris (5)"
    assert "more noise may take more away" in trace_maps.noise_in_words(weak, "nothing")
    firsts = [str(one.top[0]["token"]) for one in strong.corrupt.pairs]
    assert firsts.count(" Paris") <= 2
    assert "more noise" not in trace_maps.noise_in_words(strong, "nothing")


def test_a_place_that_the_maps_do_not_have_becomes_the_strongest_mlp(model: Model) -> None:
    results = traced(model)
    maps = trace_maps.maps_of(list(results.values()))
    strongest = str(results["mlp_out"].top(1)["place"].iloc[0])
    assert place_on_maps("L1.attn_out@3", maps) == "L1.attn_out@3"
    assert place_on_maps("L1.attn_out@-1", maps) == "L1.attn_out@4"
    for bad in ("", "L9.attn_out@3", "L1.attn_out@5", "L1.attn_out@-6", "L1H2.z@3", "L1.attn_out"):
        assert place_on_maps(bad, maps) == strongest


def test_the_spread_of_a_cell_is_told_in_the_unit_of_its_map(model: Model) -> None:
    results = traced(model)
    for result, spreads in zip(
        results.values(), trace_maps.maps_of(list(results.values())).spreads, strict=True
    ):
        effects = result.array("samples") / (result.clean.metric - result.corrupt.metric)
        np.testing.assert_allclose(
            np.array(spreads, float), effects.std("sample", ddof=1).values, atol=1e-9
        )


def test_a_stopped_trace_says_so_under_the_maps_name_and_keeps_its_cells(model: Model) -> None:
    def stop(now: Progress) -> bool:
        return False

    results = traced(model)
    results["attn_out"] = trace(
        model,
        [1, 2, 3, 4, 5],
        [1, 2],
        [7],
        11,
        site="attn_out",
        samples=3,
        progress=stop,
        metric="logit_diff",
    )
    said = [one for one in trace_maps.warnings_of(list(results.values())) if "stopped" in one]
    assert len(said) == 1
    assert said[0].startswith("Attention: ")
    assert "not computed" in trace_place.sentence("L2.attn_out@3", results["attn_out"])
    assert len(trace_maps.maps_of(list(results.values())).grids) == 3


def test_how_far_a_trace_is_counts_its_runs() -> None:
    job, seen = Job("key"), threading.Event()

    def compute(progress: OnProgress) -> Result:
        progress(Progress(30, 120, np.zeros(1)))
        seen.set()
        raise ExperimentError("over")

    assert job_progress(job, 2, "runs") == (0.0, "Waiting: 2 before it")
    job.run(cast("Any", compute))
    assert job_progress(job, 0, "runs") == (0.25, "30 of 120 runs")


@on_the_page
@pytest.mark.parametrize(
    "parameters", [{"answer": ""}, {"wrong": "", "trace_metric": "logit_diff"}], ids=str
)
def test_what_cannot_be_traced_is_said_also_while_the_work_is_under_way(
    parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that has not begun has no error of its own yet."""
    go_on = threading.Event()

    def waiting(*asked: Any) -> Any:
        assert go_on.wait(SECONDS)
        return run_cached(*asked)

    monkeypatch.setattr(results, "run_cached", waiting)
    monkeypatch.setattr(session_jobs, "PATIENCE", 0.0)
    asked = {"example": "eiffel-tower", "samples": "1"} | parameters
    page = unopened_view("trace", **asked).run()
    try:
        assert not page.exception
        assert len(page.error) == 1
    finally:
        go_on.set()
    settled(page)
