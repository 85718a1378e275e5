"""How long a person waits for the page, measured in a real Chromium.

    python bench/page.py --json bench/page.json --markdown docs/benchmarks.md
    python bench/page.py --models demo --repeats 1 --starts 1

On the demo model, on random weights of GPT-2 small's size with the demo model's
tokenizer, and on smollm2 (`patchwright models get smollm2` fetches it): from the start of the server to a finished heat map, from an
edit of one token to the new heat map, from a click on a cell to what is said of
the place. Everything is timed from outside, at what is painted, and given also
as a multiple of one forward pass of the Hugging Face model in the same run.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from urllib.parse import urlencode
from urllib.request import urlopen

import streamlit
import torch
import transformers
from playwright.sync_api import Browser, Page, sync_playwright
from sections import put_section
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from patchwright.model.catalog import fetch_model

CLEAN = "When Mary and John went to the store, John gave a drink to"
NAMES = ("Susan", "Alice", "David", "Amy", "Eva", "Peter", "Linda", "Dan", "Anna", "Tom", "James")
"""Each edit puts the next one in the place of the second John; the first edit is not timed."""

TITLES = {
    "demo": "demo model",
    "smollm2": "smollm2",
    "small": "GPT-2 small's size, random weights",
}
ACTS = {
    "start": "server start to the first heat map",
    "edit": "edit of one token to the new heat map",
    "edit_rest": "the same edit until the whole page is at rest",
    "click": "click on a cell to the details of the place",
    "click_rest": "the same click until the whole page is at rest",
}
TARGETS = {("demo", "edit"): 1.0, ("demo", "click"): 0.5, ("small", "edit"): 2.5}
"""Seconds."""

QUIET = 0.3
"""Seconds without work after which the page counts as at rest; not part of the times."""

MOST = 300.0
"""Seconds after which a wait has failed."""

RECORD = """
window.bench = () => {
  for (const one of document.querySelectorAll(".stBidiComponent *")) {
    const found = one.shadowRoot?.querySelector("[data-testid=workbench]");
    if (found) return found;
  }
};
window.cells = () => [...(window.bench()?.querySelectorAll("[role=gridcell]") ?? [])];
window.text = () => window.cells().map((cell) => cell.getAttribute("style")).join(" ");
window.place = () => window.bench()?.querySelector("h4 code")?.innerText ?? "";
"""
"""Where the workbench stands, the colours of its cells, and the place that it looks at."""

MAP_DONE = """(before) => window.text() !== "" && window.text() !== before
  && window.bench().dataset.state === 'rest'"""

PANEL_DONE = """(before) => {
  const place = window.place();
  return place !== "" && place !== before && !window.bench().querySelector(".inspector.coming");
}"""

AT_REST = """(quiet) => {
  const working = document.querySelector(".stApp")?.dataset.testScriptState !== "notRunning";
  window.since = working ? null : (window.since ?? performance.now());
  return !working && performance.now() - window.since > quiet * 1000;
}"""


@dataclass(frozen=True)
class Row:
    """One act on one model: every time that was measured, in seconds."""

    model: str
    act: str
    seconds: list[float]
    forward: float

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def target(self) -> float | None:
        return TARGETS.get((self.model, self.act))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(TITLES), help="of demo, smollm2 and small")
    parser.add_argument("--repeats", type=int, default=7, help="edits, and clicks (7; at most 10)")
    parser.add_argument("--starts", type=int, default=3, help="of the server (3)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="put the table into this file")
    options = parser.parse_args()
    repeats = min(options.repeats, len(NAMES) - 1)
    chosen: list[str] = options.models.split(",")
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        rows = [
            row
            for name in chosen
            for row in measured(name, made(name, Path(folder)), browser, repeats, options.starts)
        ]
        version = browser.version
        browser.close()
    text = table(rows, repeats, options.starts, version)
    print(text)
    if options.markdown:
        put_section(options.markdown, "The page", text)
    if options.json:
        document = [asdict(row) | {"median": row.median, "target": row.target} for row in rows]
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def chromium() -> str:
    """The path of a Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise SystemExit("no Chromium here: `sudo apt-get install chromium` installs one")


def made(name: str, folder: Path) -> Path:
    """The folder or the file of the named model; that of random weights is written here."""
    if name == "smollm2":
        return fetch_model(name)
    with as_file(files("patchwright") / "demo") as demo:
        if name == "demo":
            return demo
        torch.manual_seed(0)
        config = GPT2Config.from_pretrained(demo)
        config.update({"n_layer": 12, "n_head": 12, "n_embd": 768})
        GPT2LMHeadModel(config).save_pretrained(folder / name)
        for file in demo.glob("tokenizer*"):
            shutil.copy(file, folder / name)
    return folder / name


def measured(name: str, folder: Path, browser: Browser, repeats: int, starts: int) -> list[Row]:
    """All acts on one model."""
    times: dict[str, list[float]] = {act: [] for act in ACTS}
    address = urlencode({"model": str(folder) if name == "small" else name})
    for number in range(starts):
        print(f"{TITLES[name]}: start {number + 1} of {starts}", file=sys.stderr, flush=True)
        began = perf_counter()
        with served(folder) as url, opened(browser, f"{url}?{address}") as page:
            times["start"].append(perf_counter() - began)
            rest(page)
            if number == starts - 1:
                edits(page, repeats, times)
                clicks(page, repeats, times)
    pace = forward(folder)
    return [Row(name, act, seconds, pace) for act, seconds in times.items()]


@contextmanager
def served(folder: Path) -> Generator[str]:
    """A server that listens, with a run store of its own: an earlier one would answer; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-P", "-m", "patchwright.cli", "app", "--headless"]
    command += ["--port", str(port), "--folder", str(folder if folder.is_dir() else folder.parent)]
    with TemporaryDirectory() as home:
        if folder.is_file():
            kept = Path(home, "models", "smollm2")
            kept.mkdir(parents=True)
            (kept / folder.name).symlink_to(folder)
        server = subprocess.Popen(
            command,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "PATCHWRIGHT_HOME": home},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    """Return as soon as the server answers."""
    end = perf_counter() + MOST
    while server.poll() is None and perf_counter() < end:
        try:
            urlopen(f"{url}/_stcore/health", timeout=1).close()
        except OSError:
            sleep(0.02)
        else:
            return
    raise SystemExit("The server does not answer: `patchwright app --headless` says why.")


@contextmanager
def opened(browser: Browser, url: str) -> Generator[Page]:
    """The page in a fresh window, its heat map finished."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(MOST * 1000)
    page.add_init_script(RECORD)
    page.goto(url)
    page.wait_for_function(MAP_DONE, arg="")
    yield page
    context.close()


def edits(page: Page, repeats: int, times: dict[str, list[float]]) -> None:
    """Put another name into the corrupted prompt and wait for its heat map."""
    box = page.get_by_label("Prompt B", exact=True)
    for number, name in enumerate(NAMES[: repeats + 1]):
        box.fill(CLEAN.replace(", John", f", {name}"))
        before = page.evaluate("window.text()")
        seen, whole = timed(page, lambda: box.press("Control+Enter"), MAP_DONE, before)
        if number > 0:
            times["edit"].append(seen)
            times["edit_rest"].append(whole)


def clicks(page: Page, repeats: int, times: dict[str, list[float]]) -> None:
    """Click on a cell that was not looked at before and wait for what is said of it."""
    count: int = page.evaluate("window.cells().length")
    for number in range(repeats):
        # Spread over the map, no row or column twice in succession.
        at = (7 + number * (count // repeats + 1)) % count
        middle = "(at) => { const b = window.cells()[at].getBoundingClientRect(); "
        middle += "return [b.x + b.width / 2, b.y + b.height / 2] }"
        x, y = page.evaluate(middle, at)
        page.mouse.move(x, y)
        page.mouse.down()
        before = page.evaluate("window.place()")
        seen, whole = timed(page, page.mouse.up, PANEL_DONE, before)
        times["click"].append(seen)
        times["click_rest"].append(whole)


def timed(page: Page, act: Callable[[], None], done: str, before: str) -> tuple[float, float]:
    """Seconds from an act until what it asks for is seen, and until the page is at rest."""
    began = perf_counter()
    act()
    page.wait_for_function(done, arg=before)
    seen = perf_counter() - began
    rest(page)
    return seen, max(seen, perf_counter() - began - QUIET)


def rest(page: Page) -> None:
    """Wait until the server has nothing more to send."""
    page.evaluate("window.since = null")
    page.wait_for_function(AT_REST, arg=QUIET)


def forward(folder: Path) -> float:
    """Median seconds of one pass of the Hugging Face model over the prompt's tokens."""
    where, file, start = folder, {}, "<|endoftext|>"
    if not folder.is_dir():
        where, file, start = folder.parent, {"gguf_file": folder.name}, ""
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **file).eval()
    tokens = AutoTokenizer.from_pretrained(where, **file)(f"{start}{CLEAN}", return_tensors="pt")
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(25):
            began = perf_counter()
            model(tokens["input_ids"])
            times.append(perf_counter() - began)
    return median(times[5:])


def table(rows: Sequence[Row], repeats: int, starts: int, browser: str) -> str:
    lines = [
        "| model | from … to … | median | slowest | forward passes | target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        target = "" if row.target is None else f"{row.target:.1f} s, {kept(row)}"
        lines.append(
            f"| {TITLES[row.model]} | {ACTS[row.act]} | {row.median:.2f} s | "
            f"{max(row.seconds):.2f} s | {row.median / row.forward:.3g} | {target} |"
        )
    paces = {TITLES[row.model]: f"{row.forward * 1e3:.1f} ms" for row in rows}
    lines += [
        "",
        f"- In Chromium {browser}, from the key or the click to what is painted: the new cells, "
        "the place's heading and sentence. At rest: the charts, the sentences and whatever "
        "else hangs on them are there too.",
        "- The prompts have 15 tokens, on smollm2 14, and differ in one; the heat map is the page's first, the "
        "residual stream at every layer and position. No edit or click repeats an earlier one.",
        f"- Median of {repeats} edits and clicks, and of {starts} starts.",
        "- One forward pass of the prompt by the Hugging Face model, in the same run: "
        + "; ".join(f"{name} {pace}" for name, pace in paces.items())
        + ".",
        f"- {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, torch "
        f"{torch.__version__}, transformers {transformers.__version__}, Streamlit "
        f"{streamlit.__version__}; {datetime.now(UTC).date()}",
        "- `python bench/page.py --markdown docs/benchmarks.md` measures again.",
    ]
    return "\n".join(lines) + "\n"


def kept(row: Row) -> str:
    """Whether a row keeps its target."""
    return "kept" if row.target is not None and row.median <= row.target else "missed"


if __name__ == "__main__":
    main()
