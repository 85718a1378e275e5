"""Many prompts and Runs in a real browser: a cell of a set, a shared set, a deletion undone."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

import patchwright as pw
from browser_pages import Visitors, cell, choose, keyed, place, press, rest
from patchwright.prompts.builtin_templates import task
from patchwright.prompts.datasets import Item, write_items
from patchwright.prompts.examples import example
from patchwright.prompts.templates import from_template
from patchwright.storage.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]


def test_an_uploaded_set_is_swept_clicked_and_shared(visit: Visitors, demo: pw.Model) -> None:
    pairs = from_template(task("indirect-object").template, 6, demo.tokenizer, 9)
    lines = list(write_items([Item(pair=one) for one in pairs]))
    content = "".join([lines[0], json.dumps({"clean": "<b>"}) + "\n", *lines[1:]])
    tab = visit("many?set_count=4")
    choose(tab, "Pairs from", "A file")
    tab.locator("input[type=file]").set_input_files(
        {"name": "a.jsonl", "mimeType": "application/jsonl", "buffer": content.encode()}
    )
    expect(tab.get_by_text("Line 2: 'corrupt' is missing")).to_be_visible()
    expect(tab.get_by_text("mean of 6 pairs")).to_be_visible()
    rest(tab)
    first = place(tab).inner_text()
    assert first != "L2H4.z"
    cell(tab, "L2H4.z").click()
    expect(place(tab)).to_have_text("L2H4.z")
    expect(tab).to_have_url(re.compile(r"/many\?run=[0-9a-f]{12}&.*set_chosen=L\dH\d\.z$"))
    chosen = tab.url.split("=")[-1]
    expect(place(tab)).to_have_text(chosen)
    other = visit(tab.url.rpartition("/")[2])
    expect(other.get_by_text("mean of 6 pairs")).to_be_visible()
    expect(place(other)).to_have_text(chosen)


def test_runs_are_compared_deleted_and_brought_back(
    visit: Visitors, server_home: Path, demo: pw.Model
) -> None:
    store, pair = Store(server_home), example("ioi").pair
    results = [
        pw.patch(demo, pair, site="z", per="layer", direction=direction)
        for direction in ("denoise", "noise")
    ]
    for run in store.save_all(results):
        store.note(run, "to be compared")
    late, early = store.entries("to be compared", 3)
    tab = visit("runs?search=to+be+compared")
    for i, entry in enumerate((late, early)):
        keyed(tab, f"tick-{entry.id}").locator("label").click()
        expect(tab.get_by_text(f"{i + 1} run{'s' * i} chosen")).to_be_visible()
    expect(tab.get_by_text("second − first")).to_be_visible()
    press(tab, "Delete")
    expect(tab.get_by_text("No run has all these words")).to_be_visible()
    press(tab, "Undo")
    expect(tab.get_by_test_id("stCheckbox")).to_have_count(2)
    keyed(rest(tab), f"open-{late.id}").get_by_role("button").click()
    expect(tab.get_by_role("heading", name="Patch", exact=True)).to_be_attached()
    expect(tab.get_by_test_id("inspector")).to_contain_text("Copied from B into A")
