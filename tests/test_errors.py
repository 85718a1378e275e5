"""The tree that `errors` draws is the one there is."""

import re
from importlib import import_module
from pkgutil import walk_packages

import patchwright
from patchwright import errors

SCRIPTS = {"patchwright.cli.__main__", "patchwright.app.main"}
"""What runs when it is imported."""


def drawn() -> dict[str, str]:
    """Each class of the drawing, and the class that it hangs on."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if branch := re.match(r"([│├└─ ]*)(\w+Error) ", line):
            depth = len(branch[1]) // 4
            above[depth:] = [branch[2]]
            found[branch[2]] = above[depth - 1] if depth else "Exception"
    return found


def raised() -> set[type[BaseException]]:
    """Every exception of the package but what a module catches by itself (`_name`)."""
    modules = {one.name for one in walk_packages(patchwright.__path__, "patchwright.")} - SCRIPTS
    values = (value for name in modules for value in vars(import_module(name)).values())
    return {
        one
        for one in values
        if isinstance(one, type)
        and issubclass(one, BaseException)
        and not issubclass(one, Warning)
        and one.__module__.startswith("patchwright.")
        and not one.__name__.startswith("_")
    }


def test_every_exception_hangs_where_it_is_drawn() -> None:
    tree = {one.__name__: one.__mro__[1].__name__ for one in raised()}
    assert tree == drawn()


def test_every_exception_is_defined_beside_the_drawing() -> None:
    assert {one.__module__ for one in raised()} == {errors.__name__}
