"""A figure is as wide as it is asked for, and can be read at that width."""

import struct
from collections.abc import Callable
from inspect import signature
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

import patchwright as pw
from handmade_results import made
from patchwright.errors import InputError
from patchwright.figures.matplotlib_figures import (
    draw_circuit,
    draw_comparison,
    draw_layer_lines,
    draw_result,
    draw_scatter,
    image_bytes,
)
from patchwright.figures.sheet import DPI, SMALL, render_figure
from patchwright.figures.style import DEFAULT_STYLE, WIDTHS, FigureStyle
from pdf_text import fonts_of, sizes_of
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4, 2], [1, 5, 3, 4, 2])
COLUMN = FigureStyle(width=3.3, title=True)


def traces(model: pw.Model) -> list[pw.Result]:
    first = pw.trace(model, [1, 2, 3, 4, 2], [1], 7, metric="logit", samples=2, window=2)
    asked = first.asked
    assert isinstance(asked, pw.Trace)
    return [pw.run(asked.for_site(site), model) for site in ("resid_post", "mlp_out", "attn_out")]


def circuit(model: pw.Model, style: FigureStyle) -> Figure:
    found = pw.Circuit.choose(pw.edge_attribution(model, PAIR), model, top=20)
    return draw_circuit(found.edges, found.scores, style)


def curve(model: pw.Model, style: FigureStyle) -> Figure:
    found = pw.Circuit.choose(pw.edge_attribution(model, PAIR), model, top=20)
    return draw_result(pw.evaluate_circuit(model, PAIR, found, n_random=2), style=style)


FIGURES: dict[str, Callable[[pw.Model, FigureStyle], Figure]] = {
    "positions": lambda model, style: draw_result(pw.patch(model, PAIR), style=style),
    "heads": lambda model, style: draw_result(pw.patch(model, PAIR, "z"), style=style),
    "heads by position": lambda model, style: draw_result(
        pw.patch(model, PAIR, "z", "head_position"), style=style
    ),
    "ablation": lambda model, style: draw_result(pw.ablate(model, PAIR), style=style),
    "trace": lambda model, style: draw_result(*traces(model), style=style),
    "lens": lambda model, style: draw_result(pw.logit_lens(model, PAIR), style=style),
    "lens by layer": lambda model, style: draw_layer_lines(pw.logit_lens(model, PAIR), style),
    "parts": lambda model, style: draw_result(pw.logit_attribution(model, PAIR), style=style),
    "difference": lambda model, style: draw_result(pw.difference(model, PAIR), style=style),
    "attention": lambda model, style: draw_result(pw.attention(model, PAIR, 1, 2), style=style),
    "scores": lambda model, style: draw_result(pw.head_scores(model, PAIR, length=4), style=style),
    "paths": lambda model, style: draw_result(
        pw.path_patch(model, PAIR, ["L2H1.q", "L2H2.k", "L2.mlp_out"], mlps="freeze"), style=style
    ),
    "together": lambda model, style: draw_result(
        pw.patch_together(model, PAIR, ["L1H2.z", "L0.mlp_out@-1"]), style=style
    ),
    "estimates": lambda model, style: draw_scatter(pw.compare_with_exact(model, PAIR, "z"), style),
    "edges": lambda model, style: draw_result(pw.edge_attribution(model, PAIR), style=style),
    "circuit": circuit,
    "what a circuit keeps": curve,
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_of_a_figure_of_one_column_is_below_6_points(model: pw.Model, name: str) -> None:
    pdf, _ = render_figure(FIGURES[name](model, COLUMN), "pdf")
    sizes = sizes_of(pdf)
    assert sizes
    assert min(sizes) >= 6.0
    assert max(sizes) <= 8.0
    assert f"/MediaBox [ 0 0 {72 * 3.3:g} ".encode() in pdf


@pytest.mark.parametrize("name", FIGURES)
def test_fonts_in_a_pdf_are_truetype(model: pw.Model, name: str) -> None:
    """Type 42, which submission checks ask for, and no Type 3, which they refuse."""
    assert fonts_of(render_figure(FIGURES[name](model, COLUMN), "pdf")[0]) == {
        "Type0",
        "CIDFontType2",
    }


@pytest.mark.parametrize("width", WIDTHS.values())
def test_a_png_has_300_dots_an_inch_and_the_width_asked_for(model: pw.Model, width: float) -> None:
    png = image_bytes(pw.patch(model, PAIR), "png", FigureStyle(width=width))
    at = png.index(b"pHYs") + 4
    across, _, unit = struct.unpack(">IIB", png[at : at + 9])
    assert unit == 1, "dots a metre"
    assert round(across * 0.0254) == DPI == 300
    (pixels,) = struct.unpack(">I", png[16:20])
    assert pixels == round(width * DPI)


@pytest.mark.parametrize("title", [False, True])
@pytest.mark.parametrize("width", WIDTHS.values())
@pytest.mark.parametrize("name", FIGURES)
def test_nothing_written_leaves_the_figure(
    model: pw.Model, name: str, width: float, title: bool
) -> None:
    check_inside(FIGURES[name](model, FigureStyle(width=width, title=title)))


@given(
    token=st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=40),
    n_tokens=st.integers(1, 60),
    n_layers=st.integers(1, 40),
    width=st.floats(2.5, 7.0),
)
@settings(max_examples=10)
def test_neither_long_tokens_nor_many_leave_the_figure(
    token: str, n_tokens: int, n_layers: int, width: float
) -> None:
    tokens = (tuple([token] * n_tokens), (f"{token}x", *[token] * (n_tokens - 1)))
    result = made([[0.5] * n_tokens] * n_layers, tokens=tokens)
    check_inside(draw_result(result, style=FigureStyle(width=width, title=True)))


def check_inside(figure: Figure) -> None:
    """Every text lies within the sheet, and no two labels of an axis above one another."""
    figure.draw_without_rendering()
    axes = figure.findobj(Axis)
    labels = [shown(axis) for axis in axes]
    unseen = {one for axis in axes for one in axis.get_ticklabels(which="both")}
    page = figure.bbox
    for text in {*figure.findobj(Text)} - unseen | {one for some in labels for one in some}:
        box = text.get_window_extent()
        if text.get_text().strip() and text.get_visible():
            inside = box.x0 >= -1, box.y0 >= -1, box.x1 <= page.x1 + 1, box.y1 <= page.y1 + 1
            assert all(inside), (text.get_text(), box, page)
    for one, other in (two for some in labels for two in pairwise(some)):
        boxes = one.get_window_extent(), other.get_window_extent()
        assert not boxes[0].padded(-1).overlaps(boxes[1].padded(-1)), (one, other)


def shown(axis: Axis) -> list[Text]:
    """The labels of an axis that lie in its view."""
    low, high = sorted(axis.get_view_interval())
    ticks = axis.get_major_ticks()
    return [one.label1 for one in ticks if low <= one.get_loc() <= high and one.label1.get_text()]


def test_numbers_stand_where_they_matter_and_only_there() -> None:
    result = made([[0.5, 0.04, -0.06], [0.0, 1.0, 0.051]])
    written = {text.get_text() for text in draw_result(result).axes[0].texts}
    assert written == {"0.50", "−0.06", "1.00", "0.05"}
    none = draw_result(result, style=FigureStyle(numbers=False))
    assert not none.axes[0].texts


def test_numbers_that_do_not_fit_are_left_out() -> None:
    result = made([[0.5] * 40], tokens=(("a",) * 40, ("b", *("a",) * 39)))
    assert not draw_result(result, style=FigureStyle(width=3.3)).axes[0].texts
    assert draw_result(result, style=FigureStyle(width=12)).axes[0].texts


def test_where_not_all_columns_have_room_those_that_differ_keep_their_label() -> None:
    clean, corrupt = ["a"] * 60, ["a"] * 60
    corrupt[31] = "b"
    result = made([[0.5] * 60], tokens=(tuple(clean), tuple(corrupt)))
    figure = draw_result(result, style=FigureStyle(width=3.3))
    labels = [one.get_text() for one in figure.axes[0].get_xticklabels()]
    assert "a→b 31" in labels
    assert len(labels) < 40


def test_a_title_is_left_out_unless_it_is_asked_for(model: pw.Model) -> None:
    result = pw.patch(model, PAIR)
    assert draw_result(result).get_suptitle() == ""
    title = draw_result(result, style=FigureStyle(title=True)).get_suptitle()
    assert title.startswith("Share of the logit difference restored by copying the residual stream")


def test_all_panels_of_a_trace_stand_in_one_figure_on_one_scale(model: pw.Model) -> None:
    hidden, *others = traces(model)
    figure = draw_result(hidden, *others)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["Hidden state", "MLP (2 layers at a time)", "Attention (2 layers at a time)"]
    limits = {axes.images[0].get_clim() for axes in figure.axes if axes.images}
    assert len(limits) == 1
    bars = [axes for axes in figure.axes if not axes.images]
    assert [bar.get_xlabel() for bar in bars] == ["share of the answer's logit restored"]


def test_results_of_different_things_have_no_common_figure(model: pw.Model, tmp_path: Path) -> None:
    patched, difference = pw.patch(model, PAIR), pw.difference(model, PAIR)
    with pytest.raises(InputError, match="no common scale: put results of one method"):
        patched.plot(tmp_path / "figure.png", beside=[difference])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [0.0, -3.3, 2.4, 1e9, float("nan")])
def test_a_width_that_cannot_be_drawn_is_refused(
    model: pw.Model, tmp_path: Path, width: float
) -> None:
    with pytest.raises(InputError, match=r"give 2\.5 to 20"):
        pw.patch(model, PAIR).plot(tmp_path / "figure.png", width=width)


def test_plot_takes_the_choices_that_are_declared() -> None:
    taken = {
        name: one.default
        for name, one in signature(pw.Result.plot).parameters.items()
        if name not in ("self", "path", "beside")
    }
    assert taken == vars(DEFAULT_STYLE)


def test_colour_bars_of_a_comparison_are_in_words(model: pw.Model) -> None:
    one, other = pw.patch(model, PAIR), pw.patch(model, PAIR, direction="noise")
    texts = [text.get_text() for text in draw_comparison(one, other).findobj(Text)]
    assert any(text.startswith("share of the logit difference") for text in texts)


def test_the_smallest_type_is_declared() -> None:
    assert SMALL >= 6
