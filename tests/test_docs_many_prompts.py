"""The commands of `docs/many-prompts.md`, with fewer pairs; its numbers, recomputed where it is quick."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

import patchwright as pw
from command import Command, command_in
from patchwright.prompts.builtin_templates import task
from patchwright.prompts.datasets import Item, read_items
from patchwright.prompts.templates import from_template

PAGE = Path(__file__).parents[1] / "docs" / "many-prompts.md"
COUNT = "12"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_in(capsys, monkeypatch)


def test_every_command_works_and_finds_what_the_page_says(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    lines = [line.strip() for line in page.splitlines() if line.startswith("patchwright ")]
    assert len(lines) == 4
    printed = [command(*shlex.split(line.replace("200", COUNT))[1:]) for line in lines]
    assert [one.status for one in printed] == [0] * 4, [one.err for one in printed]
    rows = read_items(Path("pairs.jsonl").read_text().splitlines(keepends=True), "jsonl")
    assert len([one for one in rows if isinstance(one, Item)]) == int(COUNT)
    assert "From the run store" in printed[2].err
    heads = pd.read_csv("heads.csv").set_index("place")
    assert len(heads) == 36
    order = heads["mean_effect"].abs().sort_values(ascending=False).index
    assert order[0] == "L0H0.z"
    assert set(order[1:4]) == {"L3H1.z", "L3H2.z", "L3H4.z"}
    told = dict(re.findall(r"^(L\dH\d\.z)  ([+-]\d\.\d+)", page, re.MULTILINE))
    for place in ("L0H0.z", "L3H1.z"):
        assert heads["mean_effect"][place] == pytest.approx(float(told[place]), abs=0.05)
    roles = printed[3].out
    assert re.search(r"0 +0\.00 +0\.00 +1\.00 +0\.00", roles)
    for figure in ("heads.png", "bars.png"):
        assert Path(figure).read_bytes().startswith(b"\x89PNG")


def test_the_pages_first_pairs_are_those_of_its_seed(demo: pw.Model) -> None:
    first = from_template(task("indirect-object").template, 200, demo.tokenizer, 0)[0]
    assert f"*{first.clean}*" in PAGE.read_text(encoding="utf-8").replace("\n", " ")
