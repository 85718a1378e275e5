"""The view for the projector without a browser: its address, and that a lesson's answer waits."""

import pytest

from app_pages import sent, settled, unopened_view, whole_page, words
from patchwright.app import url_state
from patchwright.app.lesson_progress import Catalog
from patchwright.app.views import learn
from patchwright.errors import InputError
from patchwright.lessons import Step, built_in_lessons

pytestmark = pytest.mark.filterwarnings("default")

LESSON = built_in_lessons()[2]


@pytest.mark.parametrize("page", ["patch", "trace", "learn"])
def test_the_view_is_in_the_address_of_every_workbench_and_lesson(page: str) -> None:
    assert url_state.read_parameters(page, {"view": "projector"})["view"] == "projector"
    with pytest.raises(InputError, match="The address has view 'wall'"):
        url_state.read_parameters(page, {"view": "wall"})


def test_explore_has_two_buttons_more_and_leaves_with_all_that_it_had() -> None:
    page = whole_page(view="projector", chosen="L0.resid_pre@2")
    labels = [one.label for one in page.button]
    assert {"Reveal", "Leave"} <= set(labels)
    leave = next(one for one in page.button if one.label == "Leave")
    page = settled(leave.click().run())
    assert "Reveal" not in [one.label for one in page.button]
    assert page.session_state["chosen"] == "L0.resid_pre@2"


def test_a_lesson_shows_question_and_map_and_marks_nothing() -> None:
    page = unopened_view("learn", lesson=LESSON.name, view="projector")
    page = settled(page.run())
    assert str(LESSON.steps[0].question) in words(page)
    assert "Your prediction" not in words(page)
    (shown,) = sent(page)[0]["maps"]
    assert (shown["clickable"], shown["marked"]) == (False, [])
    page.session_state["revealed"] = True
    page = settled(page.run())
    assert "Right: layer 0, position 2 (·key)." in words(page)
    assert sent(page)[0]["maps"][0]["marked"] == ["L0.resid_pre@2"]
    assert page.session_state["tries"] == {f"demo/{LESSON.name}": {}}


@pytest.mark.parametrize("step", ["1", "2", "9"])
def test_a_step_that_asks_nothing_shows_its_text_and_has_nothing_to_reveal(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Step(text="Now try *another* pair.")
    own = LESSON.model_copy(update={"name": "own", "steps": (LESSON.steps[0], told)})
    monkeypatch.setattr(learn, "lessons", lambda: Catalog({"own": own}, ()))
    page = settled(unopened_view("learn", lesson="own", step=step, view="projector").run())
    labels = [one.label for one in page.button]
    assert ("Reveal" in labels) == (step == "1")
    assert ("Now try" in words(page)) == (step == "2")
    assert ("Leave" in labels) == (step != "9"), "of a step that is not there the list is shown"


def test_choices_stand_there_as_a_list() -> None:
    page = settled(unopened_view("learn", lesson=LESSON.name, step="3", view="projector").run())
    assert "- None\n- About half\n- All of it" in words(page)
    assert not page.radio
