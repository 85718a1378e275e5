"""Values as Python's own, and what pydantic says of a wrong one as a sentence."""

from typing import Annotated

from pydantic import BeforeValidator, ValidationError

from patchwright.errors import quoted, reason


def to_python(value: object) -> object:
    """`value` with arrays, tensors and their scalars as lists, numbers and texts; others as they are.

    NumPy, PyTorch and pandas are known by their `tolist`, so that none is imported for it.
    """
    tolist = getattr(value, "tolist", None)
    value = tolist() if callable(tolist) else value
    if isinstance(value, list | tuple):
        return [to_python(one) for one in value]
    return value


def whole_number(value: object) -> int:
    """`value` as an integer, where it is exactly one. Raises ValueError, for True and False too."""
    number = to_python(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError("give whole numbers")
    # Nothing is counted beyond what a tensor can hold.
    if not abs(number) < 2**63 or number % 1:
        raise ValueError("give whole numbers")
    return int(number)


Whole = Annotated[int, BeforeValidator(whole_number)]
"""A whole number, such as a token id or a layer: True is none, NumPy's and PyTorch's are."""


def first_error(error: ValidationError, skipped: int = 0) -> tuple[str, str]:
    """Where the first thing that is wrong stands, as in `pairs.3.clean`, and what is wrong with it.

    The first `skipped` steps of the way there are left out, as are the names of types.
    """
    # Of a value that may be of several types, the furthest that one of them got says most; and a
    # field that does not exist more than one that is missing: it may be the same, misspelt.
    first = max(error.errors(), key=lambda one: (len(one["loc"]), one["type"] == "extra_forbidden"))
    steps = [str(step) for step in first["loc"][skipped:]]
    where = ".".join(step for step in steps if step not in _TYPES and "[" not in step)
    said = _SENTENCES.get(first["type"], first["msg"].removeprefix("Value error, "))
    what = reason(said)
    given = _given_text(first["input"])
    return (
        where,
        f"{what}.{'' if what.startswith(given.removesuffix(' was given.').strip()) else given}",
    )


_SENTENCES = {
    "missing": "it is missing",
    "extra_forbidden": "there is no such field",
    "tuple_type": "give a list",
    "string_type": "give a text",
}

_TYPES = ("Pair", "str", "int")
"""What pydantic names beside fields, for the types of a union."""


def _given_text(value: object) -> str:
    """What was given, where it is plain data; of a document its field says enough."""
    value = to_python(value)
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float | list) for one in items):
        return ""
    try:
        return f" {quoted(str(value))} was given."
    except ValueError:  # Python writes no whole number of more than some thousand digits.
        return ""
