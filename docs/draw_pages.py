"""Take the pictures of the page that README.md and docs/page.md show: docs/pages/*.png.

Starts the page on the demo model and drives a Chromium: 1280 pixels wide, light.
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
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent / "pages"
WIDTH, TALLEST = 1280, 2200
COLORS = 128
"""Of a picture's palette: enough for two colour scales and text, and small."""

SECONDS = 600.0

SHOWN = {
    "patch": "?example=ioi",
    "activations": "activations?example=ioi&seen_head=L3H1.z",
    "trace": "trace?example=eiffel-tower",
    "lens": "lens?example=capital",
    "ablation": "ablation?example=ioi&how=mean",
    "paths": "paths?example=ioi&receivers=L3H1.q~L3H4.q",
    "circuit": "circuit?example=ioi",
    "learn": "learn?lesson=3-patch-one-place",
    "many": "many?task=indirect-object&set_count=40",
    "runs": "runs",
}
"""Each page's address: an example that shows what the page is for."""

QUIET = """() => {
  const app = document.querySelector(".stApp");
  const working = app?.dataset.testScriptState !== "notRunning"
    || document.querySelector("[data-testid=stSpinner], [data-testid=stSkeleton]") !== null
    || [...document.querySelectorAll("button")].some((one) => one.innerText === "Stop");
  window.since = working ? null : (window.since ?? performance.now());
  return !working && performance.now() - window.since > 1500;
}"""

"""Nothing runs, nothing is being fetched."""

END = """(tallest) => {
  const bottoms = [...document.querySelectorAll(".stElementContainer")]
    .map((one) => one.getBoundingClientRect().bottom);
  const end = Math.max(...bottoms) + 32;
  const sections = [...document.querySelectorAll(".stMainBlockContainer :is(h3, h4)")]
    .map((one) => one.getBoundingClientRect().top - 16).filter((top) => top <= tallest);
  return end <= tallest ? end : Math.max(...sections, 0) || tallest;
}"""


def main() -> None:
    """Draw all pages, or those that are named on the command line."""
    FOLDER.mkdir(exist_ok=True)
    os.environ["PATCHWRIGHT_HOME"] = tempfile.mkdtemp()
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": TALLEST}, color_scheme="light")
        page.set_default_timeout(SECONDS * 1000)
        for name in sys.argv[1:] or SHOWN:
            page.goto(f"{url}/{SHOWN[name]}")
            (FOLDER / f"{name}.png").write_bytes(small(picture_of(page)))
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


def picture_of(page: Page) -> bytes:
    """The page when it is at rest: as many whole sections as `TALLEST` holds."""
    page.wait_for_selector(".stMainBlockContainer")
    page.wait_for_function(QUIET)
    if problem := page.locator(
        "[data-testid=stException], [data-testid=stAlertContentError]"
    ).all():
        raise SystemExit(f"The page complains: {problem[0].inner_text()}")
    end: float = page.evaluate(END, TALLEST)
    return page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": round(end)})


def small(picture: bytes) -> bytes:
    """The same picture with a palette."""
    kept = io.BytesIO()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(kept, "PNG", optimize=True)
    return kept.getvalue()


if __name__ == "__main__":
    main()
