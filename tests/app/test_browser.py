"""The page in a real browser: types prompts, waits for the heat map, clicks a cell, reads on."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, expect, sync_playwright

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

CLEAN = "When Alice and David went to the garden, David gave a book to"
CORRUPT = "When Alice and David went to the garden, Alice gave a book to"
SECONDS = 60_000


@pytest.fixture(scope="module")
def address() -> Generator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "patchwright.cli", "app", "--headless", "--port", str(port)]
    server = subprocess.Popen(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urlopen(f"{url}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture
def page(address: str, chromium: str) -> Generator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 1600})
        tab.set_default_timeout(SECONDS)
        tab.goto(address)
        tab.wait_for_selector("canvas")
        yield tab
        browser.close()


def type_into(page: Page, label: str, text: str) -> None:
    box = page.get_by_label(label, exact=True)
    box.fill(text)
    box.press("Control+Enter")


def click_cell(page: Page, right: float, up: float) -> None:
    """Click at a share of the heat map's width and height."""
    box = page.locator("canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + right * box["width"], box["y"] + (1 - up) * box["height"])


def place_shown(page: Page) -> str:
    return page.locator("h4 code").first.inner_text()


def test_a_person_types_prompts_clicks_a_cell_and_reads_about_the_place(page: Page) -> None:
    type_into(page, "Clean prompt", CLEAN)
    type_into(page, "Corrupted prompt", CORRUPT)
    type_into(page, "Answer", " Alice")
    type_into(page, "Wrong answer", " David")
    expect(page.get_by_text("·Alice").first).to_be_visible(timeout=SECONDS)
    expect(page.locator(".pw-chip.differs").first).to_have_text("·David10", timeout=SECONDS)
    expect(page.get_by_text("Wrong answer: ·David (1 token)")).to_be_visible(timeout=SECONDS)
    first = place_shown(page)
    # A map that is drawn anew under the pointer loses the click; a person clicks again.
    for _ in range(20):
        click_cell(page, right=0.55, up=0.75)
        page.wait_for_timeout(3000)
        if place_shown(page) != first:
            break
    place = place_shown(page)
    assert place != first
    assert place.startswith("L")
    assert ".resid_pre@" in place
    expect(page.get_by_text(f"With the clean run's {place} copied in")).to_be_visible()


def test_the_heat_map_can_be_used_with_the_keyboard(page: Page) -> None:
    canvas = page.locator("canvas").first
    canvas.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("h4 code").first).to_have_text("L1.resid_pre@2", timeout=SECONDS)
    assert "Heat map" in str(canvas.get_attribute("aria-label"))


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(1000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    canvas = page.locator("canvas").first.bounding_box()
    assert canvas is not None
    assert canvas["x"] + canvas["width"] <= width


def test_the_browser_reports_no_error(address: str, chromium: str) -> None:
    found: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.on("pageerror", lambda error: found.append(str(error)))
        tab.goto(address)
        tab.wait_for_selector("canvas", timeout=SECONDS)
        browser.close()
    assert found == []


def test_the_package_serves_the_script_of_the_heat_map() -> None:
    script = Path(__file__).parents[2] / "src" / "patchwright" / "app" / "widgets" / "heat_map.js"
    assert "innerHTML" not in script.read_text(encoding="utf-8")
