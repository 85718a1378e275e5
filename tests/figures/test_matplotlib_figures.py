import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import patchwright as pw
from patchwright.errors import OutputError
from patchwright.figures import heat_map_figure
from patchwright.figures.grid import grid_of, short_number
from patchwright.figures.heat_map_figure import color_of
from patchwright.figures.matplotlib_figures import draw_bars, draw_result, image_bytes
from patchwright.figures.style import FigureStyle
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])
STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", STARTS)
def test_a_figure_is_the_same_file_every_time(model: pw.Model, tmp_path: Path, suffix: str) -> None:
    result = pw.patch(model, PAIR, "z")
    path = tmp_path / f"figure.{suffix}"
    result.plot(path)
    assert path.read_bytes().startswith(STARTS[suffix])
    assert path.read_bytes() == image_bytes(result, suffix)


def test_the_heat_map_has_every_value_that_matters_and_its_title(model: pw.Model) -> None:
    result = pw.patch(model, PAIR, "z")
    figure = draw_result(result, style=FigureStyle(title=True))
    axes = figure.axes[0]
    written = {text.get_text().replace("−", "-") for text in axes.texts}
    values = [value for value in result.effect.values.ravel() if abs(value) > 0.05]
    assert {f"{round(value, 2) + 0.0:.2f}" for value in values} == written
    title = "Share of the logit difference restored by copying a head's output before the output"
    assert figure.get_suptitle().replace("\n", " ").startswith(title)
    assert axes.get_ylim()[0] < axes.get_ylim()[1]


@pytest.mark.parametrize(
    "text",
    ["A $5 and $6 bill costs", "<b>bold</b> & more", "\u202eright to left", "emoji 🙂 and ü"],
)
def test_any_prompt_can_be_drawn(demo: pw.Model, tmp_path: Path, text: str) -> None:
    pair = pw.Pair(clean=f"{text} red", corrupt=f"{text} blue", answer=" Mary", wrong=" John")
    result = pw.patch(demo, pair, layers=[0])
    for suffix in STARTS:
        result.plot(tmp_path / f"figure.{suffix}")
        assert (tmp_path / f"figure.{suffix}").stat().st_size > 1000


def test_places_together_are_drawn_as_three_bars(model: pw.Model, tmp_path: Path) -> None:
    result = pw.patch_together(model, PAIR, ["L1H2.z", "L0.mlp_out@-1"])
    result.plot(tmp_path / "bars.svg", title=True)
    text = (tmp_path / "bars.svg").read_text(encoding="utf-8")
    assert all(word in text for word in ("clean", "patched", "corrupt", "L1H2.z"))


def test_places_ablated_together_are_drawn_as_what_they_are(model: pw.Model) -> None:
    result = pw.ablate_together(model, PAIR, ["L1H2.z", "L0.mlp_out@-1"])
    figure = draw_bars(result, FigureStyle(title=True))
    axes = figure.axes[0]
    assert figure.get_suptitle() == "Setting L1H2.z, L0.mlp_out@-1 to zero together"
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "clean",
        "ablated",
        "corrupted",
    ]


def test_another_suffix_is_refused(model: pw.Model, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.png, \.svg or \.pdf"):
        pw.patch(model, PAIR).plot(tmp_path / "figure.gif")
    assert list(tmp_path.iterdir()) == []


def in_process(path: Path, seed: str) -> bytes:
    """The figures of a kept result, drawn by another process."""
    code = (
        "import sys; from patchwright import load_result; from patchwright.figures.matplotlib_figures import image_bytes;"
        f"result = load_result({str(path)!r});"
        "[sys.stdout.buffer.write(image_bytes(result, suffix)) for suffix in ('png', 'svg', 'pdf')]"
    )
    environment = os.environ | {"PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_another_process_on_another_day_draws_the_same_bytes(
    model: pw.Model, tmp_path: Path
) -> None:
    result = pw.patch(model, PAIR, "z")
    result.to_json(tmp_path / "result.json")
    drawn = in_process(tmp_path / "result.json", "1")
    assert drawn == b"".join(image_bytes(result, suffix) for suffix in STARTS)
    assert drawn == in_process(tmp_path / "result.json", "2")


def page_palette() -> dict[str, list[tuple[float, ...]]]:
    """The colours that the page's heat map names, by constant."""
    source = Path(heat_map_figure.__file__).parents[1] / "app" / "widgets" / "map_logic.js"
    text = source.read_text(encoding="utf-8")

    def named(name: str) -> list[tuple[float, ...]]:
        found = re.search(rf"\b{name} = (\[[\d\s,\[\]]+\])", text)
        assert found, f"{source.name} names no {name}"
        value = json.loads(found[1])
        return [tuple(one) for one in value] if isinstance(value[0], list) else [tuple(value)]

    return {
        # On the page the middle is the neutral colour of the theme, on paper nearly white.
        "centred": [*named("BLUE"), (247.0, 247.0, 247.0), *named("RED")],
        "amounts": named("VIRIDIS"),
    }


@pytest.mark.parametrize("centred", [True, False])
def test_a_value_has_the_colour_that_the_page_gives_it(model: pw.Model, centred: bool) -> None:
    """The slow oracle: the page's own mixing of its own colours, whole levels apart at most."""
    stops = page_palette()["centred" if centred else "amounts"]
    grid = replace(
        grid_of(pw.patch(model, PAIR, "z")), centred=centred, low=-0.5 if centred else 0.0, high=0.8
    )
    low, high = (-0.8, 0.8) if centred else (0.0, 0.8)
    for value in np.linspace(low - 0.1, high + 0.1, 301):
        share = min(1.0, max(0.0, (value - low) / (high - low))) * (len(stops) - 1)
        first = min(len(stops) - 2, int(share))
        page = [
            round(a + (b - a) * (share - first))
            for a, b in zip(stops[first], stops[first + 1], strict=True)
        ]
        paper = [255 * one for one in color_of(float(value), grid)]
        assert np.abs(np.subtract(page, paper)).max() <= 1.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123, "0.12"), (-0.001, "0.00"), (-12.34, "-12.3"), (9.996, "10.00"), (-0.5, "-0.50")],
)
def test_a_number_is_written_as_on_the_page(value: float, shown: str) -> None:
    assert short_number(value) == shown
