from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import patchwright as pw
from patchwright.errors import OutputError
from patchwright.figures.printed import draw, image
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])
STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", STARTS)
def test_a_figure_is_the_same_file_every_time(model: pw.Model, tmp_path: Path, suffix: str) -> None:
    result = pw.patch(model, PAIR, "z")
    path = tmp_path / f"figure.{suffix}"
    result.plot(path)
    assert path.read_bytes().startswith(STARTS[suffix])
    assert path.read_bytes() == image(result, suffix)


def test_the_heat_map_has_every_value_and_its_title(model: pw.Model) -> None:
    result = pw.patch(model, PAIR, "z")
    axes = draw(result).axes[0]
    written = {text.get_text() for text in axes.texts}
    assert {f"{round(value, 2) + 0.0:.2f}" for value in result.effect.values.ravel()} == written
    assert axes.get_title("left") == "Denoise: patching z, logit_diff"
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
    result.plot(tmp_path / "bars.svg")
    text = (tmp_path / "bars.svg").read_text(encoding="utf-8")
    assert all(word in text for word in ("clean", "patched", "corrupt", "L1H2.z"))


def test_another_suffix_is_refused(model: pw.Model, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.png, \.svg or \.pdf"):
        pw.patch(model, PAIR).plot(tmp_path / "figure.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("receivers", [["logits"], ["L2H1.q", "L2H2.k", "L2H3.v", "L2.mlp_out"]])
def test_a_long_title_stays_on_the_figure(model: pw.Model, receivers: list[str]) -> None:
    figure = draw(pw.path_patch(model, PAIR, receivers, mlps="freeze", bos=False))
    FigureCanvasAgg(figure).draw()
    written = [text for text in figure.findobj(Text) if text.get_text().startswith("Paths from")]
    box = written[0].get_window_extent()
    assert (box.x1 <= figure.bbox.x1, box.y1 <= figure.bbox.y1) == (True, True)
