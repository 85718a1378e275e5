"""What a lesson may say of a Result: quantities, conditions on them, and texts that hold them.

quantity    gap | clean.metric | corrupt.probability | clean.top | strongest | effect L0H0.z@-1 |
            largest effect | pattern[clean, 14, 2] | largest pattern[clean, -1] | details.correlation
condition   QUANTITY (< | <= | > | >= | is | about) NUMBER-OR-QUANTITY, or QUANTITY is "text"; several joined by
            and. Of a cell that was clicked, a bare effect is its own, and so are layer, head, position (-1 is the last)
text        words with {quantities} in braces; shares and probabilities are shown in per cent
"""

import operator
import re
from collections.abc import Callable

import xarray as xr

from patchwright.algorithms.result import Baseline, Result
from patchwright.algorithms.scale import SHARE_ARRAYS, has_scale
from patchwright.errors import FactError
from patchwright.lessons.cells import POSITIONS, Cell, map_cells, map_tokens
from patchwright.places import parse_place
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent

Quantity = float | str

PERCENT_NAMES = (
    *("effect", "probability", "pattern", "spread", "samples"),
    *("previous", "duplicate", "induction"),
)
"""Arrays and baselines' numbers that are shown in per cent (of the last two where they are)."""

GAP_SHARE_NAMES = (*SHARE_ARRAYS, "complement", "random", "area", "random_area")
"""Arrays and details that are shares of the gap."""

ABOUT_TOLERANCE = 0.05
"""Of a number: what lies no further from it is about the same."""

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "is": operator.eq,
    "about": lambda value, other: abs(value - other) <= ABOUT_TOLERANCE * abs(other),
}

_RUN = re.compile(r"(clean|corrupt|altered)\.(metric|probability|rank|logit_diff|top)")
_CELL = re.compile(r"([a-z_]+) ((?:L\d+)?[^ ]*[a-z_][^ ]*)")
_INDEXED = re.compile(r"([a-z_]+)\[([^\]]*)\]")
_CONDITION = re.compile(r"(.+?)\s*(<=|>=|<|>|\bis\b|\babout\b)\s*(.+)")
_SLOT = re.compile(r"\{([^{}]*)\}")


def quantity(name: str, result: Result) -> Quantity:
    """The quantity called `name`, of `result`. Raises FactError with what there is."""
    name = " ".join(name.split())
    if run := _RUN.fullmatch(name):
        return _run_quantity(run[1], run[2], result)
    if name == "gap":
        return result.clean.metric - result.corrupt.metric
    _check_scale(name, result)
    if name == "strongest":
        top = result.top(1)
        if "place" not in top:
            raise FactError(f"A result of '{result.method}' has no places to name.")
        return str(top["place"].iloc[0])
    word, _, array = name.partition(" ")
    if word in ("largest", "smallest") and (some := _array_values(array, result)) is not None:
        if some.dtype.kind == "U":
            raise FactError(f"'{name}' is not there: '{array}' holds texts, not numbers.")
        return float(some.max() if word == "largest" else some.min())
    if name.startswith("details.") and name[8:] in result.details:
        return _as_number(result.details[name[8:]], name)
    if "[" in name and (entry := _array_values(name, result)) is not None:
        if entry.ndim:
            raise _label_error(name, result)
        value = entry.item()
        return value if isinstance(value, str) else float(value)
    if (cell := _CELL.fullmatch(name)) and cell[1] in result.arrays:
        return value_at(result, cell[1], cell[2])
    raise FactError(
        f"'{name}' is not a quantity of this result: write gap, clean.metric, corrupt.probability, "
        f"clean.top, strongest, largest effect, details.NAME, or one of {', '.join(result.arrays)} "
        "with a place or its labels, as in: effect L0H0.z@-1, pattern[clean, 14, 2]."
    )


def _check_scale(name: str, result: Result) -> None:
    """Raise FactError for a share of the gap where the gap is no scale."""
    if not has_scale(result) and _is_a_share(name, result):
        raise FactError(
            f"'{name}' is a share of the gap, or ranks by it, and this result's gap is too small for "
            "that: choose prompts whose answers differ more, or a quantity in the metric's unit."
        )


def _is_a_share(name: str, result: Result) -> bool:
    """Whether a quantity is a share of the gap, or is found by one."""
    if name == "strongest":
        return result.main in SHARE_ARRAYS
    return not {*re.findall("[a-z_]+", name)}.isdisjoint(GAP_SHARE_NAMES)


def value_at(result: Result, array: str, place: str) -> float:
    """The value of an array at a place. Raises FactError where it has none there."""
    asked, texts = parse_place(place), result.position_tokens
    if asked.position is not None and asked.position < 0 and texts is not None:
        place = place[: place.index("@") + 1] + str(asked.position + len(texts))
    some = map_cells(result)
    found = [one[array] for one in some if one["place"] == place and array in one]
    if not found:
        raise FactError(f"This result has no '{array}' at {place}: its {len(some)} places differ.")
    return float(found[0])


def holds(condition: str, result: Result, cell: Cell | None = None) -> bool:
    """Whether a condition is true of `result`; `effect` alone is that of the `cell`.

    Raises FactError where it is not a condition.
    """
    parts = [_one_holds(part, result, cell or {}) for part in condition.split(" and ")]
    return all(parts)


def _one_holds(condition: str, result: Result, cell: Cell) -> bool:
    found = _CONDITION.fullmatch(condition.strip())
    if found is None:
        raise FactError(
            f"'{condition}' is not a condition: write a quantity, one of < <= > >= is about, and a number, as "
            'in: effect L0H0.z > 0.5; or: clean.top is " Mary".'
        )
    left, sign, other = found[1], found[2], found[3].strip()
    value = cell_quantity(cell, left, result)
    if isinstance(value, str) and sign == "is":
        return value == (other[1:-1] if other[:1] == other[-1:] == '"' else other)
    limit = _parse_limit(other, result)
    if left in POSITIONS and left in cell and limit < 0:
        limit += len(map_tokens(result) or ())
    return COMPARISONS[sign](_as_number(value, left), limit)


def fill_slots(text: str, result: Result) -> str:
    """`text` with the values of its {quantities}. Raises FactError for one that is none."""
    return _SLOT.sub(lambda slot: format_quantity(slot[1], quantity(slot[1], result)), text)


def slots(text: str) -> list[str]:
    """The quantities that a text names."""
    return _SLOT.findall(text)


def format_quantity(name: str, value: Quantity) -> str:
    """A quantity as people read it."""
    if isinstance(value, str):
        return visible(value)
    words = set(re.findall(r"[a-z_]+", name))
    if words & set(PERCENT_NAMES):
        decimals = 1 if "probability" in words or 0 < abs(value) < 0.01 else 0
        return percent(value, decimals)
    return f"{value + 0.0:.4g}"


def _run_quantity(run: str, what: str, result: Result) -> Quantity:
    found: Baseline | None = getattr(result, run)
    if found is None:
        raise FactError(f"This result has no {run} run.")
    if what == "top":
        return str(found.top[0]["token"])
    return _as_number(getattr(found, what), f"{run}.{what}")


def _array_values(name: str, result: Result) -> xr.DataArray | None:
    """An array, or its part at the labels in brackets, in the order of its dims; None where there is no such.

    Labels may count from the end. Without labels an array over several pairs is their mean, as on the map.
    """
    found = _INDEXED.fullmatch(name)
    array = result.arrays.get(found[1] if found else name)
    if array is None or found is None:
        return (
            result.averaged().arrays.get(name)
            if array is not None and "pair" in array.dims
            else array
        )
    labels = [label.strip() for label in found[2].split(",")]
    if len(labels) > array.ndim:
        raise _label_error(name, result)
    for dim, label in zip(array.dims, labels, strict=False):
        known = [str(one) for one in array[dim].values]
        if label not in known and re.fullmatch(r"-[0-9]{1,9}", label):
            label = dict(zip(range(-len(known), 0), known, strict=True)).get(int(label), "")
        if label not in known:
            raise _label_error(name, result)
        array = array.isel({dim: known.index(label)})
    return array


def _label_error(name: str, result: Result) -> FactError:
    """That the labels in brackets are not those of the array."""
    array = result.arrays[name.partition("[")[0]]
    axes = ", ".join(f"{dim} ({array.sizes[dim]})" for dim in array.dims)
    return FactError(f"'{name}' does not fit: its labels are {axes}.")


def cell_quantity(cell: Cell, name: str, result: Result) -> Quantity:
    """A label or a value of the cell, or else a quantity of the whole result. Raises FactError as `quantity`."""
    if name not in cell:
        return quantity(name, result)
    _check_scale(name, result)
    value = cell[name]
    return value if isinstance(value, str) else float(value)


def _parse_limit(text: str, result: Result) -> float:
    try:
        return float(text)
    except ValueError:
        return _as_number(quantity(text, result), text)


def _as_number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FactError(f"'{name}' is {value!r}, which is not a number.")
    return float(value)
