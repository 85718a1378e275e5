"""The page in a real browser: types prompts, waits for the heat map, clicks a cell, reads on."""

import ast
import io
import itertools
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

import patchwright as pw
from browser_pages import (
    LISTEN,
    PRESS,
    SECONDS,
    Visitors,
    barriers,
    cell,
    choose,
    field,
    heat_map,
    in_address,
    keyed,
    place,
    press,
    press_on_map,
    rest,
    type_into,
)
from checkpoints import save_tiny
from patchwright.app.views import tabs, topbar
from patchwright.app.widgets.heat_map import read_widget_file, script
from patchwright.figures.grid import Grid, grid_of
from patchwright.lessons import Lesson, built_in_lessons, mark, step_experiment
from patchwright.prompts.examples import example, examples
from patchwright.spelling import percent

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

CLEAN = "When Alice and David went to the garden, David gave a book to"
CORRUPT = "When Alice and David went to the garden, Alice gave a book to"
DIFFERS = "·David10"


def type_pair(page: Page) -> None:
    """Type a pair of one's own, and wait until it is swept."""
    type_into(page, "Prompt A", CLEAN)
    type_into(page, "Prompt B", CORRUPT)
    type_into(page, "Answer", " Alice")
    type_into(page, "Wrong answer", " David")
    expect(page.locator(".pw-chip.differs").first).to_have_text(DIFFERS)


def test_a_person_types_prompts_clicks_a_cell_and_reads_about_the_place(page: Page) -> None:
    type_pair(page)
    press(page, "⚙")
    expect(page.get_by_text("Wrong answer: ·David (1 token)")).to_be_visible()
    page.keyboard.press("Escape")
    cell(page, "L2.resid_pre@10").click()
    expect(cell(page, "L2.resid_pre@10")).to_have_attribute("aria-selected", "true")
    expect(place(page)).to_have_text("L2.resid_pre@10")
    sentence = page.get_by_test_id("inspector").get_by_text("Copied from A into B, it moves")
    expect(sentence).to_be_visible()
    in_address(page, "chosen=L2.resid_pre%4010")


def test_the_heat_map_can_be_used_with_the_keyboard(page: Page) -> None:
    press_on_map(page, "ArrowRight", "ArrowRight", "ArrowUp")
    expect(place(page)).to_have_text("L1.resid_pre@2")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    rest(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.get_by_test_id("map").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= width
    links = [one.bounding_box() for one in keyed(page, "tabs").get_by_role("link").all()]
    below = keyed(page, "controls").bounding_box()
    assert below is not None
    for link in links:
        assert link is not None
        assert link["y"] + link["height"] <= below["y"] + 2, "tabs lie over what is below them"


def seen_without_scrolling(page: Page, *names: str) -> None:
    """Assert that these parts are wholly inside a window that is 800 high."""
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == 0
    for name in names:
        box = page.get_by_test_id(name).bounding_box()
        assert box is not None
        assert box["y"] >= 0, name
        assert box["y"] + box["height"] <= 800, name


def test_the_map_the_inspector_and_the_prompts_are_seen_without_scrolling(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    rest(page)
    seen_without_scrolling(page, "conclusion", "map", "inspector", "setbar")
    content = page.locator("[data-testid=stMainBlockContainer]").bounding_box()
    assert content is not None
    assert content["height"] <= 1200


def test_prompts_stay_where_a_run_without_them_ends_as_the_next_begins(
    browser: Browser, address: str, large: Path
) -> None:
    """The end of the run that has no model to show comes when the next run is asked for, never earlier."""
    ends: list[bytes] = []
    late = False

    def through(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def to_server(message: str | bytes) -> None:
            server.send(message)
            while ends:
                socket.send(ends.pop(0))

        def to_browser(message: str | bytes) -> None:
            told = ForwardMsg.FromString(message) if isinstance(message, bytes) else None
            if late and told is not None and told.WhichOneof("type") == "script_finished":
                ends.append(told.SerializeToString())
            else:
                socket.send(message)

        socket.on_message(to_server)
        server.on_message(to_browser)

    with browser.new_context() as context:
        context.set_default_timeout(SECONDS)
        page = context.new_page()
        page.route_web_socket("**/_stcore/stream", through)
        page.goto(address)
        expect(cell(page, "L2.resid_pre@1")).to_be_visible()
        late = True
        choose(page, "Model", "other…")
        name = field(page, "Hub name, folder or .gguf file")
        name.fill(str(large))
        page.wait_for_timeout(2000)
        name.press("Enter")
        late = False
        expect(cell(page, "L5.resid_pre@1")).to_be_visible()
        expect(field(page, "Prompt A")).to_have_value(re.compile("When Mary and John"))
        choose(page, "Direction", "B → A: what is needed?")
        expect(page.get_by_test_id("inspector")).to_contain_text("Copied from B into A")


def test_the_map_of_thirty_layers_is_seen_without_scrolling_and_has_no_gaps(
    visit: Visitors, large: Path
) -> None:
    deep = save_tiny(large.parent / "deep", n_layer=30)
    page = visit("ablation?" + urlencode({"model": str(deep)}), settled=False)
    page.set_viewport_size({"width": 1280, "height": 800})
    rest(page)
    seen_without_scrolling(page, "map", "inspector")
    boxes = [cell(page, f"L{layer}H0.z").bounding_box() for layer in range(30)]
    tops = [round(box["y"]) for box in boxes if box is not None]
    assert len({above - below for above, below in itertools.pairwise(tops)}) == 1


SHIFTS = """
    window.shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
"""
"""Adds up how far a page has moved under its visitor's eyes: Chromium's cumulative layout shift."""


def test_nothing_jumps_while_the_page_comes(browser: Browser, address: str) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(SECONDS)
        context.add_init_script(LISTEN + SHIFTS)
        page = context.new_page()
        page.goto(address)
        rest(page)
        assert page.evaluate("window.shifted") < 0.1


@pytest.mark.parametrize("path", [*tabs.TABS, "many"])
def test_the_maps_and_the_inspector_of_every_tab_are_seen_without_scrolling(
    visit: Visitors, path: str
) -> None:
    page = visit(path)
    page.set_viewport_size({"width": 1280, "height": 800})
    rest(page)
    seen_without_scrolling(page, "map", "inspector")
    content = page.locator("[data-testid=stMainBlockContainer]").bounding_box()
    assert content is not None
    assert content["height"] <= 1200


def test_an_address_shows_the_same_experiment_and_cell_to_somebody_else(visit: Visitors) -> None:
    first = visit("?site=z&per=head&direction=noise")
    type_pair(first)
    press_on_map(first, "ArrowRight", "ArrowUp")
    expect(place(first)).to_have_text("L1H1.z")
    in_address(first, "chosen=L1H1.z")
    for name, text in {"Prompt A": CLEAN, "Wrong answer": " David"}.items():
        expect(field(first, name)).to_have_value(text)
    in_address(first, "run=")
    other = visit(first.url.split("/")[-1])
    expect(place(other)).to_have_text("L1H1.z")
    expect(field(other, "Prompt A")).to_have_value(CLEAN)
    expect(field(other, "Wrong answer")).to_have_value(" David")
    for name in ("conclusion", "inspector"):
        expect(other.get_by_test_id(name)).to_have_text(
            first.get_by_test_id(name).text_content() or "nothing"
        )
    assert other.url.split("?")[1] == first.url.split("?")[1]


def test_two_places_are_patched_together_as_the_library_does(
    visit: Visitors, demo: pw.Model
) -> None:
    page = visit()
    places = ["L1.resid_pre@1", "L1.resid_pre@2"]
    press_on_map(page, "ArrowRight", "ArrowUp")
    expect(place(page)).to_have_text(places[0])
    press(page, "Add to set")
    in_address(page, f"places={places[0]}".replace("@", "%40"))
    page = visit("?" + urlencode({"model": "demo", "places": "~".join(places)}))
    joint = pw.patch_together(demo, example("ioi").pair, places)
    single = [float(pw.patch_together(demo, example("ioi").pair, [one]).effect) for one in places]
    said = f"together {percent(float(joint.effect), 1)}, their sum {percent(sum(single), 1)}"
    expect(page.get_by_test_id("setbar")).to_contain_text(said)


def taken(page: Page, name: str) -> bytes:
    press(page, "Export")
    found = downloaded(page, name)
    page.keyboard.press("Escape")
    return found


def downloaded(page: Page, name: str) -> bytes:
    with page.expect_download() as waiting:
        press(page, name, exact=True)
    return waiting.value.path().read_bytes()


def test_every_file_that_is_taken_away_opens_and_has_the_librarys_numbers(
    page: Page, demo: pw.Model
) -> None:
    swept = pw.patch(demo, example("ioi").pair)
    values = np.array(json.loads(taken(page, "JSON"))["patched"], dtype=float)
    np.testing.assert_array_equal(values, swept.patched.values)
    frame = pd.read_csv(io.BytesIO(taken(page, "CSV")))
    np.testing.assert_allclose(frame["patched"], swept.patched.values.ravel(), rtol=1e-12)
    ast.parse(taken(page, "Python"))
    notebook = nbformat.reads(taken(page, "Notebook").decode(), as_version=4)
    nbformat.validate(notebook)
    assert any("patch" in cell.source for cell in notebook.cells)
    press(page, "Export")
    press(page, "Figure", exact=True)
    page.get_by_text("3.3 in: a column").click()
    pixels = plt.imread(io.BytesIO(downloaded(page, "PNG")), format="png")
    assert pixels.shape[1] == 990
    assert pixels.std() > 0.01
    assert ElementTree.fromstring(downloaded(page, "SVG")).tag.endswith("svg")
    assert downloaded(page, "PDF").startswith(b"%PDF-")
    expect(page.get_by_role("dialog")).to_contain_text(r"\caption{Share of the logit difference")


def test_a_sweep_that_is_stopped_keeps_what_is_finished(visit: Visitors, large: Path) -> None:
    page = visit(long_sweep(large, "Anna"), settled=False)
    page.get_by_text(re.compile(r"\d[\d,]* of [\d,]+ cells")).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text(re.compile("The sweep was stopped")).wait_for()
    said = page.get_by_text(re.compile("The sweep was stopped")).inner_text()
    found = re.search(r"([\d,]+) of ([\d,]+) cells", said)
    assert found
    done, cells = (int(one.replace(",", "")) for one in found.groups())
    assert 0 < done < cells
    document = json.loads(taken(page, "JSON"))
    assert any(notice["code"] == "stopped" for notice in document["warnings"])
    page.get_by_role("button", name="Compute the rest").wait_for()


def test_eight_visitors_at_the_same_instant_get_the_numbers_of_the_library(
    visit: Visitors, demo: pw.Model, address: str
) -> None:
    suited = [one for one in examples() if "demo" in one.models][:8]
    visit()  # The server has loaded everything: what follows is about visitors, not its start.
    tabs = [visit("_stcore/health", settled=False) for _ in suited]
    # All eight stand at the barrier: they start at one moment of the clock that they share.
    start = tabs[0].evaluate("Date.now() + 2000")
    for tab, one in zip(tabs, suited, strict=True):
        url = f"{address}/?example={one.id}"
        go = "([url, start]) => { setTimeout(() => location.assign(url), start - Date.now()) }"
        tab.evaluate(go, [url, start])
        assert tab.evaluate("Date.now()") < start, "everybody is ready before the start"
    for tab, one in zip(tabs, suited, strict=True):
        export = tab.get_by_role("button", name="Export")
        expect(export).to_be_enabled(timeout=3 * SECONDS)
        rest(tab)
        swept = pw.patch(demo, one.pair, metric=one.metric)
        values = np.array(json.loads(taken(tab, "JSON"))["patched"], dtype=float)
        np.testing.assert_array_equal(values, swept.patched.values)
        for letter, run in {"A": swept.clean, "B": swept.corrupt}.items():
            expect(tab.get_by_test_id("inspector")).to_contain_text(f"{letter} {run.metric:.3g}")


def test_a_file_arrives_where_other_visitors_act_between_its_making_and_its_fetching(
    browser: Browser, visit: Visitors, address: str
) -> None:
    """Two runs of any visitors have ended before the browser is told where the file lies."""
    others = [visit(), visit()]
    held: list[Callable[[], None]] = []

    def through(socket: WebSocketRoute) -> None:
        def to_browser(message: str | bytes) -> None:
            told = ForwardMsg.FromString(message) if isinstance(message, bytes) else None
            if told is not None and told.WhichOneof("type") == "backend_operation_response":
                held.append(partial(socket.send, message))
            else:
                socket.send(message)

        socket.connect_to_server().on_message(to_browser)

    with browser.new_context() as context:
        context.set_default_timeout(SECONDS)
        page = context.new_page()
        page.route_web_socket("**/_stcore/stream", through)
        page.goto(address)
        rest(page)
        press(page, "Export")
        with page.expect_download() as waiting:
            press(page, "JSON", exact=True)
            while not held:
                page.wait_for_timeout(50)
            for one in others:
                one.reload()
                rest(one)
            held.pop()()
        json.loads(waiting.value.path().read_bytes())


def long_sweep(large: Path, other: str) -> str:
    """The address of a sweep that takes long, with a name of its own in it."""
    words = " ".join(["When Mary and John went to the store, John gave a drink to"] * 4)
    asked = {
        "model": str(large), "clean": words, "corrupt": words.replace("Mary", other),
        "answer": " Mary", "wrong": f" {other}", "site": "z", "per": "head_position",
    }  # fmt: skip
    return "?" + urlencode(asked)


CELLS = re.compile(r"\d[\d,]* of [\d,]+ cells")


def test_a_closed_tab_makes_room_for_others(visit: Visitors, large: Path) -> None:
    first, second = (visit(long_sweep(large, name), settled=False) for name in ("Alice", "Tom"))
    for tab in (first, second):
        tab.get_by_text(CELLS).wait_for()
    waiting = visit(long_sweep(large, "Eva"), settled=False)
    waiting.get_by_text(re.compile("Waiting")).wait_for()
    first.close()
    waiting.get_by_text(CELLS).wait_for()
    assert second.get_by_text(CELLS).is_visible(), "the other one had not simply finished"


def test_who_stops_a_sweep_does_not_stop_it_for_others(visit: Visitors, large: Path) -> None:
    first, second = (visit(long_sweep(large, "Susan"), settled=False) for _ in range(2))
    for tab in (first, second):
        tab.get_by_text(CELLS).wait_for()
    first.get_by_role("button", name="Stop").click()
    first.get_by_text(re.compile("The sweep was stopped")).wait_for()
    before = second.get_by_text(CELLS).inner_text()
    expect(second.get_by_text(before)).not_to_be_visible()
    expect(second.get_by_text(re.compile("The sweep was stopped"))).not_to_be_visible()
    first.get_by_role("button", name="Compute the rest").wait_for()
    second.get_by_role("button", name="Stop").click()
    second.get_by_text(re.compile("The sweep was stopped")).wait_for()


def test_a_prompt_full_of_markup_is_text_and_runs_nothing(visit: Visitors) -> None:
    ran = "document.title='ran'"
    hostile = f'<img src=x onerror="{ran}"><script>{ran}</script> :red[x] $y$ *a*'
    asked = {"clean": f"{hostile} red", "corrupt": f"{hostile} blue and", "answer": " *b*<i>"}
    page = visit("?" + urlencode(asked))
    page.get_by_test_id("stAlert").first.wait_for()
    chips = page.locator(".pw-chip")
    assert "<" in "".join(chips.all_inner_texts())
    assert page.title() == "Patchwright"
    for forbidden in ("img[src=x]", "main em", "main .katex", "main i"):
        assert page.locator(forbidden).count() == 0, forbidden
    # The page's own script alone puts the model into the address.
    scripts = page.locator("main script").all_inner_texts()
    assert all("history.replaceState" in one for one in scripts)


MARKS = "a -> b -- c :smile: :material/home: www.example.org http://example.org x@example.org"


def test_what_markdown_would_make_of_plain_text_stays_text(visit: Visitors) -> None:
    page = visit("?" + urlencode({"example": MARKS[:40]}))
    shown = page.get_by_test_id("stAlert").first
    assert MARKS[:40] in shown.inner_text()
    assert shown.locator("a").count() == 0
    shown = visit("?" + urlencode({MARKS[40:]: "1"})).get_by_test_id("stAlert").first
    assert MARKS[40:80] in shown.inner_text()
    assert shown.locator("a").count() == 0


FOCUSED = """() => {
  // Components stand behind shadow roots.
  let at = document.activeElement;
  while (at.shadowRoot && at.shadowRoot.activeElement) at = at.shadowRoot.activeElement;
  const name = at.getAttribute("aria-label") || at.innerText || "";
  return at.getAttribute("role") === "gridcell" ? "a cell" : name.split("\\n")[0];
}"""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what is called `name` has the focus."""
    passed: list[str] = []
    for _ in range(150):  # twice around: what was not drawn yet is passed over
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED))
        if passed[-1] == name:
            return
    raise AssertionError(f"Tab does not reach {name!r}: {passed}")


def test_the_keyboard_alone_does_everything_from_the_top_of_the_page(page: Page) -> None:
    keys = page.keyboard
    for label, text in {"Prompt A": CLEAN, "Prompt B": CORRUPT}.items():
        tab_to(page, label)
        keys.press("Control+a")
        keys.type(text)
    for label, text in {"Answer": " Alice", "Wrong answer": " David"}.items():
        tab_to(page, label)
        keys.press("Control+a")
        keys.type(text)
    keys.press("Enter")
    expect(field(page, "Wrong answer")).to_have_value(" David")
    expect(page.locator(".pw-chip.differs").first).to_have_text(DIFFERS)
    rest(page)
    tab_to(page, "What is copied")
    keys.type("MLP output")
    keys.press("Enter")
    expect(cell(page, "L0.mlp_out@0")).to_be_visible()
    rest(page)
    tab_to(page, "a cell")
    for key in (
        "Control+Home",
        "ArrowRight",
        "ArrowRight",
        "ArrowRight",
        "ArrowUp",
        "ArrowUp",
        "Enter",
    ):
        keys.press(key)
    expect(place(page)).to_have_text("L2.mlp_out@3")
    in_address(page, "chosen=L2.mlp_out%403")
    tab_to(page, "Add to set")
    keys.press("Enter")
    in_address(page, "places=L2.mlp_out%403")


def test_the_palette_finds_choices_and_places_and_question_mark_shows_the_keys(page: Page) -> None:
    keys, palette = page.keyboard, page.get_by_role("dialog")
    keys.press("Control+k")
    expect(palette).to_be_visible()
    keys.type("head output")
    expect(palette.get_by_role("option")).to_have_count(1)
    keys.press("Enter")
    in_address(page, "site=z")
    expect(cell(page, "L3H1.z")).to_be_visible()
    rest(page)
    keys.press("?")
    expect(palette).to_contain_text("from cell to cell")
    keys.type("layer 3 head 1")
    keys.press("Enter")
    in_address(page, "chosen=L3H1.z")
    expect(place(page)).to_have_text("L3H1.z")
    field(page, "Prompt A").press("End")
    keys.type("?")
    expect(palette).not_to_be_visible()
    page.get_by_role("button", name="Go to…").click()
    keys.type("no such words")
    expect(palette).to_contain_text("No command has all these words.")
    keys.press("Escape")
    expect(palette).not_to_be_visible()


def test_the_values_of_all_cells_are_spread_above_the_colour_bar(page: Page) -> None:
    spread = page.get_by_role("img", name="How the values of")
    expect(spread).to_have_accessible_name(re.compile("values of 90 cells are spread, from -1"))
    found = [
        str(one) for one in spread.locator("span").evaluate_all("all => all.map((a) => a.title)")
    ]
    assert sum(int(one.split()[0]) for one in found) == 90
    assert found[-1].startswith("6 cells between")


PAGES = {**tabs.TABS, "many": "Sets", "runs": "Library", "learn": "Learn"}


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_at_its_address_and_has_no_barrier(
    visit: Visitors, axe: str, name: str
) -> None:
    page = visit(name)
    expect(page.get_by_role("heading", name=PAGES[name], exact=True)).to_be_attached()
    expect(page.get_by_text("Page not found")).to_have_count(0)
    for place_of_the_page in topbar.SECTIONS.values():
        expect(page.get_by_role("link", name=place_of_the_page, exact=True)).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert barriers(page, axe) == []


@pytest.mark.parametrize(
    "path",
    [
        "",
        "trace",
        "paths?receivers=L3H1.q",
        "learn?lesson=3-patch-one-place",
        "learn",
        "?view=projector",
    ],
)
def test_the_dark_theme_has_no_barrier_either(visit: Visitors, axe: str, path: str) -> None:
    assert barriers(visit(path, scheme="dark"), axe) == []


def test_the_scripts_of_the_package_make_no_markup_of_words() -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write",
        script() + read_widget_file("palette.js"),
    )


def test_the_subject_of_a_trace_is_chosen_by_its_chips(visit: Visitors) -> None:
    page = visit("trace?example=eiffel-tower")
    expect(page.get_by_text("Noise on ·Eiffel ·Tower, 3 × σ strong")).to_be_visible()
    press(page, "·Tower 3")
    expect(page.get_by_text("Noise on ·Eiffel, 3 × σ strong")).to_be_visible()
    expect(page).to_have_url(re.compile("subject=2$"))


def test_three_maps_of_a_trace_have_one_selection_and_one_colour_bar(visit: Visitors) -> None:
    page = visit("trace?example=eiffel-tower")
    page.set_viewport_size({"width": 1280, "height": 800})
    bench = page.get_by_test_id("workbench")
    expect(bench.get_by_role("grid")).to_have_count(3)
    slider = bench.get_by_label("Hide cells below this share of the scale")
    expect(slider).to_have_count(1)
    seen_without_scrolling(rest(page), "map", "inspector")
    cell(page, "L3.attn_out@5").hover()
    expect(page.get_by_text("effect 0.548 ± 0.54")).to_be_visible()
    cell(page, "L3.attn_out@5").click()
    expect(place(page)).to_have_text("L3.attn_out@5")
    expect(page.get_by_test_id("inspector")).to_contain_text("attention output of layer 3 put back")
    expect(bench.locator("[aria-selected=true]")).to_have_count(1)
    in_address(page, "chosen=L3.attn_out%405")
    weak = cell(page, "L0.attn_out@2")
    expect(weak).to_have_text("0.22")
    slider.fill("0.4")
    expect(weak).to_have_text("")
    in_address(page, "threshold=40")


def test_the_one_colour_bar_of_a_trace_says_how_the_values_of_all_maps_are_spread(
    visit: Visitors,
) -> None:
    tab = visit("trace")
    cells = tab.get_by_role("gridcell").count()
    expect(tab.get_by_role("img", name=f"How the values of {cells} cells")).to_be_visible()


def test_a_click_while_three_maps_are_computed_is_not_lost(visit: Visitors, large: Path) -> None:
    asked = long_sweep(large, "Ruth").replace("&site=z&per=head_position", "")
    page = visit(f"trace{asked}&subject=1", settled=False)
    bench = page.get_by_test_id("workbench")
    expect(bench).to_have_attribute("data-state", "computing")
    expect(page.get_by_test_id("progress")).to_contain_text("Map 1 of 3")
    cell(page, "L1.mlp_out@3").click()
    expect(place(page)).to_have_text("L1.mlp_out@3")
    expect(page.get_by_test_id("inspector")).to_contain_text("Layer 1, MLP output")
    page.get_by_role("button", name="Stop").click()
    expect(bench).to_have_attribute("data-state", "rest")
    expect(cell(page, "L1.mlp_out@3")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("Hidden state: The sweep was stopped")).to_be_visible()
    page.get_by_role("button", name="Compute the rest").wait_for()


def test_receivers_of_paths_are_added_by_clicking_cells(visit: Visitors) -> None:
    page = visit("paths")
    cell(page, "L3H1.z").click()
    press(page, "Add L3H1.q as receiver")
    in_address(page, "receivers=L3H1.q")
    expect(page.get_by_test_id("inspector")).to_contain_text("lies above every receiver (L3H1.q)")
    expect(cell(page, "L3H1.z")).to_have_class(re.compile("in-set"))
    rest(page)
    cell(page, "L3H4.z").click(modifiers=["Shift"])
    expect(page.get_by_test_id("stMultiSelect")).to_contain_text("L3H4.q")
    expect(page.get_by_test_id("inspector")).to_contain_text("(L3H1.q and L3H4.q)")
    page.set_viewport_size({"width": 1280, "height": 800})
    seen_without_scrolling(rest(page), "map", "inspector")


def test_the_page_circuit_says_what_its_edges_keep(visit: Visitors) -> None:
    page = visit("circuit?edges=8")
    conclusion = page.get_by_test_id("conclusion")
    expect(conclusion).to_contain_text("8 of 2,188 edges keep")
    press(page, "Prune to")
    expect(conclusion).not_to_contain_text("8 of 2,188 edges keep")
    expect(conclusion).to_contain_text("of 2,188 edges keep")


def test_a_circuit_is_read_in_its_graph(visit: Visitors) -> None:
    page = visit("circuit")
    page.set_viewport_size({"width": 1280, "height": 800})
    rest(page)
    seen_without_scrolling(page, "conclusion", "map", "inspector")
    graph, inspector = page.get_by_test_id("map"), page.get_by_test_id("inspector")
    head = graph.locator("[data-node=L3H1]")
    # A node's edges are lit while the pointer is on it, with their scores, before the server is asked.
    head.hover()
    expect(graph.locator("svg.graph .edge.on")).to_have_count(6)
    expect(graph.locator(".score")).to_have_count(6)
    expect(graph.locator(".tip")).to_have_text("head 1 of layer 3: 3 edges in, 3 out (L3H1)")
    head.click()
    expect(inspector).to_contain_text("Head 1 of layer 3")
    expect(inspector).to_contain_text("in A looks from")
    expect(head).to_have_attribute("aria-selected", "true")
    in_address(page, "edge_chosen=L3H1")
    # An edge of the inspector's list, then by the keyboard a node above.
    inspector.get_by_role("button", name="MLP 0 to its queries").click()
    expect(inspector).to_contain_text("queries of head 1 of layer 3: what it looks for")
    in_address(page, "edge_chosen=L0.mlp%3EL3H1.q")
    graph.locator("[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).not_to_have_url(re.compile("%3E"))
    page.go_back()
    expect(inspector).to_contain_text("what it looks for")
    inspector.get_by_role("button", name="head 1 of layer 3").click()
    inspector.get_by_role("button", name="Where it looks").click()
    expect(page.get_by_role("heading", name="Attention", exact=True)).to_be_attached()
    in_address(page, "chosen=L3H1.z")


def test_the_slider_of_a_circuit_prunes_while_it_moves_and_measures_when_let_go(
    visit: Visitors,
) -> None:
    page = visit("circuit")
    graph, slider = page.get_by_test_id("map"), page.get_by_label("Edges kept, on a")
    drawn, lines = graph.locator("svg.graph .edge"), graph.locator("svg.graph")
    expect(drawn).to_have_count(30)
    page.evaluate(WATCH)
    slider.evaluate("one => { one.value = 0.3; one.dispatchEvent(new Event('input')); }")
    expect(drawn).to_have_count(10)
    expect(page.get_by_test_id("conclusion")).to_contain_text("30 of 2,188 edges keep")
    slider.dispatch_event("change")
    expect(page.get_by_test_id("conclusion")).to_contain_text("10 of 2,188 edges keep")
    expect(drawn).to_have_count(10)
    expect(lines).not_to_have_class(re.compile("coming"))
    in_address(page, "edges=10")
    press(page, "Prune to")
    expect(drawn).not_to_have_count(10)
    expect(page).not_to_have_url(re.compile("edges=10"))
    page.go_back()
    expect(drawn).to_have_count(10)
    # The graph was never gone, and was dimmed until the server had answered.
    assert page.evaluate("window.seen") == {"gone": False, "dimmed": True}


WATCH = """() => {
  const shadow = [...document.querySelectorAll("*")].find((one) => one.shadowRoot?.querySelector(".workbench")).shadowRoot;
  window.seen = { gone: false, dimmed: false };
  const look = () => {
    const roots = [...document.querySelectorAll("*")].map((one) => one.shadowRoot).filter(Boolean);
    const graph = roots.map((one) => one.querySelector("svg.graph")).find(Boolean);
    window.seen.gone ||= !graph || graph.querySelector(".edge") === null;
    window.seen.dimmed ||= Boolean(graph?.classList.contains("coming"));
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  new MutationObserver(look).observe(shadow, { childList: true, subtree: true, attributes: true });
}"""
"""Notes whether the graph of a circuit is ever gone, and whether it is ever dimmed."""


def test_a_circuit_is_saved_as_the_file_that_the_library_reads(
    visit: Visitors, demo: pw.Model, tmp_path: Path
) -> None:
    page = visit("circuit?edges=12")
    file = tmp_path / "circuit.json"
    file.write_bytes(downloaded(page, "Save the circuit (JSON)"))
    circuit = pw.load_circuit(file)
    scored = pw.edge_attribution(demo, example("ioi").pair, steps=5)
    wanted = pw.Circuit.choose(scored, demo, top=12, connected=True)
    assert (circuit.edges, circuit.fingerprint) == (wanted.edges, wanted.fingerprint)
    assert circuit.scores == pytest.approx(wanted.scores, abs=1e-3)
    kept = pw.evaluate_circuit(demo, example("ioi").pair, circuit, [12])
    share = percent(float(kept.array("faithfulness")[0]))
    expect(page.get_by_test_id("conclusion")).to_contain_text(f"12 of 2,188 edges keep {share}")


def pick(page: Page, answer: int | str, grid: Grid | None) -> None:
    """Choose an answer of a lesson's step: a choice by clicking it, a cell by the keyboard."""
    if grid is None:
        radio = page.get_by_test_id("stRadio").locator("label", has=page.locator("input"))
        radio.nth(int(answer)).click()
        return
    row = next(i for i, places in enumerate(grid.places) if answer in places)
    column = grid.places[row].index(str(answer))
    press_on_map(page, *["ArrowUp"] * row, *["ArrowRight"] * column)


def play(page: Page, lesson: Lesson, number: int, demo: pw.Model, right: bool, hint: bool) -> None:
    """Answer one step of a lesson, and go on."""
    step, steps = lesson.steps[number], len(lesson.steps)
    # Lessons have as many steps as others: the title says which one this is.
    expect(page.get_by_role("heading", name=lesson.title)).to_be_visible()
    expect(page.get_by_text(f"Step {number + 1} of {steps}", exact=True)).to_be_visible()
    if step.question is not None:
        result = pw.run(step_experiment(lesson, number), demo)
        answers = mark(step, result, "").answers
        page.get_by_role("button", name="Check answer").wait_for()
        rest(page)  # the map is drawn after the question
        if hint:
            press(page, "Give me a hint")
            page.get_by_text("Hint 1:").wait_for()
        wrong = [i for i in range(len(step.choices)) if i not in answers]
        for answer in answers[:1] if right else wrong[:2]:
            pick(page, answer, None if step.cell is None else grid_of(result))
            expect(page.get_by_role("button", name="Check answer")).to_be_enabled()
            press(page, "Check answer")
            page.get_by_text("Right" if right else "Not quite", exact=False).first.wait_for()
        page.get_by_role("button", name="Open this experiment").wait_for()
    press(page, "Finish" if number == steps - 1 else "Next")


def test_all_lessons_are_played_from_first_to_last(visit: Visitors) -> None:
    page = visit("learn")
    keyed(page, f"open-{built_in_lessons()[0].name}").get_by_role("button").click()
    for index, lesson in enumerate(built_in_lessons()):
        for number in range(len(lesson.steps)):
            first = index == 0 and number == 0
            model = pw.load_model(lesson.model)
            play(page, lesson, number, model, right=(index, number) != (0, 1), hint=first)
        questions = sum(step.question is not None for step in lesson.steps)
        alone = page.get_by_test_id("stMetric").filter(has_text="Right at once")
        expect(alone).to_contain_text(
            f"{questions - 2 if index == 0 else questions} of {questions}"
        )
        if index < len(built_in_lessons()) - 1:
            press(page, "Next lesson")
    expect(page.get_by_role("button", name="Take it again")).to_be_visible()
    expect(page.get_by_role("button", name="Next lesson")).to_have_count(0)
    press(page, "All lessons")
    expect(page.get_by_text("✓ Done")).to_have_count(len(built_in_lessons()))


def test_the_address_of_a_step_opens_it_and_its_experiment(visit: Visitors) -> None:
    page = visit("learn?lesson=6-agreement&step=2")
    expect(page.get_by_text("Step 2 of 3")).to_be_visible()
    pick(page, 1, None)
    press(page, "Check answer")
    press(page, "Open this experiment")
    expect(page.get_by_label("Prompt B")).to_have_value("The keys to the cabinets")
    page.get_by_role("link", name="Learn", exact=True).click()
    expect(page.get_by_text("Step 2 of 3")).to_be_visible()


def painted(page: Page) -> int:
    """How many colours the cells of the first heat map have."""
    return heat_map(page).evaluate(
        """(grid) => new Set([...grid.querySelectorAll("[role=gridcell]")]
          .map((cell) => getComputedStyle(cell).backgroundColor)).size"""
    )


@pytest.mark.parametrize(
    ("asked", "clicked", "says"),
    [
        ("ablation", "L3H5.z", "Set to zero in A, it moves the logit difference from"),
        (
            "paths?receivers=L5H1.q",
            "L2H3.z",
            "Copied from A into B, seen by L5H1.q and nothing else",
        ),
    ],
)
def test_the_map_is_painted_and_one_click_says_what_the_place_does(
    visit: Visitors, asked: str, clicked: str, says: str
) -> None:
    page = visit(asked)
    assert painted(page) > 1
    expect(place(page)).not_to_have_text(clicked)
    cell(page, clicked).click()
    expect(place(page)).to_have_text(clicked)
    expect(page.get_by_text(says)).to_be_visible()
    in_address(page, clicked)


def test_a_click_while_cells_are_computed_is_not_lost(visit: Visitors, large: Path) -> None:
    page = visit(long_sweep(large, "Peter") + "&metric=rank", settled=False)
    bench = page.get_by_test_id("workbench")
    expect(bench).to_have_attribute("data-state", "computing")
    cell(page, "L1H2.z@3").click()
    expect(cell(page, "L1H2.z@3")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_test_id("inspector").get_by_text("Copied from A into B")).to_be_visible()
    expect(place(page)).to_have_text("L1H2.z@3")
    page.get_by_role("button", name="Stop").click()
    expect(bench).to_have_attribute("data-state", "rest")
    expect(cell(page, "L1H2.z@3")).to_have_attribute("aria-selected", "true")
    in_address(page, "chosen=L1H2.z%403")


def test_one_selection_is_seen_by_all_tabs(page: Page) -> None:
    cell(page, "L2.resid_pre@10").click()
    expect(place(page)).to_have_text("L2.resid_pre@10")
    page.get_by_role("link", name="Ablate").click(delay=PRESS)
    expect(page.get_by_test_id("inspector").get_by_text("Set to zero in A")).to_be_visible()
    expect(place(page)).to_have_text("L2.resid_pre@10")


def test_a_place_is_pinned_and_compared_and_collected_with_shift(page: Page) -> None:
    cell(page, "L0.resid_pre@10").click()
    expect(place(page)).to_have_text("L0.resid_pre@10")
    press(page, "Pin", exact=True)
    in_address(page, "pinned=L0.resid_pre%4010")
    cell(page, "L3.resid_pre@14").click()
    expect(page.get_by_test_id("inspector")).to_contain_text("points from it")
    cell(page, "L1.resid_pre@14").click(modifiers=["Shift"])
    expect(page.get_by_test_id("setbar")).to_contain_text("L1.resid_pre@14")
    expect(place(page)).to_have_text("L3.resid_pre@14")
    press(page, "Take L1.resid_pre@14 out of the set")
    expect(page.get_by_test_id("setbar")).not_to_contain_text("L1.resid_pre@14")


def test_the_threshold_hides_small_effects_and_is_no_step_of_history(page: Page) -> None:
    steps = page.evaluate("history.length")
    strong = cell(page, "L0.resid_pre@10")
    expect(strong).to_have_text("1.00")
    slider = page.get_by_label("Hide cells below this share of the scale")
    slider.fill("0.4")
    in_address(page, "threshold=40")
    expect(strong).to_have_text("1.00")
    assert page.evaluate("history.length") == steps


GRAPH_LOGIC = """(logic) => new Function(logic + `;
  const edge = (id, sender, target, score, exact) => ({id, name: id, sender, target, input: "", score, exact});
  const d = {size: 2, near: {ranks: [0, 1]}, wide: {ranks: [0, 1, 2]}, names: {a: "A", b: "B", c: "C"},
    edges: [edge("a>b", "a", "b", -0.5, -0.25), edge("b>c", "b", "c", 1, null), edge("a>c", "a", "c", 0.1, null)]};
  const at = {a: [1, 0], b: [0.5, 1], c: [2, 1], e: [1, 3]};
  return {
    sizes: [sizeAt(0, 2188), sizeAt(0.5, 2188), sizeAt(1, 2188), sizeAt(0.3, 1)],
    shares: [shareAt(1, 2188), shareAt(2188, 2188), shareAt(1, 1)],
    kept: [keptOf(d, 1), keptOf(d, 2), keptOf(d, 3)].map(({ layout, ranks }) => [layout.ranks.length, ranks]),
    drawn: [drawnOf([0, 1], 2), drawnOf([0, 1], 1500)],
    labels: ["head 11", "MLP 2", "embedding", "logits"].map(shortLabel),
    joined: [edgesOf(d, [0, 1, 2], "b"), edgesOf(d, [0, 1], "a"), edgesOf(d, [0, 1, 2], "a>c")],
    path: pathOf([[0, 10], [4, 2]]),
    words: [inWords(d, [0, 1, 2], "a>b"), inWords(d, [0, 1, 2], "b>c"), inWords(d, [0, 1, 2], "c"), inWords(d, [0, 1], "a>c")],
    beside: ["ArrowUp", "ArrowDown", "ArrowRight"].map((key) => nodeBeside(key, at, "b")),
    from: [nodeBeside("ArrowUp", at, "a"), nodeBeside("ArrowDown", at, "a"), nodeBeside("ArrowLeft", at, "c")],
  };`)()"""


def test_what_a_graph_shows_and_a_key_means_is_known_without_a_page(browser: Browser) -> None:
    tab = browser.new_page()
    found = tab.evaluate(
        GRAPH_LOGIC, read_widget_file("map_logic.js") + read_widget_file("graph_logic.js")
    )
    tab.close()
    assert found["sizes"] == [1, 47, 2188, 1]
    assert found["shares"] == [0, 1, 1]
    assert found["kept"] == [[2, [0]], [2, [0, 1]], [3, [0, 1, 2]]]
    assert found["drawn"] == ["", "drawn: 2"]
    assert found["labels"] == ["H11", "M2", "emb", "log"]
    assert found["joined"] == [[0, 1], [0], [2]]
    assert found["path"] == "M0 10C0 6 4 6 4 2"
    assert found["words"] == [
        "a>b: estimate −0.5, measured −0.25",
        "b>c: estimate +1",
        "C: 2 edges in, 0 out",
        "",
    ]
    assert found["beside"] == ["e", "a", "c"]
    assert found["from"] == ["b", "a", "b"]


LOGIC = """(logic) => new Function(logic + `;
  const d = {rows: [0, 1], columns: ["a 0", "b 1"], places: [["p", "q"], ["r", "s"]], placed: true,
    values: [[0.5, null], [-0.01, 1]], centred: true, limit: 1, unit: "effect", estimated: null,
    unsure: null, texts: null, spreads: null, tops: [[[["x", 0.9]], []], [[], []]], marked: [], nothing: {}, empty: "no value"};
  return {
    colours: [paint(1, d, [255, 255, 255]), paint(-0.5, d, [55, 0, 72]), paint(2, {...d, centred: false, low: 0, high: 4}, null)],
    inks: [inkOn([178, 24, 43]), inkOn([247, 247, 247]), inkOn([33, 145, 140])],
    texts: [textOf(0.5, d, 0, 0, 0.05, 40, 20), textOf(-0.01, d, 1, 0, 0.05, 40, 20),
      textOf(0.5, d, 0, 0, 0.05, 20, 20), textOf(0.5, d, 0, 0, 0.05, 40, 10)],
    said: [spoken(d, 0, 0, 3), spoken(d, 0, 0), spoken(d, 0, 1), likeliest(d, 0, 0), likeliest(d, 0, 1),
      spoken({...d, spreads: [[0.126, null], [0, 0]]}, 0, 0, 3),
      spoken({...d, bounds: [[[0.4, 0.61], null], [null, null]]}, 0, 0, 3)],
    whiskers: [whisker([-d.limit, d.limit], d, 103), whisker([0, 0], d, 103)],
    moves: [moved({key: "ArrowUp"}, [0, 0], 2, 2), moved({key: "ArrowUp"}, [1, 0], 2, 2),
      moved({key: "End"}, [0, 0], 2, 2), moved({key: "Home", ctrlKey: true}, [1, 1], 2, 2), moved({key: "x"}, [0, 0], 2, 2)],
    meanings: [meaning({shiftKey: false}), meaning({shiftKey: true}), meaning({key: "Enter"}), meaning({key: "a"})],
    spread: [spreadOver([[-1, 0.1, null], [1, 3, 0.2]], {centred: true, limit: 1}, 4),
      spreadOver([[2, 3], [4, 4]], {centred: false, low: 2, high: 4}, 2),
      spreadOver([[2, 2]], {centred: false, low: 2, high: 2}, 2)],
    heights: [heightOf(6, 15, 45, 340), heightOf(48, 25, 20, 340), heightOf(144, 15, 40, 340), heightOf(15, 15, 8, 340)],
    rooms: [roomIn(800, 300), roomIn(1080, 300), roomIn(500, 300)],
  };`)()"""


def test_what_a_map_shows_and_a_key_means_is_known_without_a_page(browser: Browser) -> None:
    tab = browser.new_page()
    found = tab.evaluate(LOGIC, read_widget_file("map_logic.js"))
    tab.close()
    assert found["colours"] == [
        [178, 24, 43],
        [44, 51, 122],
        [33, 145, 140],
    ]
    assert found["inks"] == ["#fff", "#000", "#000"]
    assert found["texts"] == ["0.50", "", "", ""]
    assert found["said"] == [
        "p a 0: effect 0.500",
        "p a 0: effect 0.50",
        "q b 1: no value",
        "x 90 %",
        "",
        "p a 0: effect 0.500 ± 0.13",
        "p a 0: effect 0.500, interval 0.40 to 0.61",
    ]
    assert found["whiskers"] == [[0, 100], [50, 3]]
    assert found["moves"] == [[1, 0], [1, 0], [0, 1], [0, 0], None]
    assert found["meanings"] == ["place", "add", "place", None]
    assert found["spread"] == [[1, 0, 2, 2], [1, 3], [2, 0]]
    assert found["heights"] == [30, 7, 5, 8]
    assert found["rooms"] == [260, 300, 180]
