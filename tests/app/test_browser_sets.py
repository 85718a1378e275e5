"""Many prompts in a real browser: a cell of a set, a shared set."""

import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

import patchwright as pw
from browser_pages import Visitors, barriers, cell, choose, field, in_address, place, press, rest
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
    expect(tab.get_by_text("on average over 6 pairs?")).to_be_visible()
    rest(tab)
    first = place(tab).inner_text()
    assert first != "L2H4.z"
    cell(tab, "L2H4.z").click()
    expect(place(tab)).to_have_text("L2H4.z")
    expect(tab).to_have_url(re.compile(r"/many\?run=[0-9a-f]{12}&.*chosen=L\dH\d\.z$"))
    chosen = tab.url.split("=")[-1]
    expect(place(tab)).to_have_text(chosen)
    other = visit(tab.url.rpartition("/")[2])
    expect(other.get_by_text("on average over 6 pairs?")).to_be_visible()
    expect(place(other)).to_have_text(chosen)


def test_one_click_asks_of_fifty_pairs_what_explore_asks_of_one(visit: Visitors) -> None:
    tab = visit("patch?chosen=L0.resid_pre%4010")
    press(tab, "Fifty like this")
    expect(tab.get_by_text("50 pairs like this one")).to_be_visible()
    expect(tab.get_by_text("on average over 50 pairs?")).to_be_visible()
    expect(tab.get_by_test_id("conclusion")).to_contain_text("over 50 pairs")
    expect(place(tab)).to_have_text("L0.resid_pre@10")
    in_address(tab, "set_source=pair")
    rest(tab)
    other = visit(tab.url.rpartition("/")[2])
    expect(other.get_by_text("50 pairs like this one")).to_be_visible()
    expect(place(other)).to_have_text("L0.resid_pre@10")
    rest(tab).go_back()
    expect(tab.get_by_test_id("inspector")).to_contain_text("Copied from A into B")


def test_a_cell_of_a_set_has_its_interval_and_an_outlier_leads_to_its_pair(
    visit: Visitors, demo: pw.Model, axe: str
) -> None:
    pairs = from_template(task("capital").template, 12, demo.tokenizer, 2)
    turned = {"answer": pairs[4].wrongs, "wrong": pairs[4].answers}
    odd = pairs[4].model_copy(update=turned)
    lines = write_items([Item(pair=one) for one in [*pairs[:4], odd, *pairs[5:]]])
    tab = visit("many?set_source=sentences")
    choose(tab, "Pairs from", "A file")
    tab.locator("input[type=file]").set_input_files(
        {"name": "a.jsonl", "mimeType": "application/jsonl", "buffer": "".join(lines).encode()}
    )
    expect(tab.get_by_text("on average over 12 pairs?")).to_be_visible()
    inspector = rest(tab).get_by_test_id("inspector")
    cell(tab, "L1H3.z").click()
    expect(place(tab)).to_have_text("L1H3.z")
    expect(inspector).to_contain_text("95 % interval")
    expect(inspector.locator(".of-pair")).to_have_count(12)
    assert barriers(tab, axe) == []
    dots = inspector.get_by_role("group", name="The values of 12 pairs")
    names = dots.get_by_role("button").evaluate_all("all => all.map((one) => one.ariaLabel)")
    at = next(i for i, name in enumerate(names) if name.startswith("Pair 5: "))
    assert names[at].endswith(f", an outlier. {odd.clean}")
    dots.locator("[tabindex='0']").focus()
    for key in ("Home", *["ArrowRight"] * at):
        tab.keyboard.press(key)
    expect(dots.locator(".of-name")).to_contain_text("Pair 5: ")
    tab.keyboard.press("Enter")
    expect(field(tab, "Prompt A")).to_have_value(str(odd.clean))
    rest(tab).go_back()
    expect(dots).to_be_visible()
    cell(tab, "L0H0.z").hover()
    expect(tab.locator(".tip")).to_contain_text(re.compile(r"interval -?\d\.\d\d to -?\d\.\d\d"))
    press(tab, "Outlier: pair 5")
    expect(field(tab, "Prompt A")).to_have_value(str(odd.clean))
    expect(field(tab, "Answer")).to_have_value(str(odd.answers[0]))
    # While the page turns, the workbench of Sets may stand there beside that of Explore.
    expect(rest(tab).get_by_test_id("inspector")).to_contain_text("Copied from A into B")
    expect(place(tab)).to_have_text("L1H3.z")


def test_a_set_is_stopped_stays_so_while_the_library_is_looked_at_and_is_gone_on_with(
    visit: Visitors, large: Path
) -> None:
    asked = {"model": str(large), "set_count": 120, "set_site": "z", "set_per": "head_position"}
    tab = visit(f"many?{urlencode(asked)}", settled=False)
    bench, rest_of_it = tab.get_by_test_id("workbench"), tab.get_by_text("Compute the rest")
    expect(bench).to_have_attribute("data-state", "computing")
    tab.get_by_role("button", name="Stop").click()
    expect(bench).to_have_attribute("data-state", "rest")
    expect(tab.get_by_test_id("stAlertContentWarning")).to_contain_text("The sweep was stopped")
    expect(rest_of_it).to_be_visible()
    rest(tab).get_by_role("link", name="Library").click()
    expect(tab.get_by_role("heading", name="Library")).to_be_visible()
    rest(tab).get_by_role("link", name="Sets").click()
    expect(rest_of_it).to_be_visible()
    press(tab, "Compute the rest")
    expect(bench).to_have_attribute("data-state", "computing")
    expect(rest_of_it).to_have_count(0)
    expect(tab.get_by_test_id("progress")).to_contain_text("cells")
