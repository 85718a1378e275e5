"""The page without a browser: what it says to questionable input, and that nothing breaks."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from patchwright.methods.metrics import METRICS
from patchwright.places import SITES, check_site, pers_of

MAIN = Path(__file__).parents[2] / "src" / "patchwright" / "app" / "main.py"

pytestmark = pytest.mark.filterwarnings("default")


def opened() -> AppTest:
    page = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert not page.exception
    return page


def errors(page: AppTest) -> list[str]:
    assert not page.exception
    return [error.value for error in page.error]


def test_the_first_paint_is_a_finished_experiment() -> None:
    page = opened()
    assert errors(page) == []
    labels = [metric.label for metric in page.metric]
    assert labels == ["Clean run: logit_diff", "Corrupted run: logit_diff", "Gap"]
    assert any("goes from" in element.value for element in page.markdown)


@pytest.mark.parametrize("site", SITES)
def test_every_site_and_kind_of_place_can_be_chosen(site: str) -> None:
    page = opened()
    page.selectbox(key="site").set_value(site).run()
    assert page.selectbox(key="per").value == pers_of(check_site(site))[0]
    for per in pers_of(check_site(site)):
        page.selectbox(key="per").set_value(per).run()
        assert errors(page) == [], per


def test_every_metric_and_both_directions_can_be_chosen() -> None:
    page = opened()
    page.selectbox(key="direction").set_value("noise").run()
    assert errors(page) == []
    for metric in METRICS:
        page.selectbox(key="metric").set_value(metric).run()
        assert errors(page) == [], metric


def test_every_example_can_be_taken() -> None:
    page = opened()
    for example in [str(button.key) for button in page.button if "example-" in str(button.key)][:8]:
        page.button(key=example).click().run()
        assert errors(page) == [], example


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("clean", "", "The prompt is empty"),
        ("corrupt", "", "The prompt is empty"),
        ("answer", "", "No answer was given"),
        ("wrong", "", "compares with a wrong answer"),
        ("clean", "the " * 80, "takes at most 64"),
        ("corrupt", "When Mary and John went to the store, John gave a drink to", "same tokens"),
        ("corrupt", "Mary gave a drink to", "part at position 1"),
        ("answer", " Reykjavik", "several tokens"),
    ],
)
def test_wrong_input_is_one_sentence_in_place(key: str, text: str, says: str) -> None:
    page = opened()
    area = page.text_area if key in ("clean", "corrupt") else page.text_input
    area(key=key).set_value(text).run()
    found = errors(page)
    assert len(found) == 1
    assert says in found[0]


def test_unequal_prompts_get_replacements_and_one_click_repairs_them() -> None:
    page = opened()
    page.text_area(key="corrupt").set_value(
        "When Mary and John went to the big store, Mary gave a drink to"
    ).run()
    assert len(errors(page)) == 1
    offered = [button for button in page.button if str(button.key).startswith("same-")]
    assert offered
    offered[0].click().run()
    assert errors(page) == []


def test_the_edges_can_be_matched_instead() -> None:
    page = opened()
    page.text_area(key="corrupt").set_value(
        "When Mary and John went to the big store, Mary gave a drink to"
    ).run()
    next(button for button in page.button if "edges" in button.label).click().run()
    assert errors(page) == []


def test_answers_can_be_taken_from_the_runs() -> None:
    page = opened()
    page.text_input(key="answer").set_value(" red").run()
    next(button for button in page.button if button.label == "From the runs").click().run()
    assert page.text_input(key="answer").value == " Mary"
    assert page.text_input(key="wrong").value == " John"


def test_places_are_collected_and_patched_together() -> None:
    page = opened()
    next(button for button in page.button if button.label == "Add to set").click().run()
    assert any("patched together" in one.value for one in page.subheader)
    next(button for button in page.button if button.label == "Clear the set").click().run()
    assert not any("patched together" in one.value for one in page.subheader)


def test_what_the_user_typed_is_never_markup() -> None:
    page = opened()
    page.text_area(key="clean").set_value("<img src=x onerror=alert(1)> red").run()
    page.text_area(key="corrupt").set_value("<img src=x onerror=alert(1)> blue").run()
    assert errors(page) == []
    assert not any("<img" in str(element.value) for element in page.markdown)


def test_a_folder_that_is_no_model_is_said_in_the_sidebar() -> None:
    page = opened()
    page.selectbox(key="model").set_value("other…").run()
    page.text_input(key="model_name").set_value("./nowhere").run()
    assert "there is no such folder" in errors(page)[0]
