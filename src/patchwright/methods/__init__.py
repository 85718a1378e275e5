"""The methods: one file each, which declares all that the program knows about it.

A class in this folder that is an experiment is a method: to be here is enough. What a class says
is described at `Experiment`, and docs/extend/method.md shows a new one.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from patchwright.experiment.base import Experiment
from patchwright.experiment.registry import Methods

FILES = sorted(
    (one.name for one in iter_modules(__path__)), key=lambda name: (name != "patch", name)
)


def kinds_in(module: ModuleType) -> list[type[Experiment]]:
    """The experiments that a file declares, in its order."""
    return [
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, Experiment)
        and one.__module__ == module.__name__
        and "method" in one.model_fields
    ]


METHODS = Methods(kind for name in FILES for kind in kinds_in(import_module(f"{__name__}.{name}")))
"""All that come with Patchwright."""

load_result = METHODS.load_result
