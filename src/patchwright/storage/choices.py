"""What tells an experiment from others of its method on the same prompts, in a few words."""

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from patchwright.errors import quoted
from patchwright.spelling import number_ranges

MOST_NAMED = 6
"""Places or prompts that are named one by one; of more their number."""

_SHOWN_ELSEWHERE = set(
    "method model revision pairs prompt answer wrong site per direction metric".split()
)


def choices_text(asked: Mapping[str, Any]) -> str:
    """'layers 0-5, heads 2' of an experiment's document: the fields that are not as usual.

    A field without a default is always among them; empty where nothing was chosen.
    """
    fields = _experiment_fields(asked.get("method"))
    return ", ".join(
        f"{name} {_value_text(asked[name])}"
        for name, field in fields.items()
        if name in asked
        and name not in _SHOWN_ELSEWHERE
        and not _is_default(asked[name], field.default)
    )


def _experiment_fields(method: object) -> Mapping[str, FieldInfo]:
    """Those of a method's experiment; none of a method that this version does not know."""
    from patchwright.methods import METHODS

    return METHODS[method].model_fields if isinstance(method, str) and method in METHODS else {}


def _is_default(value: object, default: object) -> bool:
    return value == (list(default) if isinstance(default, tuple) else default)


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, list | tuple):
        return quoted(value).strip("'") if isinstance(value, str) else f"{value}"
    if all(isinstance(one, int) for one in value):
        return ",".join(number_ranges(value))
    if all(isinstance(one, str) for one in value) and len(value) <= MOST_NAMED:
        return " ".join(quoted(one).strip("'") for one in value)
    return f"({len(value)})"
