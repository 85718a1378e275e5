"""Types and shapes in signatures, checked at every call while tests run.

jaxtyping's own import hook decorates every function when it is defined: those inside others at
each call of these, which took four fifths of a sweep of a tiny model. Here only what a module or
a class defines is decorated, and no function inside another may say a shape (a test sees to it).
"""

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import decode_source
from types import CodeType, ModuleType
from typing import Any

from beartype import beartype
from jaxtyping import jaxtyped

NAME = "__checked__"


def checked(defined: Any) -> Any:
    """A function or a dataclass whose types and shapes are checked at each call."""
    return jaxtyped(defined, typechecker=beartype)


class _Decorate(ast.NodeTransformer):
    """Decorates what a module or a class defines, and nothing inside functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        # The last decorator acts first, and so sees the function as it is written.
        node.decorator_list.append(ast.copy_location(ast.Name(NAME, ast.Load()), node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        # The first one acts last, and so sees what `dataclass` has made.
        node.decorator_list.insert(0, ast.copy_location(ast.Name(NAME, ast.Load()), node))
        return node


class _Loader(SourceFileLoader):
    """Loads a module from its source alone: its compiled file is that of undecorated code."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = _Decorate().visit(ast.parse(decode_source(self.get_data(path)), path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, NAME, checked)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def __init__(self, packages: Sequence[str]) -> None:
        self._inside = tuple(f"{one}." for one in packages)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not f"{fullname}.".startswith(self._inside):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def check_signatures(*packages: str) -> None:
    """Check the signatures of these packages, which nothing has imported yet."""
    sys.meta_path.insert(0, _Finder(packages))
