"""Take the pictures of the page that README.md and docs/page.md show: docs/pages/*.png.

Starts the page on the demo model and drives a Chromium: 1280 pixels wide, light. The workbench is
shown as a window of 1280 by 800 has it, the other tabs down to their end.
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent / "pages"
WIDTH, WINDOW, TALLEST = 1280, 800, 2200
EXACT, NEAR = 64, 192
"""Of a picture's palette: the colours that most pixels have, and such that no other is far from one."""

SECONDS = 600.0

SHOWN = {
    "patch": "?example=ioi",
    "activations": "activations?example=ioi",
    "attention": "attention?example=ioi&chosen=L3H1.z",
    "trace": "trace?example=eiffel-tower",
    "lens": "lens?example=capital",
    "ablation": "ablation?example=ioi&how=mean",
    "paths": "paths?example=ioi&receivers=L3H1.q~L3H4.q",
    "circuit": "circuit?example=ioi",
    "learn": "learn?lesson=3-patch-one-place",
    "many": "many?task=indirect-object&set_count=40",
    "runs": "runs",
}
"""Each picture's address: an example that shows what the tab or place is for."""

WORKBENCH = ("patch", "ablation", "trace", "paths", "circuit", "many", "learn", "runs")
"""What is seen without scrolling: the prompts, the map or graph, and the selected place."""

QUIET = """() => {
  const app = document.querySelector(".stApp");
  const working = app?.dataset.testScriptState !== "notRunning"
    || document.querySelector("[data-testid=stSpinner], [data-testid=stSkeleton]") !== null
    || [...document.querySelectorAll("*")].some((one) => one.shadowRoot?.querySelector("[data-state=computing]"))
    || [...document.querySelectorAll("button")].some((one) => one.innerText === "Stop");
  window.since = working ? null : (window.since ?? performance.now());
  return !working && performance.now() - window.since > 1500;
}"""
"""Nothing runs, nothing is being fetched."""

END = """(tallest) => {
  // What is folded away still has a place on the page, below what is seen.
  const bottoms = [...document.querySelectorAll(".stElementContainer, .stExpander")]
    .filter((one) => one.closest("details:not([open])") === null)
    .map((one) => one.getBoundingClientRect().bottom);
  const end = Math.max(...bottoms) + 32;
  const sections = [...document.querySelectorAll(".stMainBlockContainer :is(h3, h4)")]
    .map((one) => one.getBoundingClientRect().top - 4).filter((top) => top <= tallest);
  return end <= tallest ? end : Math.max(...sections, 0) || tallest;
}"""


def main() -> None:
    """Draw all pages, or those that are named on the command line."""
    FOLDER.mkdir(exist_ok=True)
    os.environ["PATCHWRIGHT_HOME"] = tempfile.mkdtemp()
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(SECONDS * 1000)
        for name in sys.argv[1:] or SHOWN:
            tall = WINDOW if name in WORKBENCH else TALLEST
            page.set_viewport_size({"width": WIDTH, "height": tall})
            page.goto(f"{url}/{SHOWN[name]}")
            (FOLDER / f"{name}.png").write_bytes(small(picture_of(page, tall)))
            print(f"docs/pages/{name}.png")
        browser.close()


def chromium() -> str:
    """The path of a Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise SystemExit("no Chromium here: `sudo apt-get install chromium` installs one")


@contextmanager
def served() -> Generator[str]:
    """The page on a free port; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-P", "-m", "patchwright.cli", "app", "--headless"]
    command += ["--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
    try:
        while not answers(url):
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit("The server does not answer: `patchwright app` says why.")
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


def answers(url: str) -> bool:
    """Whether the server listens."""
    try:
        urlopen(f"{url}/_stcore/health", timeout=1).close()
    except OSError:
        return False
    return True


def picture_of(page: Page, tall: int) -> bytes:
    """The page when it is at rest: the window, or as many whole sections as `TALLEST` holds."""
    page.wait_for_selector(".stMainBlockContainer")
    page.wait_for_function(QUIET)
    if problem := page.locator(
        "[data-testid=stException], [data-testid=stAlertContentError]"
    ).all():
        raise SystemExit(f"The page complains: {problem[0].inner_text()}")
    end: float = tall if tall == WINDOW else page.evaluate(END, TALLEST)
    return page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": round(end)})


def small(picture: bytes) -> bytes:
    """The same picture with a palette."""
    kept = io.BytesIO()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    counted = cast("list[tuple[int, tuple[int, ...]]]", image.getcolors(image.width * image.height))
    frequent = sorted(counted, reverse=True)[:EXACT]
    palette = Image.new("P", (1, 1))
    # Without the frequent ones grounds are tinted; by frequency alone the scales lose their ends.
    covering = image.quantize(NEAR, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette.putpalette([part for _, color in frequent for part in color] + covering)
    image = image.quantize(palette=palette, dither=Image.Dither.NONE)
    image.save(kept, "PNG", optimize=True)
    return kept.getvalue()


if __name__ == "__main__":
    main()
