"""A sentence that carries its numbers, and how numbers are written into one."""

import re
from dataclasses import dataclass

from patchwright.places import parse_place
from patchwright.spelling import percent


@dataclass(frozen=True)
class Sentence:
    """One thing that a result shows, as plain text.

    `code` names the rule. `place` is the cell that the sentence is about, if it is about
    one. `numbers` are those in the text, unrounded and in its order, but for the digits
    of places and tokens; `written` is how they stand there, with their per cent signs. A
    text that a Result's own warning has written has none.
    """

    code: str
    text: str
    place: str | None = None
    numbers: tuple[float, ...] = ()
    written: tuple[str, ...] = ()


class Numbers:
    """Writes numbers for a text and remembers them, so that no text says what was not measured.

    Each is written behind a mark that says which one it is; `sentence` takes the marks out
    again. So parts of a text may be written in any order, or not be used.
    """

    def __init__(self) -> None:
        self._written: list[tuple[float, str]] = []

    def share(self, value: float, limit: float | None = None) -> str:
        """A share of the gap, or of attention, in per cent; small ones with a decimal.

        Where the text says that it is above or below a `limit`, it has the decimals that show it.
        """
        least = 0 if abs(value) >= 0.01 else 1
        if limit is None:
            return self._percent(value, least)
        shows = (n for n in range(least, 15) if percent(value, n) != percent(limit, n))
        return self._percent(value, next(shows, least))

    def probability(self, value: float) -> str:
        """A probability, in per cent with a decimal, as the baselines' tables have it."""
        return self._percent(value, 1)

    def amount(self, value: float) -> str:
        """A metric in its unit: four significant digits."""
        return self._mark_number(value, f"{value + 0.0:.4g}")

    def count(self, value: int) -> str:
        """A number of things, a layer or a position."""
        return self._mark_number(value, f"{value:,}")

    def place(self, name: str, with_site: bool = False) -> str:
        """A place in words: 'head 3 of layer 23 at position 14', or 'z of head 3 of …'."""
        place = parse_place(name)
        numbers = {"head": place.head, "neuron": place.neuron, "layer": place.layer}
        parts = [f"{what} {self.count(n)}" for what, n in numbers.items() if n is not None]
        inside = " of ".join([place.site, *parts] if with_site else parts)
        where = "" if place.position is None else f"position {self.count(place.position)}"
        return " at ".join(filter(None, (inside, where))) or place.site

    def sentence(self, code: str, text: str, place: str | None = None) -> Sentence:
        """`text` with those of the written numbers that are in it, in its order."""
        found = [self._written[int(mark)] for mark in _MARK.findall(text)]
        numbers = tuple(number for number, _ in found)
        written = tuple(shown for _, shown in found)
        return Sentence(code, _MARK.sub("", text), place, numbers, written)

    def _percent(self, value: float, decimals: int) -> str:
        return self._mark_number(value, percent(value, decimals))

    def _mark_number(self, value: float, text: str) -> str:
        self._written.append((float(value), text))
        return f"\0{len(self._written) - 1}\0{text}"


_MARK = re.compile("\0([0-9]+)\0")
"""No text has such a mark: tokens are shown with their control characters made visible."""
