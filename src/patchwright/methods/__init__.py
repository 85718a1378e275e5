"""The methods: one file each, which declares all that the program knows about it.

A file's first line is what its command says of itself. A class in it that is an experiment is a
method: to be in this folder is enough. A class with `chosen_by` shares the command of the one
before it, and is meant where that field's option is given.
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from patchwright.experiment.base import Experiment
from patchwright.experiment.registry import Methods

FILES = tuple(one.name for one in iter_modules(__path__))


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
