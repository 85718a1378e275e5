"""The programs that write pages of the documentation."""

import importlib.util
from pathlib import Path
from types import ModuleType


def program(name: str) -> ModuleType:
    """`docs/NAME.py` as a module."""
    path = Path(__file__).parents[1] / "docs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
