"""The first ten minutes of three readers, each on a page whose folder is empty: every click once."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from browser_pages import (
    PRESS,
    Visitors,
    cell,
    choose,
    field,
    in_address,
    keyed,
    press,
    rest,
    type_into,
)
from checkpoints import save_tiny
from page_server import page_served
from patchwright.lessons import built_in_lessons

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

OWN = {
    "Prompt A": "When Alice and David went to the garden, David gave a book to",
    "Prompt B": "When Alice and David went to the garden, Alice gave a book to",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model of the researcher's own."""
    return save_tiny(tmp_path_factory.mktemp("own") / "checkpoint")


@pytest.fixture(scope="module")
def empty(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Generator[Visitors]:
    """The page as it starts where nobody has used it yet."""
    with page_served(tmp_path_factory.mktemp("empty")) as url:
        visitors = Visitors(browser, url)
        yield visitors
        visitors.leave()


def says(page: Page, text: str) -> None:
    """Wait for this in the inspector."""
    expect(page.get_by_test_id("inspector")).to_contain_text(text)


def test_a_student_follows_the_three_steps_looks_closer_and_begins_a_lesson(
    empty: Visitors,
) -> None:
    page = empty()
    steps = page.locator(".pw-steps")
    expect(steps).to_contain_text("After A the model says")
    page.locator(".pw-term", has_text="head").first.focus()
    expect(page.get_by_test_id("conclusion")).to_contain_text("In short")
    cell(page, "L0.resid_pre@10").click()
    says(page, "Copied from A into B, it moves the logit difference")
    says(page, "of the way to A")
    press(page, "Its heads")
    expect(cell(page, "L3H1.z@14")).to_be_visible()
    rest(page)
    cell(page, "L3H1.z@14").click()
    says(page, "in A looks from")
    press(page, "Where it looks")
    expect(page.get_by_role("heading", name="Attention", exact=True)).to_be_attached()
    says(rest(page), "Layer 3, head 1")
    page.get_by_role("link", name="Learn", exact=True).click(delay=PRESS)
    first = built_in_lessons()[0]
    keyed(rest(page), f"open-{first.name}").get_by_role("button").click()
    expect(page.get_by_role("heading", name=first.title)).to_be_visible()


def test_a_teacher_types_prompts_collects_heads_and_shares_them_with_a_note(
    empty: Visitors,
) -> None:
    page = empty()
    press(page, "Try your own")
    for label, text in OWN.items():
        type_into(page, label, text)
    type_into(page, "Answer", " Alice")
    type_into(page, "Wrong answer", " David")
    choose(page, "What is copied", "head output")
    expect(cell(page, "L3H1.z")).to_be_visible()
    rest(page)
    cell(page, "L3H1.z").click(modifiers=["Shift"])
    expect(page.get_by_test_id("setbar")).to_contain_text("together")
    in_address(page, "places=L3H1.z")
    press(page, "Share")
    field(page, "Note").fill("Which heads find the name?")
    field(page, "Note").press("Enter")
    in_address(page, "note=Which")
    there = empty(page.url.split("/", 3)[3])
    expect(there.get_by_text("Note: Which heads find the name?")).to_be_visible()
    expect(there.get_by_test_id("setbar")).to_contain_text("L3H1.z")
    expect(field(there, "Prompt A")).to_have_value(OWN["Prompt A"])


def test_a_researcher_opens_a_checkpoint_pins_a_cell_and_takes_the_numbers_away(
    empty: Visitors, folder: Path
) -> None:
    page = empty()
    choose(page, "Model", "other…")
    field(page, "Hub name, folder or .gguf file").fill(str(folder))
    field(page, "Hub name, folder or .gguf file").press("Enter")
    expect(cell(page, "L2.resid_pre@0")).to_be_visible()
    rest(page)
    last = page.locator('[data-place^="L2.resid_pre@"]').last
    last.click()
    says(page, str(last.get_attribute("data-place")))
    press(page, "Pin")
    in_address(page, "pinned=L2.resid_pre")
    choose(page, "Direction", "B → A: what is needed?")
    says(page, "Copied from B into A")
    rest(page)
    page.get_by_role("link", name="Ablate", exact=True).click(delay=PRESS)
    says(rest(page), "Set to zero in A")
    press(page, "Export")
    with page.expect_download() as waiting:
        press(page, "JSON", exact=True)
    document = json.loads(waiting.value.path().read_text(encoding="utf-8"))
    assert document["method"] == "ablate"
    assert document["model"]["layers"] == 3
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Library", exact=True).click(delay=PRESS)
    expect(rest(page).get_by_text("ablate").first).to_be_visible()
