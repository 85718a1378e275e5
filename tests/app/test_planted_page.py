"""The page on models whose circuit is planted: each opens on its own example, and says what it is."""

import pytest

from app_pages import one_view, settled, whole_page, words
from patchwright.app import resources, session_state
from patchwright.app.views.tabs import TABS
from patchwright.model.catalog import CATALOG, is_planted
from patchwright.prompts.examples import example

NAMED = [one.name for one in CATALOG if is_planted(one.name)]
SHOWN = [(view, "planted-fact") for view in TABS] + [("patch", name) for name in NAMED]

pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize(("view", "name"), SHOWN)
def test_every_view_shows_a_planted_model_on_its_own_example(view: str, name: str) -> None:
    page = one_view(view, model=name, example=name)
    assert [one.value for one in page.error] == []
    assert "Not a language model: made in memory, not trained; its circuit is planted" in words(
        page
    )
    assert page.session_state["clean"] == example(name).pair.clean


def test_choosing_a_planted_model_takes_its_example_and_another_model_leaves_it() -> None:
    page = whole_page(model="demo")
    page = settled(page.selectbox(key="model").set_value("planted-induction").run())
    assert page.session_state["clean"] == example("planted-induction").pair.clean
    page = settled(page.selectbox(key="model").set_value("planted-fact").run())
    assert page.session_state["clean"] == example("planted-fact").pair.clean
    page = settled(page.selectbox(key="model").set_value("demo").run())
    assert page.session_state["clean"] == example(session_state.FIRST_EXAMPLE).pair.clean
    assert [one.value for one in page.error] == []


def test_prompts_of_ones_own_stay_when_a_planted_model_is_chosen() -> None:
    page = whole_page(model="demo")
    page.text_area(key="clean").set_value("The Tower is in").run()
    page = settled(page.selectbox(key="model").set_value("planted-fact").run())
    assert page.session_state["clean"] == "The Tower is in"
    assert "this small model knows only . Athens" in words(page)


def test_a_page_that_is_started_on_a_planted_model_opens_on_its_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "first_model", lambda: "planted-direction")
    page = whole_page()
    assert page.session_state["model"] == "planted-direction"
    assert page.session_state["clean"] == example("planted-direction").pair.clean
    assert [one.value for one in page.error] == []
