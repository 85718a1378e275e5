"""What a lesson may say of a Result: quantities, conditions on them, and texts that hold them.

quantity    gap | clean.metric | corrupt.probability | clean.top | strongest |
            effect L0H0.z@-1 | largest effect | pattern[clean, 14, 2] | details.correlation
condition   QUANTITY (< | <= | > | >= | is | about) NUMBER-OR-QUANTITY, or QUANTITY is "text"; several joined by
            and. Of a cell that was clicked, a bare effect is its own, and so are layer, head, position
text        words with {quantities} in braces; shares and probabilities are shown in per cent
"""

import operator
import re
from collections.abc import Callable

import xarray as xr

from patchwright.algorithms.result import Baseline, Result
from patchwright.algorithms.scale import SHARED, has_scale
from patchwright.errors import FactError
from patchwright.places import parse_place
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent

Quantity = float | str

SHARES = ("effect", "probability", "pattern", "spread", "samples")
"""Arrays and baselines' numbers that are shown in per cent (of the last two where they are)."""

OF_GAP = (*SHARED, "complement", "random", "area", "random_area")
"""Arrays and details that are shares of the gap."""

NEAR = 0.05
"""Of a number: what lies no further from it is about the same."""

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "is": operator.eq,
    "about": lambda value, other: abs(value - other) <= NEAR * abs(other),
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
        return _of_run(run[1], run[2], result)
    if name == "gap":
        return result.clean.metric - result.corrupt.metric
    if not has_scale(result) and _is_a_share(name, result):
        raise FactError(
            f"'{name}' is a share of the gap, or ranks by it, and this result's gap is too small for "
            "that: choose prompts whose answers differ more, or a quantity in the metric's unit."
        )
    if name == "strongest":
        return str(_cells(result).top(1)["place"].iloc[0])
    word, _, array = name.partition(" ")
    if word in ("largest", "smallest") and array in result.arrays:
        values = result.arrays[array]
        return float(values.max() if word == "largest" else values.min())
    if name.startswith("details.") and name[8:] in result.details:
        return _number(result.details[name[8:]], name)
    if (entry := _INDEXED.fullmatch(name)) and entry[1] in result.arrays:
        return _entry(result.arrays[entry[1]], entry[2], name)
    if (cell := _CELL.fullmatch(name)) and cell[1] in result.arrays:
        return value_at(result, cell[1], cell[2])
    raise FactError(
        f"'{name}' is not a quantity of this result: write gap, clean.metric, corrupt.probability, "
        f"clean.top, strongest, largest effect, details.NAME, or one of {', '.join(result.arrays)} "
        "with a place or its labels, as in: effect L0H0.z@-1, pattern[clean, 14, 2]."
    )


def _is_a_share(name: str, result: Result) -> bool:
    """Whether a quantity is a share of the gap, or is found by one."""
    if name == "strongest":
        return result.main in SHARED
    return not {*re.findall("[a-z_]+", name)}.isdisjoint(OF_GAP)


def value_at(result: Result, array: str, place: str) -> float:
    """The value of an array at a place. Raises FactError where it has none there."""
    table = _cells(result).table()
    asked = parse_place(place)
    texts = result.position_tokens
    if asked.position is not None and asked.position < 0 and texts is not None:
        place = place[: place.index("@") + 1] + str(asked.position + len(texts))
    found = table[table["place"] == place]
    if array not in table or found.empty:
        raise FactError(f"This result has no '{array}' at {place}: its {len(table)} places differ.")
    return float(found[array].iloc[0])


def holds(condition: str, result: Result, here: str | None = None) -> bool:
    """Whether a condition is true of `result`; `effect` alone is meant at the place `here`.

    Raises FactError where it is not a condition.
    """
    parts = [_one_holds(part, result, here) for part in condition.split(" and ")]
    return all(parts)


def _one_holds(condition: str, result: Result, here: str | None) -> bool:
    found = _CONDITION.fullmatch(condition.strip())
    if found is None:
        raise FactError(
            f"'{condition}' is not a condition: write a quantity, one of < <= > >= is about, and a number, as "
            'in: effect L0H0.z > 0.5; or: clean.top is " Mary".'
        )
    left, sign, other = found[1], found[2], found[3].strip()
    value = quantity(left, result) if here is None else _at(here, left, result)
    if isinstance(value, str) and sign == "is":
        return value == (other[1:-1] if other[:1] == other[-1:] == '"' else other)
    return COMPARE[sign](_number(value, left), _limit(other, result))


def filled(text: str, result: Result) -> str:
    """`text` with the values of its {quantities}. Raises FactError for one that is none."""
    return _SLOT.sub(lambda slot: formatted(slot[1], quantity(slot[1], result)), text)


def slots(text: str) -> list[str]:
    """The quantities that a text names."""
    return _SLOT.findall(text)


def formatted(name: str, value: Quantity) -> str:
    """A quantity as people read it."""
    if isinstance(value, str):
        return visible(value)
    words = set(re.findall(r"[a-z_]+", name))
    if words & set(SHARES):
        decimals = 1 if "probability" in words or 0 < abs(value) < 0.01 else 0
        return percent(value, decimals)
    return f"{value + 0.0:.4g}"


def _of_run(run: str, what: str, result: Result) -> Quantity:
    found: Baseline | None = getattr(result, run)
    if found is None:
        raise FactError(f"This result has no {run} run.")
    if what == "top":
        return str(found.top[0]["token"])
    return _number(getattr(found, what), f"{run}.{what}")


def _entry(array: xr.DataArray, labels: str, name: str) -> float:
    """An array's entry by its labels, in the order of its dims; positions may count from the end."""
    wanted = [label.strip() for label in labels.split(",")]
    if len(wanted) == array.ndim:
        for dim, label in zip(array.dims, wanted, strict=True):
            known = array[dim].values.tolist()
            found = [i for i, one in enumerate(known) if str(one) == label]
            if not found and label.startswith("-") and label[1:].isdigit():
                found = [len(known) - int(label[1:])] if 0 < int(label[1:]) <= len(known) else []
            if not found:
                break
            array = array.isel({dim: slice(found[0], found[0] + 1)})
        else:
            return float(array.values.item())
    axes = ", ".join(f"{dim} ({array.sizes[dim]})" for dim in array.dims)
    raise FactError(f"'{name}' does not fit: its labels are {axes}.")


def _cells(result: Result) -> Result:
    if "place" not in result.table():
        raise FactError(f"A result of '{result.method}' has no places to name.")
    return result


def _at(here: str, name: str, result: Result) -> Quantity:
    """A quantity of the cell at the place `here`, or else of the whole result."""
    if name in ("layer", "head", "position"):
        return _number(getattr(parse_place(here), name), name)
    return quantity(f"{name} {here}" if name in result.arrays else name, result)


def _limit(text: str, result: Result) -> float:
    try:
        return float(text)
    except ValueError:
        return _number(quantity(text, result), text)


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FactError(f"'{name}' is {value!r}, which is not a number.")
    return float(value)
