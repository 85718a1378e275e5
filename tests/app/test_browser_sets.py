"""Many prompts in a real browser: a cell of a set, a shared set."""

import json
import re

import pytest
from playwright.sync_api import expect

import patchwright as pw
from browser_pages import Visitors, cell, choose, place, rest
from patchwright.prompts.builtin_templates import task
from patchwright.prompts.datasets import Item, write_items
from patchwright.prompts.templates import from_template

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
