"""What is sent to a component: words as JSON, and the cells of maps as binary arrays behind them.

As JSON the cells of a large map would be most of what is sent, again at each look at a sweep.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

KINDS = {"float": np.dtype("<f4"), "flag": np.dtype("u1"), "index": np.dtype("<u4")}
"""What arrays hold; the script has the same names."""

NO_TOKEN = 2**32 - 1

Json = dict[str, Any]


class _ArrayBuffer:
    """Arrays behind the JSON, each from a multiple of four bytes on."""

    def __init__(self) -> None:
        self.bytes = b""

    def append(self, values: Any, kind: str) -> Json:
        """What stands in the JSON for an array: its kind, where it begins, and its shape."""
        array = np.asarray(values, KINDS[kind])
        named: Json = {"kind": kind, "at": len(self.bytes), "shape": array.shape}
        self.bytes += _pad_to_words(array.tobytes(), b"\0")
        return named


def pack_message(data: Mapping[str, Any]) -> bytes:
    """The length of the JSON in 4 bytes, little-endian; the JSON; the arrays that its maps name.

    Values become 32-bit numbers, those that are None NaN.
    """
    arrays = _ArrayBuffer()
    maps = [_pack_map(one, arrays) for one in data["maps"]]
    text = _pad_to_words(json.dumps({**data, "maps": maps}).encode(), b" ")
    return struct.pack("<I", len(text)) + text + arrays.bytes


def _pad_to_words(text: bytes, filler: bytes) -> bytes:
    return text + filler * (-len(text) % 4)


def _pack_map(one: Json, arrays: _ArrayBuffer) -> Json:
    values = [[np.nan if value is None else value for value in row] for row in one["values"]]
    flags = {
        name: None if one[name] is None else arrays.append(one[name], "flag")
        for name in ("estimated", "unsure")
    }
    return {
        **one,
        **flags,
        "values": arrays.append(values, "float"),
        "places": _split_places(one["places"]) or one["places"],
        "tops": None if one["tops"] is None else _pack_tokens(one["tops"], arrays),
    }


def _split_places(places: Sequence[Sequence[str]]) -> Json | None:
    """Beginnings by row and ends by column that make all places: `L3` and `H1.z` make L3H1.z."""
    corner = places[0][0]
    for cut in range(len(corner) + 1):
        ends = [place[cut:] for place in places[0]]
        starts = [row[0].removesuffix(ends[0]) for row in places]
        if all(
            place == start + end
            for row, start in zip(places, starts, strict=True)
            for place, end in zip(row, ends, strict=True)
        ):
            return {"starts": starts, "ends": ends}
    return None


def _pack_tokens(
    tops: Sequence[Sequence[Sequence[tuple[str, float]]]], arrays: _ArrayBuffer
) -> Json:
    """The words once, and of each cell the numbers of its words and their probabilities."""
    most = max((len(cell) for row in tops for cell in row), default=0)
    numbers: dict[str, int] = {}
    shape = (len(tops), len(tops[0]) if tops else 0, most)
    ids, shares = np.full(shape, NO_TOKEN), np.zeros(shape)
    for row, cells in enumerate(tops):
        for column, cell in enumerate(cells):
            for i, (word, share) in enumerate(cell):
                ids[row, column, i] = numbers.setdefault(word, len(numbers))
                shares[row, column, i] = share
    return {
        "words": list(numbers),
        "ids": arrays.append(ids, "index"),
        "shares": arrays.append(shares, "float"),
    }
