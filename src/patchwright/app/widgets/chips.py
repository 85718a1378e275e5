"""Two prompts as token chips: matched positions under one another, differing tokens marked."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import zip_longest

from patchwright.prompts.align import differing_range
from patchwright.prompts.tokens import visible

Column = tuple[int | None, int | None]
"""Positions in the two prompts; None where one has no counterpart."""


def chips_html(clean: Sequence[str], corrupt: Sequence[str]) -> str:
    """Both prompts' chips, each with its position.

    Token texts are escaped: what a user typed is text, never markup.
    """
    names = (
        '<div class="pw-column pw-names">'
        f"<span>A: {len(clean)} tokens</span><span>B: {len(corrupt)}</span></div>"
    )
    pairs = "".join(_column(clean, corrupt, *column) for column in columns_of(clean, corrupt))
    return f'<div class="pw-chips" data-testid="prompts" role="group" aria-label="Tokens">{names}{pairs}</div>'


def noisy_chips_html(texts: Sequence[str], noisy: Sequence[int]) -> str:
    """One prompt's chips, those at the `noisy` positions marked."""
    chips = "".join(
        f'<div class="pw-column">{_chip(i, text, i in noisy, "noise falls here")}</div>'
        for i, text in enumerate(texts)
    )
    name = f'<div class="pw-column pw-names"><span>Prompt, {len(texts)} tokens</span></div>'
    return f'<div class="pw-chips" role="group" aria-label="Tokens">{name}{chips}</div>'


def columns_of(clean: Sequence[str], corrupt: Sequence[str]) -> Iterator[Column]:
    """Which positions stand under one another: common start, what differs, common end."""
    above, below = differing_range(clean, corrupt), differing_range(corrupt, clean)
    yield from ((i, i) for i in range(above.start))
    yield from zip_longest(above, below)
    yield from zip(range(above.stop, len(clean)), range(below.stop, len(corrupt)), strict=True)


def _column(
    clean: Sequence[str], corrupt: Sequence[str], above: int | None, below: int | None
) -> str:
    texts = [
        None if position is None else tokens[position]
        for tokens, position in ((clean, above), (corrupt, below))
    ]
    differs = texts[0] != texts[1]
    chips = [
        _chip(position, text, differs) for position, text in zip((above, below), texts, strict=True)
    ]
    return f'<div class="pw-column">{"".join(chips)}</div>'


def _chip(position: int | None, text: str | None, differs: bool, marked: str = "differs") -> str:
    if position is None or text is None:
        return '<span class="pw-chip none" title="no counterpart">&nbsp;</span>'
    kind = "pw-chip differs" if differs else "pw-chip"
    title = f"position {position}{f', {marked}' if differs else ''}"
    return (
        f'<span class="{kind}" title="{title}">{escape(visible(text))}<sub>{position}</sub></span>'
    )
