"""Signatures are checked while tests run: a wrong shape or type does not pass."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import xarray as xr
from jaxtyping import TypeCheckError

import patchwright
from patchwright.algorithms.result import effect_of
from patchwright.model.edits import Edit
from patchwright.model.ops import attention_output

SOURCE = Path(patchwright.__file__).parent
SHAPE = re.compile(r"\b(Float|Int|Bool|Shaped|Rotation|Finals)\b")


def functions_inside_others() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in [*SOURCE.glob("model/**/*.py"), *SOURCE.glob("methods/**/*.py")]:
        for outer in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(outer, ast.FunctionDef):
                inside = (one for one in ast.walk(outer) if isinstance(one, ast.FunctionDef))
                yield from ((path.name, one) for one in inside if one is not outer)


def test_no_function_inside_another_says_a_shape_which_nobody_would_check() -> None:
    for name, function in functions_inside_others():
        for one in ast.walk(function.args):
            said = (
                ast.unparse(one.annotation) if isinstance(one, ast.arg) and one.annotation else ""
            )
            assert not SHAPE.search(said), (name, function.name)
        assert function.returns is None or not SHAPE.search(ast.unparse(function.returns)), name


def test_a_wrong_shape_is_no_argument_of_a_function() -> None:
    pattern, v = torch.zeros(5, 2, 7), torch.zeros(6, 2, 4)
    with pytest.raises(TypeCheckError, match="attention_output"):
        attention_output(pattern, v)
    assert attention_output(pattern, torch.zeros(7, 2, 4)).shape[0] == 5


def test_a_wrong_shape_is_no_argument_of_a_method() -> None:
    edit = Edit("resid_pre", 0, 0, torch.zeros(2, 4))
    with pytest.raises(TypeCheckError, match="apply"):
        edit.apply(torch.zeros(2, 4, dtype=torch.int64), 0)


def test_a_wrong_shape_is_no_field_of_a_dataclass() -> None:
    with pytest.raises(TypeCheckError, match="Edit"):
        Edit("resid_pre", 0, 0, torch.zeros(2, 4, dtype=torch.int64))


def test_a_wrong_type_is_no_argument_either() -> None:
    runs = xr.DataArray(1.0), xr.DataArray(0.0)
    with pytest.raises(TypeCheckError, match="effect_of"):
        effect_of([0.5], *runs, "denoise", "logit")  # pyright: ignore[reportArgumentType]
