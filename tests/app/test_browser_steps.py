"""Steps on the page in a real browser: back and forth, what was just typed, other models' names."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser_pages import PRESS, cell, choose, field, in_address, press, rest
from checkpoints import save_tiny

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

CLEAN = "When Alice and David went to the garden, David gave a book to"
FIRST = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model outside every folder that the page was opened to."""
    return save_tiny(tmp_path_factory.mktemp("outside") / "small")


def shows(page: Page, tab: str, first: str = "", says: str = "") -> None:
    """Wait until this tab is at rest, with a map that has this place and an inspector that says this."""
    expect(page.get_by_role("heading", name=tab, exact=True)).to_be_attached()
    rest(page)
    if first:
        expect(cell(page, first)).to_be_attached()
    if says:
        expect(page.get_by_test_id("inspector")).to_contain_text(says)


def test_back_undoes_one_step_at_a_time_over_pages_and_forth_does_it_again(page: Page) -> None:
    choose(page, "What is copied", "head output")
    shows(page, "Patch", "L0H0.z", "Copied from A into B")
    choose(page, "Direction", "B → A: what is needed?")
    shows(page, "Patch", "L0H0.z", "Copied from B into A")
    cell(page, "L3H1.z").click()
    expect(page.get_by_test_id("inspector")).to_contain_text("L3H1.z")
    in_address(page, "chosen=L3H1.z")
    page.get_by_role("link", name="Logit lens").click(delay=PRESS)
    shows(page, "Logit lens")
    page.go_back()
    shows(page, "Patch", "L0H0.z", "L3H1.z")
    page.go_back()
    shows(page, "Patch", "L0H0.z", "L0H0.z")
    expect(cell(page, "L3H1.z")).to_have_attribute("aria-selected", "false")
    page.go_back()
    shows(page, "Patch", "L0H0.z", "Copied from A into B")
    page.go_back()
    shows(page, "Patch", "L0.resid_pre@0")
    page.go_forward()
    shows(page, "Patch", "L0H0.z", "Copied from A into B")


def test_back_leaves_the_page_where_no_step_was_done(page: Page, address: str) -> None:
    page.goto(f"{address}/lens?example=capital&metric=logit_diff")
    rest(page)
    expect(page).to_have_url(re.compile("example=capital$"))
    page.go_back()
    expect(page).to_have_url(f"{address}/?model=demo")


def test_what_was_typed_just_before_a_click_on_another_page_is_kept(page: Page) -> None:
    field(page, "Prompt A").fill(CLEAN)
    page.get_by_role("link", name="Logit lens").click(delay=PRESS)
    shows(page, "Logit lens")
    expect(field(page, "Prompt A")).to_have_value(CLEAN)
    rest(page)
    page.get_by_role("link", name="Patch", exact=True).click(delay=PRESS)
    shows(page, "Patch")
    expect(field(page, "Prompt A")).to_have_value(CLEAN)


def test_two_thousand_pasted_words_stay_and_a_sentence_says_how_many_are_too_many(
    page: Page,
) -> None:
    pasted = " ".join(["word"] * 2000)
    field(page, "Prompt A").fill(pasted)
    field(page, "Prompt A").press("Control+Enter")
    said = page.get_by_text("The field Prompt A has 9,999 characters")
    expect(said).to_be_visible()
    expect(field(page, "Prompt A")).to_have_value(pasted)
    field(page, "Prompt A").fill(FIRST)
    field(page, "Prompt A").press("Control+Enter")
    rest(page)
    expect(said).to_have_count(0)


def test_any_folder_can_be_typed_where_the_page_is_for_this_machine_alone(
    page: Page, folder: Path
) -> None:
    choose(page, "Model", "other…")
    field(page, "Hub name, folder or .gguf file").fill("no-such/model")
    field(page, "Hub name, folder or .gguf file").press("Enter")
    page.get_by_role("button", name="Download no-such/model").wait_for()
    field(page, "Hub name, folder or .gguf file").fill(str(folder))
    field(page, "Hub name, folder or .gguf file").press("Enter")
    expect(cell(page, "L2.resid_pre@0")).to_be_visible()
    expect(cell(page, "L5.resid_pre@0")).to_have_count(0)
    choose(page, "Model", "demo")
    expect(cell(page, "L5.resid_pre@0")).to_be_visible()
    rest(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    press(page, "About")
    expect(page.get_by_text("6 layers × 6 heads")).to_be_visible()
    expect(page.get_by_text("Indirect object: Who gets the drink?")).to_be_visible()
