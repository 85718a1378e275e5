"""A first and a second start of the page on a machine that reaches a package index."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser_pages import cell
from page_server import page_served
from timeouts import SECONDS

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.browser,
    pytest.mark.filterwarnings("default"),
    pytest.mark.usefixtures("smollm2"),
]

PATIENCE = SECONDS * 1000
CAPITAL = "model=smollm2&example=capital&site=z&per=head"


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 1600}).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    return page


def test_one_click_leads_to_the_head_that_carries_the_capital(
    browser: Browser, tmp_path: Path
) -> None:
    with page_served(tmp_path, "--model", "smollm2") as url:
        first = opened(browser, f"{url}/?model=demo&example=capital&site=z&per=head")
        first.get_by_role("button", name="Open smollm2").click()
        expect(cell(first, "L29H8.z")).to_be_visible(timeout=PATIENCE)
        expect(first.locator("h4 code").first).to_have_text("L23H4.z", timeout=PATIENCE)
        # By its hash in the run store, which is shorter, or by its fields.
        expect(first).to_have_url(re.compile(rf"\?(run=\w+|{CAPITAL})$"), timeout=PATIENCE)
    with page_served(tmp_path, "--model", "smollm2") as url:
        second = opened(browser, url)
        expect(second).to_have_url(re.compile(r"\?model=smollm2$"), timeout=PATIENCE)
        expect(cell(second, "L29.resid_pre@0")).to_be_visible(timeout=PATIENCE)
        assert second.get_by_role("button", name="Open smollm2").count() == 0
