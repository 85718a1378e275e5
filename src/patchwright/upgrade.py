"""Documents in older spellings, brought up to date: the one place that knows the old ones.

Whatever reads an experiment or a result comes through here: the store, archives,
`load_result`, addresses and HTTP.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

RENAMED_FIELDS: dict[str, dict[str, str]] = {
    "patch": {"most": "max_exact"},
    "ablate": {"how": "ablation"},
    "ablate_together": {"how": "ablation"},
    "attribute": {"how": "estimator"},
    "evaluate_circuit": {"randoms": "n_random"},
}
"""Of experiments, by method: a field's older name, and today's. Hashes have the older one."""

P = ParamSpec("P")
R = TypeVar("R")


def upgrade_experiment(document: Mapping[str, Any], method: object) -> dict[str, Any]:
    """The experiment's JSON document with today's names; a current one comes back equal.

    A field that is given under both names keeps both: it is refused where it is read.
    """
    renamed = RENAMED_FIELDS.get(method, {}) if isinstance(method, str) else {}
    names = {old: new for old, new in renamed.items() if new not in document}
    return {names.get(name, name): value for name, value in document.items()}


def downgrade_experiment(document: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The experiment's JSON document with its fields' older names, by which stored runs are found."""
    older = {new: old for old, new in RENAMED_FIELDS.get(method, {}).items()}
    return {older.get(name, name): value for name, value in document.items()}


def accept_old_names(**renamed: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For a public function whose arguments had other names: an older name, and today's.

    The function then reads the older ones, too, and raises TypeError where both are given.
    """

    def decorate(call: Callable[P, R]) -> Callable[P, R]:
        as_today: Callable[..., R] = call

        @wraps(call)
        def wrapper(*given: P.args, **named: P.kwargs) -> R:
            for old in renamed.keys() & named.keys():
                if renamed[old] in named:
                    raise TypeError(
                        f"'{old}' is the older name of '{renamed[old]}': give only one."
                    )
            today = {renamed.get(name, name): value for name, value in named.items()}
            return as_today(*given, **today)

        return wrapper

    return decorate


def upgrade_result(document: Mapping[str, Any]) -> dict[str, Any]:
    """The result's JSON document with today's names; a current one comes back equal.

    Results that do not say by which version of their method's numbers they were
    computed are of the first. Raises KeyError or AttributeError where it is no result.
    """
    experiment = upgrade_experiment(document["experiment"], document["method"])
    return {"numbers": 1, **document, "experiment": experiment}
