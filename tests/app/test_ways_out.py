"""What the page refuses, it says how to mend; what it shows, it computes once."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest
from streamlit.runtime.caching import clear_session_resource_cache

import patchwright
from app_pages import errors, looked_at, one_view
from patchwright.algorithms.batches import OnProgress
from patchwright.algorithms.result import Result
from patchwright.app import results
from patchwright.app.text import error_markdown
from patchwright.errors import PatchwrightError, UnknownPlaceError
from patchwright.experiment.base import Experiment
from patchwright.experiment.run import run
from patchwright.jobs import Job
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import parse_place
from patchwright.storage import run_cached
from timeouts import SECONDS

pytestmark = pytest.mark.filterwarnings("default")


def test_an_answer_of_several_tokens_can_be_measured_by_one_click() -> None:
    shown = one_view("patch")
    shown.text_input(key="answer").set_value(" Reykjavik").run()
    assert "several tokens" in errors(shown)[0]
    next(one for one in shown.button if one.label == "Measure logprob_diff").click().run()
    assert errors(shown) == []
    assert shown.selectbox(key="metric").value == "logprob_diff"


def test_without_a_wrong_answer_a_metric_that_needs_none_is_offered() -> None:
    shown = one_view("patch")
    shown.text_input(key="wrong").set_value("").run()
    offered = [one.label for one in shown.button if one.label.startswith("Measure")]
    assert offered == ["Measure logprob"]


def test_the_metric_can_be_chosen_while_the_answers_do_not_fit_it() -> None:
    shown = one_view("patch")
    shown.text_input(key="answer").set_value(" Reykjavik").run()
    shown.selectbox(key="metric").set_value("logprob_diff").run()
    assert errors(shown) == []


def test_proposals_give_their_tokens_again() -> None:
    shown = one_view("patch")
    shown.text_area(key="clean").set_value("Mary saw 🦄").run()
    assert "position" in errors(shown)[0]
    assert not any("[" in one.label for one in shown.button)


def test_an_example_for_gpt2_is_said_to_be_one() -> None:
    shown = one_view("patch")
    assert not shown.info
    next(one for one in shown.selectbox if one.label == "Example").set_value("gpt2-repeat").run()
    assert "This example is for gpt2" in shown.info[0].value


def test_of_a_chosen_place_that_is_not_there_the_strongest_is_shown() -> None:
    shown = one_view("patch")
    shown.session_state["chosen"] = "L99H3.z"
    shown.run()
    assert errors(shown) == []
    assert [one.value for one in shown.warning if "Layer 99" in one.value]
    assert looked_at(shown) == "L1.resid_pre@14"


@pytest.mark.parametrize("site", ["resid_pre", "z"])
def test_the_sweep_that_is_shown_is_not_run_again(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[str] = []

    def counted(experiment: Experiment, model: Model, *more: object) -> Result:
        if isinstance(experiment, Patch):
            swept.append(f"{experiment.site} {experiment.per}")
        return run(experiment, model)

    shown = one_view("patch")
    shown.text_area(key="clean").set_value("When Tom and Eva met, Tom gave a book to")
    shown.text_area(key="corrupt").set_value("When Tom and Eva met, Eva gave a book to")
    shown.text_input(key="answer").set_value(" Eva" if site == "z" else " Tom")
    shown.text_input(key="wrong").set_value(" Tom" if site == "z" else " Eva")
    shown.selectbox(key="site").set_value(site)
    monkeypatch.setattr(results, "run", counted)
    monkeypatch.setattr(run_cached, "run", counted)
    shown.run()
    assert errors(shown) == []
    assert swept.count("resid_pre position") == 1
    assert swept.count("z head") == 1


@pytest.mark.parametrize("text", ["L77.z", "L1H99.z", "L0.resid_pre@99"])
def test_what_names_a_command_elsewhere_names_what_to_do_on_the_page(
    demo: Model, text: str
) -> None:
    with pytest.raises(UnknownPlaceError, match="`patchwright ") as raised:
        parse_place(text).within(demo.spec, 5)
    said = error_markdown(raised.value).replace("\\", "")
    assert "`patchwright" not in said
    assert "on this page have" in said or "chips under the prompts" in said
    assert said.startswith(str(raised.value)[:8])


def test_every_command_that_an_error_names_has_its_words_on_the_page() -> None:
    folder = Path(patchwright.__file__).parent
    named: set[str] = set()
    for file in folder.rglob("*.py"):
        if not {"cli", "app", "server"} & set(file.relative_to(folder).parts):
            words = r'`patchwright (?:"\s+f?")?(runs \w+|\w+)'
            named |= set(re.findall(words, file.read_text(encoding="utf-8")))
    sentences = {
        "places": "`patchwright places --model demo` lists its places.",
        "tokens": "`patchwright tokens` shows them.",
        "models": "`patchwright models` lists names that work; a local folder is given by its path.",
        "runs list": "there is no such run. `patchwright runs list` has them.",
        "runs prune": "Make room (`patchwright runs prune`).",
        "runs delete": "Delete it (`patchwright runs delete 2ab16e`) and compute it again.",
        "runs export": "give a file that `patchwright runs export` wrote.",
    }
    assert named == set(sentences)
    for sentence in sentences.values():
        assert "patchwright" not in error_markdown(PatchwrightError(sentence))


def test_after_only_the_edges_were_matched_there_is_a_way_back() -> None:
    shown = one_view("patch")
    assert not [one for one in shown.button if one.label == "Match every position"]
    clean = str(shown.text_area(key="clean").value)
    shown.text_area(key="corrupt").set_value(clean.replace("John gave", "Mary then gave")).run()
    next(one for one in shown.button if one.label == "Match only the common edges").click().run()
    assert errors(shown) == []
    back = next(one for one in shown.button if one.label == "Match every position")
    back.click().run()
    assert len(errors(shown)) == 1
    assert not [one for one in shown.button if one.label == "Match every position"]


def slow(begun: threading.Event, go: threading.Event) -> Any:
    """A computation that tells one step and then waits, until it is told to stop."""

    def compute(experiment: Experiment, model: Model, progress: OnProgress, *_: object) -> Result:
        begun.set()
        found = run(experiment, model, lambda now: progress(now) is not False and go.wait(SECONDS))
        assert go.wait(SECONDS)
        return found

    return compute


def test_the_end_of_a_visitors_session_stops_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    shown = one_view("patch")
    monkeypatch.setattr(run_cached, "run", slow(begun, go))
    shown.text_area(key="clean").set_value("When Tom and Mary met, Tom gave a book to")
    shown.text_area(key="corrupt").set_value("When Tom and Mary met, Mary gave a book to")
    shown.run()
    try:
        assert begun.wait(SECONDS)
        job: Job = shown.session_state["jobs"]["patch"]
        assert (job.finished, job.stopping) == (False, False)
        clear_session_resource_cache("test session id")  # as Streamlit does when a tab is closed
        assert job.stopping
        assert job.subscribers == 0
    finally:
        go.set()
