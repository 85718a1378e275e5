"""Many prompts and Runs in a real browser: a cell of a set, a shared set, a deletion undone."""

import json
import re
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import patchwright as pw
from page_server import page_served
from patchwright.keep.store import Store
from patchwright.prompts.datasets import Item, write_items
from patchwright.prompts.examples import example
from patchwright.prompts.tasks import task
from patchwright.prompts.templates import from_template

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]
SECONDS = 60_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, demo: pw.Model) -> Path:
    """A run store with two runs."""
    path = tmp_path_factory.mktemp("runs")
    pair = example("ioi").pair
    for direction in ("denoise", "noise"):
        Store(path).save(pw.patch(demo, pair, site="z", per="layer", direction=direction))
    return path


@pytest.fixture(scope="module")
def address(folder: Path) -> Generator[str]:
    with page_served(folder) as url:
        yield url


def opened(browser: Browser, address: str) -> Page:
    tab = browser.new_context(viewport={"width": 1280, "height": 1600}).new_page()
    tab.set_default_timeout(SECONDS)
    tab.goto(address)
    return tab


def test_an_uploaded_set_is_swept_clicked_and_shared(
    browser: Browser, address: str, demo: pw.Model
) -> None:
    pairs = from_template(task("indirect-object").template, 6, demo.tokenizer, 9)
    lines = list(write_items([Item(pair=one) for one in pairs]))
    content = "".join([lines[0], json.dumps({"clean": "<b>"}) + "\n", *lines[1:]])
    tab = opened(browser, f"{address}/many?set_count=4")
    tab.get_by_text("Take it away").first.wait_for()
    tab.get_by_role("combobox", name="Pairs from").click()
    tab.get_by_role("option", name="A file").click()
    tab.locator("input[type=file]").set_input_files(
        {"name": "a.jsonl", "mimeType": "application/jsonl", "buffer": content.encode()}
    )
    expect(tab.get_by_text("Line 2: 'corrupt' is missing")).to_be_visible(timeout=SECONDS)
    expect(tab.get_by_text("mean of 6 pairs")).to_be_visible(timeout=SECONDS)
    first = tab.locator("h4 code").first.inner_text()
    # The map is drawn again when the statistics are there: a click between the two is lost.
    for _ in range(20):
        tab.locator("canvas[aria-label*='Heat map']").click()
        tab.wait_for_timeout(2000)
        if tab.locator("h4 code").first.inner_text() != first:
            break
    expect(tab).to_have_url(
        re.compile(r"/many\?run=[0-9a-f]{12}&.*set_chosen=L\dH\d\.z$"), timeout=SECONDS
    )
    chosen = tab.url.split("=")[-1]
    expect(tab.locator("h4 code").first).to_have_text(chosen, timeout=SECONDS)
    other = opened(browser, tab.url)
    expect(other.get_by_text("mean of 6 pairs")).to_be_visible(timeout=SECONDS)
    expect(other.locator("h4 code").first).to_have_text(chosen, timeout=SECONDS)


def test_runs_are_compared_deleted_and_brought_back(
    browser: Browser, address: str, folder: Path
) -> None:
    late, early = Store(folder).entries("z layer", 2)
    tab = opened(browser, f"{address}/runs?search=z+layer")
    # By their keys: rows are seen in any order, as Streamlit loads boxes when it meets them.
    for i, entry in enumerate((late, early)):
        tab.locator(f".st-key-tick-{entry.id} label").click()
        expect(tab.get_by_text(f"{i + 1} run{'s' * i} chosen")).to_be_visible(timeout=SECONDS)
    expect(tab.get_by_text("second − first")).to_be_visible(timeout=SECONDS)
    tab.get_by_role("button", name="Delete").click()
    expect(tab.get_by_text("No run has all these words")).to_be_visible(timeout=SECONDS)
    tab.get_by_role("button", name="Undo").click()
    expect(tab.get_by_test_id("stCheckbox")).to_have_count(2, timeout=SECONDS)
    tab.locator(f".st-key-open-{late.id}").get_by_role("button").click()
    expect(tab.get_by_role("heading", name="Patch", exact=True)).to_be_visible(timeout=SECONDS)
    expect(tab.get_by_text(re.compile(r"Noise:\W? ?patching z"))).to_be_visible(timeout=SECONDS)
