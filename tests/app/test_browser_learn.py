"""Learn in a real browser, as a student and a teacher use it: each click once."""

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Download, Page, expect

from browser_pages import Visitors, cell, field, in_address, press, rest

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

PATCHING = "learn?lesson=3-patch-one-place"


def box(page: Page, key: str) -> tuple[float, float]:
    """The top and the bottom of a part of a lesson's step."""
    found = page.locator(f".st-key-{key}").bounding_box()
    assert found is not None
    return found["y"], found["y"] + found["height"]


def saved(page: Page, name: str) -> Download:
    """The file of a button."""
    rest(page)
    with page.expect_download() as waiting:
        press(page, name, exact=True)
    return waiting.value


def test_a_student_is_wrong_then_right_and_keeps_the_answers(
    visit: Visitors, tmp_path: Path
) -> None:
    page = visit(PATCHING)
    page.set_viewport_size({"width": 1280, "height": 800})
    rest(page)
    for part in ("lesson-question", "lesson-map"):
        assert box(page, part)[1] <= 800, "seen without scrolling"
    cell(page, "L5.resid_pre@2").click()
    expect(page.get_by_text("Your prediction: none yet")).to_be_visible()
    cell(page, "L0.resid_pre@4").click()
    press(page, "Check answer")
    expect(page.get_by_text("Not quite. Try once more.")).to_be_visible()
    expect(page.get_by_text("Hint 1:")).to_be_visible()
    expect(page.get_by_text("copying it before layer 0 restores")).to_have_count(0)
    expect(page.get_by_role("gridcell", name=re.compile("right$"))).to_have_count(0)
    rest(page)
    cell(page, "L0.resid_pre@2").click()
    press(page, "Check answer")
    expect(page.get_by_text("Right at the second try.")).to_be_visible()
    expect(page.get_by_role("gridcell", name=re.compile("right$"))).to_have_count(1)
    for way, then in {"Next": "Step 2 of 3", "Skip": "Step 3 of 3"}.items():
        press(page, way)
        expect(page.get_by_text(then)).to_be_visible()
    press(page, "Skip")
    expect(page.get_by_text("How it went")).to_be_visible()
    field(page, "Your name").fill("Ada <i>L.</i>")
    field(page, "Your name").press("Enter")
    file = saved(page, "Save my answers")
    file.save_as(tmp_path / file.suggested_filename)
    page.goto((tmp_path / "3-patch-one-place-answers.html").as_uri())
    expect(page.get_by_role("heading")).to_have_text("Patch one place")
    expect(page.get_by_text("Ada <i>L.</i>")).to_be_visible()
    expect(page.get_by_text("layer 0, position 4 (·the); then layer 0, position 2")).to_be_visible()
    page.emulate_media(media="print")
    printed = "getComputedStyle(document.body).maxWidth"
    assert page.evaluate(printed) == "none", "on paper the text has the whole width"


def test_a_teacher_collects_answers_as_a_table(visit: Visitors) -> None:
    page = visit("learn?lesson=1-prediction&step=3")
    press(page, "Skip")
    rows = list(csv.DictReader(saved(page, "CSV").path().read_text("utf-8").splitlines()))
    assert [row["result"] for row in rows] == ["Not answered"] * 3


def test_on_a_phone_the_question_comes_before_the_map(visit: Visitors) -> None:
    page = visit(PATCHING)
    page.set_viewport_size({"width": 390, "height": 800})
    rest(page)
    assert box(page, "lesson-question")[1] <= box(page, "lesson-map")[0]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_question_is_asked_of_a_map_and_answered_by_somebody_else(visit: Visitors) -> None:
    teacher = visit("?site=z&per=head")
    press(teacher, "Share")
    press(teacher, "Ask this as a question")
    dialog = teacher.get_by_role("dialog")
    dialog.get_by_label("Question").fill("Which <b>head</b> carries the name?")
    dialog.get_by_label("Question").press("Control+Enter")
    dialog.get_by_label("Explanation").fill("It restores {largest effect}.")
    dialog.get_by_label("Explanation").press("Control+Enter")
    expect(dialog.get_by_text("Right: layer 0, head 0.")).to_be_visible()
    address = dialog.get_by_test_id("stCode")
    expect(address).to_contain_text("It+restores")
    file = saved(teacher, "Lesson file")
    assert file.suggested_filename.startswith("which-b-head-b-carries-the-name-")
    assert "cell: effect about largest effect" in file.path().read_text("utf-8")
    student = visit((address.text_content() or "").strip().split("/", 3)[3])
    expect(student.get_by_text("Which <b>head</b> carries the name?")).to_be_visible()
    cell(student, "L5H0.z").click()
    press(student, "Check answer")
    expect(student.get_by_text("Not quite. Try once more.")).to_be_visible()
    press(student, "Show the answer")
    expect(student.get_by_text("The strongest cell has")).to_be_visible()
    own = student.get_by_role("gridcell", name=re.compile("your prediction$"))
    expect(own).to_have_css("outline-style", "dotted")
    press(student, "Open this experiment")
    in_address(student, "per=head")


def test_the_projector_shows_the_map_alone_until_escape(visit: Visitors) -> None:
    page = visit()
    page.set_viewport_size({"width": 1280, "height": 800})
    press(page, "Share")
    press(page, "Projector")
    rest(page)
    in_address(page, "view=projector")
    map_ = page.get_by_test_id("map")
    expect(map_.get_by_text("Which layers, at which tokens, bring back")).to_be_visible()
    found = map_.bounding_box()
    assert found is not None
    assert found["width"] > 1100
    for hidden in ("inspector", "setbar", "conclusion"):
        expect(page.get_by_test_id(hidden)).to_be_hidden()
    for hidden in ("Prompt A", "Direction"):
        expect(page.get_by_label(hidden, exact=True).first).to_be_hidden()
    press(page, "Reveal")
    expect(page.get_by_test_id("inspector")).to_be_visible()
    rest(page).keyboard.press("Escape")
    expect(page.get_by_label("Prompt A", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Reveal")).to_have_count(0)


def test_on_the_projector_two_maps_have_their_names(visit: Visitors) -> None:
    page = visit("learn?ask=Where%3F&map=lens%3Fmodel%3Ddemo&view=projector")
    press(page, "Reveal")
    for name in ("A, the clean run", "B, the corrupted run"):
        expect(page.get_by_text(name)).to_be_visible()
    expect(page.get_by_text("A thick frame: right.")).to_be_hidden()


def test_the_projector_shows_a_lessons_question_and_answer_and_marks_nothing(
    visit: Visitors,
) -> None:
    page = visit(PATCHING + "&view=projector")
    expect(page.get_by_text("Which cell in the bottom row brings")).to_be_visible()
    expect(page.get_by_role("button", name="Check answer")).to_have_count(0)
    press(page, "Reveal")
    expect(page.get_by_text("Right: layer 0, position 2 (·key).")).to_be_visible()
    rest(page).keyboard.press("ArrowRight")
    expect(page.get_by_text("2 of 3")).to_be_visible()
    rest(page).keyboard.press("v")
    expect(page.get_by_text("Right: layer")).to_be_visible()
    press(page, "Next")
    expect(page.get_by_text("3 of 3")).to_be_visible()
    expect(page.get_by_text("About half")).to_be_visible()
    expect(page.get_by_role("button", name="Reveal")).to_be_visible()
    expect(page.get_by_role("button", name="Next")).to_be_hidden()
    for step in ("2 of 3", "1 of 3"):
        rest(page).keyboard.press("ArrowLeft")
        expect(page.get_by_text(step)).to_be_visible()
    in_address(page, "view=projector")
    rest(page).keyboard.press("Escape")
    expect(page.get_by_role("button", name="Check answer")).to_be_visible()
    expect(page.get_by_text("Your prediction: none yet")).to_be_visible()
