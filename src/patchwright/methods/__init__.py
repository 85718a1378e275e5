"""The methods: one file each, which declares all that the program knows about it.

A class in this folder that is an experiment is a method: to be here is enough. What a class says
is described at `Experiment`, and docs/extend/method.md shows a new one. Importing this package
imports none of them: `METHODS`, with all of them, is made when it is first asked for.
"""

import ast
from functools import cache
from importlib import import_module
from importlib.resources import files
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from patchwright.algorithms.result import Result
    from patchwright.experiment.base import Experiment
    from patchwright.experiment.registry import Methods

    METHODS: Methods
    """All that come with Patchwright."""

FILES = sorted(
    (one.name for one in iter_modules(__path__)), key=lambda name: (name != "patch", name)
)
"""The files of the methods, `patch` first."""


@cache
def _load_methods() -> "Methods":
    from patchwright.experiment.registry import Methods

    return Methods(
        kind for name in FILES for kind in experiments_in(import_module(f"{__name__}.{name}"))
    )


def experiments_in(module: ModuleType) -> "list[type[Experiment]]":
    """The experiments that a file declares, in its order."""
    from patchwright.experiment.base import Experiment

    return [
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, Experiment)
        and one.__module__ == module.__name__
        and "method" in one.model_fields
    ]


def command_summaries() -> dict[str, str]:
    """The commands of the methods with their summaries, read off the files.

    Nothing is imported for it: pydantic alone takes longer than all of `--help` may.
    """
    found: dict[str, str] = {}
    for name in FILES:
        source = files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            said = _constants(node) if isinstance(node, ast.ClassDef) else {}
            if said.get("summary"):
                found[said.get("command") or said["method"]] = said["summary"]
    return found


def _constants(kind: ast.ClassDef) -> dict[str, str]:
    """What is written in the body of a class as a plain text."""
    return {
        node.target.id: node.value.value
        for node in kind.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def load_result(path: "str | Path") -> "Result":
    """The result that `to_json` wrote. Raises OutputError where it is none."""
    return _load_methods().load_result(path)


def __getattr__(name: str) -> Any:
    if name != "METHODS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _load_methods()
