"""Prompts as rows of token chips, one under the other, differing tokens marked."""

from collections.abc import Sequence
from html import escape

from patchwright.prompts.tokens import visible

_STYLE = """<style>
.pw-chips { display: flex; flex-wrap: wrap; gap: 3px; margin: 0 0 6px; font: 13px monospace; }
.pw-chips .name { width: 100%; font: 13px sans-serif; opacity: .75; }
.pw-chip { border: 1px solid rgba(128,128,128,.45); border-radius: 4px; padding: 1px 5px; }
.pw-chip sub { opacity: .65; font-size: 9px; padding-left: 3px; }
.pw-chip.differs { border: 2px solid #c2410c; text-decoration: underline; font-weight: bold; }
</style>"""


def chips_html(name: str, tokens: Sequence[str], other: Sequence[str]) -> str:
    """A row of chips, each with its position; those that differ from `other` are marked.

    Token texts are escaped: what a user typed is text, never markup.
    """
    chips = [
        _chip(position, token, position >= len(other) or other[position] != token)
        for position, token in enumerate(tokens)
    ]
    count = f"{len(tokens)} tokens"
    head = f'<span class="name">{escape(name)}: {count}</span>'
    return f'{_STYLE}<div class="pw-chips">{head}{"".join(chips)}</div>'


def _chip(position: int, token: str, differs: bool) -> str:
    kind = "pw-chip differs" if differs else "pw-chip"
    title = f"position {position}{', differs' if differs else ''}"
    return (
        f'<span class="{kind}" title="{title}">{escape(visible(token))}<sub>{position}</sub></span>'
    )
