"""Documents in older spellings, brought up to date: the one place that knows the old ones.

Whatever reads an experiment or a result comes through here: the store, archives,
`load_result`, addresses and HTTP.
"""

from collections.abc import Mapping
from typing import Any

RENAMED_FIELDS: dict[str, dict[str, str]] = {"evaluate_circuit": {"randoms": "n_random"}}
"""Of experiments, by method: a field's older name, and today's."""


def upgrade_experiment(document: Mapping[str, Any], method: object) -> dict[str, Any]:
    """The experiment's JSON document with today's names; a current one comes back equal.

    A field that is given under both names keeps both: it is refused where it is read.
    """
    renamed = RENAMED_FIELDS.get(method, {}) if isinstance(method, str) else {}
    names = {old: new for old, new in renamed.items() if new not in document}
    return {names.get(name, name): value for name, value in document.items()}


def upgrade_result(document: Mapping[str, Any]) -> dict[str, Any]:
    """The result's JSON document with today's names; a current one comes back equal.

    Results that do not say by which version of their method's numbers they were
    computed are of the first. Raises KeyError or AttributeError where it is no result.
    """
    experiment = upgrade_experiment(document["experiment"], document["method"])
    return {"numbers": 1, **document, "experiment": experiment}
