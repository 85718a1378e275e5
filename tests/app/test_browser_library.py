"""The Library in a real browser: two runs compared, a deletion undone, an example opened."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

import patchwright as pw
from browser_pages import Visitors, in_address, keyed, press, rest
from patchwright.prompts.examples import example
from patchwright.storage.store import Entry, Store

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

BRINGS_BACK = "Which attention layers bring back “Mary” instead of “John”?"
NEEDS = "Which attention layers does “Mary” need to stay ahead of “John”?"


@pytest.fixture
def noted(server_home: Path, demo: pw.Model) -> list[Entry]:
    """Two runs of the served page's store that a search for their note finds, the newest first."""
    store, pair = Store(server_home), example("ioi").pair
    results = [
        pw.patch(demo, pair, site="z", per="layer", direction=direction)
        for direction in ("denoise", "noise")
    ]
    for run in store.save_all(results):
        store.note(run, "to be compared")
    return store.entries("to be compared", 3)


def rows(page: Page) -> Locator:
    return keyed(page, "saved-runs").get_by_test_id("stCheckbox")


def row(page: Page, title: str) -> Locator:
    """What a person clicks to select the run of this title."""
    return rows(page).filter(has_text=title).locator("label")


def panel(page: Page) -> Locator:
    return keyed(page, "picked-runs")


def boxes(page: Page) -> list[object]:
    found = rows(page)
    return [found.nth(i).bounding_box() for i in range(found.count())]


def test_two_runs_are_compared_in_place_deleted_and_brought_back(
    visit: Visitors, noted: list[Entry]
) -> None:
    tab = visit("runs?search=to+be+compared")
    tab.set_viewport_size({"width": 1280, "height": 800})
    expect(rows(tab)).to_have_count(2)
    expect(keyed(tab, "saved-runs").locator("img.pw-thumb")).to_have_count(2)
    first = keyed(tab, "saved-runs").locator("img.pw-thumb").first
    assert first.evaluate("one => [one.naturalWidth, one.naturalHeight]") == [1, 6]
    assert str(first.get_attribute("alt")).startswith("Map of 6 × 1 cells, from ")
    before = boxes(tab)
    row(tab, BRINGS_BACK).click()
    expect(panel(tab).get_by_role("grid")).to_have_count(1)
    expect(panel(tab).get_by_role("button", name="Open in Explore")).to_be_visible()
    assert boxes(rest(tab)) == before
    row(tab, NEEDS).click()
    expect(panel(tab).get_by_text("second − first")).to_be_visible()
    expect(panel(tab)).to_contain_text("These two differ in the direction (A → B; B → A).")
    expect(panel(tab).get_by_role("grid")).to_have_count(3)
    in_address(tab, f"picked={noted[1].id}~{noted[0].id}")
    assert boxes(rest(tab)) == before
    height = tab.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    assert height <= 800
    press(tab, "Delete")
    expect(tab.get_by_text("No run has all these words.")).to_be_visible()
    expect(panel(tab)).to_contain_text("2 runs deleted.")
    press(tab, "Undo")
    expect(rows(tab)).to_have_count(2)
    assert boxes(rest(tab)) == before


def test_a_run_and_an_example_are_opened_on_explore(visit: Visitors, noted: list[Entry]) -> None:
    tab = visit("runs?search=to+be+compared")
    row(tab, NEEDS).click()
    expect(panel(tab).get_by_role("grid")).to_have_count(1)
    press(tab, "Open in Explore")
    expect(tab.get_by_role("heading", name="Patch", exact=True)).to_be_attached()
    expect(tab.get_by_test_id("inspector")).to_contain_text("Copied from B into A")
    expect(tab.get_by_test_id("map")).to_contain_text(NEEDS)
    rest(tab).go_back()
    expect(row(tab, NEEDS).get_by_role("checkbox")).to_be_checked()
    tab = visit("runs")
    tab.get_by_text("Examples", exact=True).click()
    in_address(tab, "shelf=examples")
    press(tab, "The capital of France")
    expect(tab.get_by_role("heading", name="Patch", exact=True)).to_be_attached()
    in_address(tab, "example=capital")
    expect(tab.get_by_label("Prompt A", exact=True)).to_have_value("The capital of France is")
