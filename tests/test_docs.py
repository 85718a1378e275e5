"""The numbers that the pages of methods show."""

import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def numbers_of(table: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-+]?\d+\.\d+", table)]


def test_the_table_beside_ablation_is_what_the_demo_model_gives() -> None:
    shown = (DOCS / "methods" / "attention.md").read_text(encoding="utf-8")
    table = shown.split("<!-- table -->\n")[1].split("<!-- end -->")[0]
    current = runpy.run_path(str(DOCS / "draw_figures.py"))["heads_table"]()
    # Two digits are shown; the last one may differ from machine to machine.
    assert numbers_of(table) == pytest.approx(numbers_of(current), abs=0.011)


def test_the_figures_are_drawn_by_commands_that_run_everywhere() -> None:
    commands_of = runpy.run_path(str(DOCS / "draw_figures.py"))["commands_of"]
    for page in (DOCS / "methods").glob("*.md"):
        for line in commands_of(page.read_text(encoding="utf-8")):
            assert line.startswith("patchwright "), f"{page.name}: {line}"
    given = "```sh\npatchwright a \\\n  --b\n```\n<!-- not run: why -->\n```sh\nexport C=1\n```\n"
    assert commands_of(given) == ["patchwright a    --b"]


@pytest.mark.parametrize("page", ["docs/correctness.md", "SECURITY.md"])
def test_every_test_that_is_named_as_a_proof_is_there(page: str) -> None:
    text = (DOCS.parent / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    files = Path(__file__).parent.rglob("test_*.py")
    known = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 25
    assert named <= known
