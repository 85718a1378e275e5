"""Any text in a Matplotlib figure: no formulas, and fonts that have its characters."""

import logging
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache

from matplotlib import font_manager, rcParams
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

MOST_LABEL = 24
"""Characters of the label of a row or column."""
MOST_NAMED = 10
"""Characters that a message names."""


class MissingCharactersWarning(UserWarning):
    """A figure has characters that no installed font has."""


def fit_texts(figure: Figure, replace: bool) -> str:
    """Take every text of `figure` as it stands, in fonts that have its characters.

    A dollar sign begins no formula. Where Matplotlib's own font lacks characters, others that
    are installed follow it. Returns the characters that none has; where `replace`, they become
    their numbers, as in <U+5317>.
    """
    texts = figure.findobj(Text)
    written = {character for text in texts for character in text.get_text()}
    with silence_font_warnings(""):
        chosen, lacking = _choose_families(frozenset(written - {"\n"}))
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily(chosen)
    if lacking and replace:
        _replace_characters(figure, {ord(one): f"<U+{ord(one):04X}>" for one in lacking})
    return lacking


def missing_characters_text(lacking: str, replaced: bool) -> str:
    """What a reader should know of characters that no font has."""
    some = " ".join(lacking[:MOST_NAMED]) + (" …" if len(lacking) > MOST_NAMED else "")
    shown = (
        "the figure shows their numbers instead. Install a font that has them, such as Noto Sans CJK "
        "or Noto Emoji, or draw an SVG, which is shown in its reader's fonts."
        if replaced
        else "whoever opens the SVG needs one that has them."
    )
    return f"No font on this computer has the characters {some}: {shown}"


def shortened(label: str, most: int = MOST_LABEL) -> str:
    """A label that leaves room for the figure: of a token and its position the token is cut."""
    if len(label) <= most:
        return label
    token, space, position = label.rpartition(" ")
    end = f"…{space}{position}" if len(position) < most // 2 else "…"
    return f"{(token or label)[: most - len(end)]}{end}"


@contextmanager
def silence_font_warnings(lacking: str) -> Generator[None]:
    """Without Matplotlib's own messages on fonts, and its warnings of what is `lacking`."""
    logger, drop = logging.getLogger("matplotlib.font_manager"), lambda _: False
    logger.addFilter(drop)
    try:
        # `catch_warnings` is the whole process's, so it is entered only where it must be.
        with warnings.catch_warnings() if lacking else nullcontext():
            if lacking:
                pattern = r"Glyph \d|Matplotlib currently does not support"
                warnings.filterwarnings("ignore", pattern)
            yield
    finally:
        logger.removeFilter(drop)


def _choose_families(characters: frozenset[str]) -> tuple[list[str], str]:
    """The usual font families and as few others as have `characters`; those that none has."""
    chosen = list(rcParams["font.family"])
    usual = font_manager.findfont(font_manager.FontProperties())
    left = characters - _characters_in_font(usual, characters)
    while left:
        found = [
            (_characters_in_font(path, left), "Sans" in name, name) for name, path in _font_files()
        ]
        best = max(found, key=lambda one: (len(one[0]), one[1], one[2]), default=(set(), True, ""))
        if not best[0]:
            break
        chosen.append(best[2])
        left = left - best[0]
    return chosen, "".join(sorted(left))


def _characters_in_font(path: str, characters: frozenset[str]) -> set[str]:
    try:
        font = font_manager.get_font(path)
    except (OSError, RuntimeError, ValueError):  # a file that Matplotlib cannot read
        return set()
    return {one for one in characters if font.get_char_index(ord(one))}


def _font_files() -> Iterator[tuple[str, str]]:
    """Each installed font family and the file that Matplotlib draws it from."""
    for name in installed_families():
        try:
            yield name, font_manager.findfont(name, fallback_to_default=False)
        except ValueError:  # removed since Matplotlib listed it
            continue


@lru_cache(maxsize=1)
def installed_families() -> list[str]:
    """The names of all installed font families."""
    # The font of last resort has a box for every character there is.
    names = {one.name for one in font_manager.fontManager.ttflist}
    return sorted(name for name in names if not name.startswith(("Last Resort", ".")))


def _replace_characters(figure: Figure, numbers: dict[int, str]) -> None:
    for axis in figure.findobj(Axis):
        if isinstance(axis.get_major_locator(), FixedLocator):
            labels = [one.get_text().translate(numbers) for one in axis.get_ticklabels()]
            axis.set_ticklabels(list(map(shortened, labels)))
    for text in figure.findobj(Text):
        text.set_text(text.get_text().translate(numbers))
