"""Whatever a token is, it is text in a figure, in a font that has it."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

import patchwright as pw
from command import patchwright
from handmade_results import made
from patchwright.algorithms.result import Result
from patchwright.figures import fonts, matplotlib_figures
from patchwright.figures.fonts import MissingCharactersWarning, fit_texts
from patchwright.figures.matplotlib_figures import image_bytes
from patchwright.prompts.tokens import visible
from patchwright.storage.store import Store
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])


def renamed(result: Result, texts: list[str]) -> Result:
    """`result` with other texts for its tokens."""
    tokens = {run: tuple(texts[i % len(texts)] for i in range(4)) for run in result.tokens}
    return replace(result, tokens=tokens)


@given(
    texts=st.lists(
        st.text(st.characters(codec=None), min_size=1, max_size=8), min_size=1, max_size=4
    )
)
@example(texts=["$$"])
@example(texts=["$x", "y$", r"\$", "$\\frac{$"])
@example(texts=["北京", "🙂", "👩‍👩‍👧", "\ud800", "\u202e"])
@settings(max_examples=4)
def test_any_token_can_be_drawn_in_every_figure(model: pw.Model, texts: list[str]) -> None:
    for result in (pw.attention(model, PAIR, 1, 2), pw.patch(model, PAIR)):
        for suffix in ("png", "svg", "pdf"):
            assert len(image_bytes(renamed(result, texts), suffix)) > 1000


@given(texts=st.lists(st.text(max_size=12), min_size=1, max_size=6))
@example(texts=["$$", "a$b$c", r"\$\alpha$", "$"])
def test_a_text_is_shown_letter_by_letter(texts: list[str]) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    shown = [visible(text) for text in texts]
    axes.set_xticks(range(len(shown)), shown)
    axes.set_title(shown[0])
    fit_texts(figure, replace=False)
    written = {text.get_text(): text for text in figure.findobj(Text)}
    assert all(not written[text].get_parse_math() for text in shown)


def test_no_figure_has_formulas(model: pw.Model) -> None:
    """So that none is lost where dollar signs are taken as they stand."""
    pairs = [PAIR, pair_of([6, 2, 3, 4], [8, 5, 3, 4])]
    circuit = pw.Circuit.choose(pw.edge_attribution(model, pairs), model, top=40)
    curve = pw.evaluate_circuit(model, PAIR, circuit, sizes=[1, 10, 40], n_random=2)
    for result in (curve, pw.patch(model, PAIR), pw.logit_lens(model, PAIR)):
        assert b"mathdefault" not in image_bytes(result, "svg")


def save_font(path: Path, family: str, characters: str) -> None:
    """A font whose glyphs are squares."""
    pen = TTGlyphPen(None)
    for at, move in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
        (pen.lineTo if at else pen.moveTo)(move)
    pen.closePath()
    names = [".notdef", *(f"u{ord(one):04X}" for one in characters)]
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(one): f"u{ord(one):04X}" for one in characters})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (800, 50)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    font.setupPost()
    font.save(path)


@contextmanager
def installed(*paths: Path) -> Generator[None]:
    """These fonts beside Matplotlib's own, whatever else this computer has."""
    before = list(font_manager.fontManager.ttflist)
    try:
        own = [one for one in before if "mpl-data" in one.fname]
        font_manager.fontManager.ttflist[:] = own
        for path in paths:
            font_manager.fontManager.addfont(path)
        fonts.installed_families.cache_clear()
        yield
    finally:
        font_manager.fontManager.ttflist[:] = before
        fonts.installed_families.cache_clear()


def texts_of(figure: Figure) -> set[str]:
    figure.draw_without_rendering()
    return {text.get_text() for text in figure.findobj(Text)}


def test_an_installed_font_that_has_the_characters_is_taken(
    model: pw.Model, tmp_path: Path
) -> None:
    save_font(tmp_path / "some.ttf", "Some Sans", "北京")
    save_font(tmp_path / "more.ttf", "More Sans", "北京\U0001f9f5")
    save_font(tmp_path / "other.ttf", "Other Sans", "東")
    result = renamed(pw.patch(model, PAIR), ["北京", "\U0001f9f5", "東 $"])
    with installed(*(tmp_path / f"{one}.ttf" for one in ("some", "more", "other"))):
        figure = matplotlib_figures.draw_result(result)
        assert fit_texts(figure, replace=True) == ""
        families = {tuple(text.get_fontfamily()) for text in figure.findobj(Text)}
        assert {one[1:] for one in families} == {("More Sans", "Other Sans")}
        for suffix in ("png", "svg", "pdf"):
            assert image_bytes(result, suffix)


def test_without_such_a_font_a_figure_has_numbers_and_an_svg_the_text(
    model: pw.Model, tmp_path: Path
) -> None:
    save_font(tmp_path / "some.ttf", "Some Sans", "北")
    result = renamed(pw.patch(model, PAIR), ["北", "\U0001f9f7", "\U0001f9f6", "a"])
    with installed(tmp_path / "some.ttf"):
        figure = matplotlib_figures.draw_result(result)
        assert fit_texts(figure, replace=True) == "\U0001f9f6\U0001f9f7"
        assert {"北 0", "<U+1F9F7> 1", "<U+1F9F6> 2", "a 3"} <= texts_of(figure)
        with pytest.warns(MissingCharactersWarning, match="No font on this computer") as caught:
            result.plot(tmp_path / "figure.svg")
        assert len(caught) == 1
        assert "\U0001f9f7" in (tmp_path / "figure.svg").read_text(encoding="utf-8")


def test_the_command_line_says_it_in_a_sentence_and_nothing_raw(home: Path, tmp_path: Path) -> None:
    run = "<|endoftext|>", "\U0001f9f7", "$$", " b"
    store = Store()
    store.save(made([[1.0, 0.5, 0.1, 0.2]], tokens=(run, run)))
    path = tmp_path / "figure.png"
    with installed():
        done = patchwright("runs", "show", store.entries()[0].id, "--plot", str(path))
    assert (done.returncode, done.stdout) == (0, "")
    assert path.stat().st_size > 1000
    assert done.stderr.startswith("Note: No font on this computer has the characters \U0001f9f7: ")
    assert done.stderr.count("\n") == 1
