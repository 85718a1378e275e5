"""A grid as a terminal shows it: numbers in coloured cells, as narrow and as many blocks as it takes.

Every column is printed once, and every block of columns repeats the labels of its rows.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.text import Text

from patchwright.figures.grid import Grid, short_number
from patchwright.streams import encodable_text

MOST_CELLS = 10_000
"""Of a larger grid the strongest rows and columns are shown."""
FEWEST_COLUMNS = 24
"""That are shown of a larger grid."""
WIDE, NARROW = 5, 4
"""Characters of a number: -0.48, or -.48 where that saves a block."""
MOST_LABEL = 16
"""Characters of a column's label that widen its cell."""


@dataclass(frozen=True)
class TerminalMap:
    """What Rich prints of a grid: the highest row first, in the width and encoding of the terminal."""

    grid: Grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Text]:
        """The lines, none of them wider than the terminal is (from 40 characters on)."""
        grid, left_out = _strongest_part(_encodable(self.grid, options.encoding))
        layout = _choose_layout(grid, options.max_width)
        for number, start in enumerate(range(0, len(grid.columns), layout.columns)):
            if number:
                yield Text()
            yield from layout.lines(grid, slice(start, start + layout.columns))
        if left_out:
            yield Text(left_out, style="dim")


@dataclass(frozen=True)
class _ColumnLayout:
    """Widths in characters: of the rows' labels, of a cell, of its number; and a block's columns."""

    label: int
    cell: int
    number: int
    columns: int

    def lines(self, grid: Grid, block: slice) -> Iterable[Text]:
        """A block's head (tokens, then positions) and its rows, the highest first."""
        heads = [_split_label(label) for label in grid.columns[block]]
        names = [name or number for name, number in heads]
        yield self._line(grid.row_title, [Text(one) for one in names], "dim")
        if any(name and number for name, number in heads):
            yield self._line("", [Text(number if name else "") for name, number in heads], "dim")
        for label, values in reversed(list(zip(grid.rows, grid.values[:, block], strict=True))):
            cells = [
                Text(_number(value, self.number), _cell_style(value, grid))
                for value in values.tolist()
            ]
            yield self._line(_shortened(label, self.label), cells)

    def _line(self, label: str, cells: Iterable[Text], style: str = "") -> Text:
        line = Text(_right_aligned(label, self.label), no_wrap=True)
        for cell in cells:
            line.append(" " + _right_aligned(cell.plain, self.cell - 1), cell.style)
        line.stylize(style)
        return line


def _choose_layout(grid: Grid, width: int) -> _ColumnLayout:
    """Wide cells where they take no more blocks than narrow ones."""
    labels = max(map(cell_len, grid.rows), default=0)
    label = max(cell_len(grid.row_title), min(labels, width // 3))
    layouts = [_layout_of(grid, width, label, number) for number in (WIDE, NARROW)]
    return min(layouts, key=lambda one: math.ceil(len(grid.columns) / one.columns))


def _layout_of(grid: Grid, width: int, label: int, number: int) -> _ColumnLayout:
    longest = max(map(cell_len, _numbers(grid, number)), default=0)
    # Tokens are cut, their position is not; a head, a neuron or a role has no other name.
    names = max(map(cell_len, (_split_label(one)[1] for one in grid.columns)), default=0)
    room = min(max(number, longest, min(names, MOST_LABEL)) + 1, width - label)
    fitting = max(1, (width - label) // room)
    blocks = math.ceil(len(grid.columns) / fitting) or 1
    return _ColumnLayout(label, room, number, math.ceil(len(grid.columns) / blocks) or 1)


def _numbers(grid: Grid, room: int) -> Iterable[str]:
    return (_number(value, room) for value in grid.values.ravel().tolist())


def _split_label(label: str) -> tuple[str, str]:
    """'·Mary 3' as its token and its position; a label of one word has no token."""
    name, _, number = label.rpartition(" ")
    return name, number


def _number(value: float, room: int) -> str:
    """`value` in `room` characters, with as many digits as they hold; longer where no form fits."""
    if math.isnan(value):
        return "."
    forms = [short_number(value), f"{value:.1f}", f"{value:.0f}"]
    if room < WIDE:
        forms = [one.replace("0.", ".", 1) if abs(value) < 1 else one for one in forms]
    brief = f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    return next((one for one in forms if len(one) <= room), brief)


def _cell_style(value: float, grid: Grid) -> str:
    if math.isnan(value) or not grid.centred:
        return ""
    strength = min(abs(value) / grid.limit, 1.0)
    faded = round(255 - 150 * strength)
    color = f"rgb({255},{faded},{faded})" if value > 0 else f"rgb({faded},{faded},{255})"
    return f"black on {color}"


def _shortened(label: str, room: int) -> str:
    """A row's label in `room` characters; of a token and its position the token is cut."""
    name, number = _split_label(label)
    if cell_len(label) <= room or not name:
        return label
    return f"{set_cell_size(name, max(0, room - len(number) - 1)).rstrip()} {number}"


def _right_aligned(text: str, room: int) -> str:
    """The beginning of `text` at the right of `room` characters."""
    cut = text if cell_len(text) <= room else set_cell_size(text, room)
    return " " * (room - cell_len(cut)) + cut


def _encodable(grid: Grid, encoding: str) -> Grid:
    """Labels as the terminal can show them, which decides how wide they are."""
    rows, columns = (
        [encodable_text(one, encoding) for one in part] for part in (grid.rows, grid.columns)
    )
    return replace(grid, rows=rows, columns=columns)


def _strongest_part(grid: Grid) -> tuple[Grid, str]:
    """`grid`, or of one that is too large its strongest rows and columns, and what is left out."""
    n_rows, n_columns = grid.values.shape
    if n_rows * n_columns <= MOST_CELLS:
        return grid, ""
    size = np.abs(np.nan_to_num(grid.values))
    columns = _largest_indices(size.max(axis=0), max(FEWEST_COLUMNS, MOST_CELLS // n_rows))
    rows = _largest_indices(size.max(axis=1), MOST_CELLS // len(columns))
    part = replace(
        grid,
        values=grid.values[np.ix_(rows, columns)],
        rows=[grid.rows[i] for i in rows],
        columns=[grid.columns[i] for i in columns],
    )
    return part, (
        f"Too large to show whole: these are the {len(rows)} of {n_rows} rows and the {len(columns)} of "
        f"{n_columns} columns with the strongest cells. --csv and --plot have all of them."
    )


def _largest_indices(sizes: NDArray[np.float64], count: int) -> Sequence[int]:
    """The places of the `count` largest, in their own order."""
    return sorted(np.argsort(-sizes, kind="stable")[:count].tolist())
