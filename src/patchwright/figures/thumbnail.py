"""A map as a small picture, which stands for its run in a list: a PNG of one pixel a cell.

Effects are drawn as the page draws them, from no colour at 0 to blue or red at the ends of the
scale: the colours are see-through, so that one picture serves the light and the dark theme.
"""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from patchwright.figures.grid import Grid, short_number
from patchwright.figures.style import AMOUNTS, NEGATIVE, POSITIVE

MOST_ROWS, MOST_COLUMNS = 36, 64
"""Cells of a picture; of a larger map each pixel is the strongest of several cells."""

Pixels = NDArray[np.uint8]


def thumbnail(grid: Grid) -> bytes:
    """The picture of a map, its first row at the bottom; cells without a value are see-through."""
    from matplotlib.image import imsave

    picture = BytesIO()
    imsave(picture, _paint(grid)[::-1], format="png")
    return picture.getvalue()


def alt_text(grid: Grid) -> str:
    """What a reader is told who does not see the picture."""
    rows, columns = grid.values.shape
    known = grid.values[np.isfinite(grid.values)]
    if not known.size:
        return f"Map of {rows} × {columns} cells, none of which has a value."
    low, high = (short_number(float(one)) for one in (known.min(), known.max()))
    return f"Map of {rows} × {columns} cells, from {low} to {high}."


def shrunk_values(grid: Grid) -> NDArray[np.float64]:
    """The values in at most as many rows and columns as a picture has: of each block the strongest."""
    values = grid.values
    for axis, most in ((0, MOST_ROWS), (1, MOST_COLUMNS)):
        if values.shape[axis] <= most:
            continue
        blocks = np.array_split(values, most, axis=axis)
        strongest = [np.argmax(_strength(grid, one), axis, keepdims=True) for one in blocks]
        values = np.concatenate(
            [np.take_along_axis(*one, axis) for one in zip(blocks, strongest, strict=True)], axis
        )
    return values


def _strength(grid: Grid, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much each value matters; those that are missing matter least."""
    return np.nan_to_num(np.abs(values) if grid.centred else values, nan=-np.inf)


def _paint(grid: Grid) -> Pixels:
    values = shrunk_values(grid)
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    if grid.centred:
        # A single effect has no other to be the largest: it is shown as a share of the whole gap.
        limit = grid.limit if values.size > 1 else max(grid.limit, 1.0)
        share = np.clip(filled / limit, -1, 1)
        colors = np.where((share < 0)[..., None], _rgb(NEGATIVE), _rgb(POSITIVE))
        opacity = np.abs(share)
    else:
        share = np.clip((filled - grid.low) / ((grid.high - grid.low) or 1.0), 0, 1)
        stops = np.linspace(0, 1, len(AMOUNTS))
        ramp = np.array([_rgb(one) for one in AMOUNTS])
        colors = np.stack([np.interp(share, stops, ramp[:, i]) for i in range(3)], axis=-1)
        opacity = np.ones_like(share)
    alpha = np.where(known, 255 * opacity, 0)
    return np.rint(np.concatenate([colors, alpha[..., None]], axis=-1)).astype(np.uint8)


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
