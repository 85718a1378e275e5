"""A field of an experiment as an option of the command line: its flag, its kind, its help, its default."""

import inspect
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from patchwright.cli.options import parse_numbers, typed_prompt
from patchwright.experiment.declaration import Option

Values = dict[str, Any]
"""What options were given, by their Python names."""

Shape = Literal["flag", "whole", "number", "numbers", "texts", "prompts", "names", "text"]
"""How a field is written on the command line."""

_PYTHON_TYPES: dict[Shape, Any] = {
    "flag": bool,
    "whole": int,
    "number": float,
    "texts": list[str],
    "prompts": list[str],
}

MOST_CHOICES = 5
"""A longer list is not in the help: `places` has the sites, the documentation the metrics."""


@dataclass(frozen=True)
class FieldOption:
    """A field of an experiment as an option."""

    field: str
    info: FieldInfo
    retyped: Shape | None = None
    chooses: bool = False

    @property
    def option(self) -> Option:
        """What the declaration says about the spelling."""
        return next((one for one in self.info.metadata if isinstance(one, Option)), Option())

    @property
    def name(self) -> str:
        """The option's Python name."""
        return (self.option.name or self.field).replace("-", "_")

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return "--" + self.name.replace("_", "-")

    @property
    def shape(self) -> Shape:
        """How the field is written."""
        return self.retyped or _shape(self.info.annotation)

    @property
    def default(self) -> Any:
        """The option's value where it is left out."""
        usual = None if self.info.default_factory or self.chooses else self.info.default
        if self.shape == "flag":
            return False
        if self.shape in ("texts", "prompts"):
            return list(usual) if isinstance(usual, tuple) else []
        if self.shape in ("whole", "number"):
            return usual or 0
        if self.choices and usual is None:
            return None
        return usual if isinstance(usual, str) else ""

    @property
    def choices(self) -> tuple[str, ...]:
        """What may be chosen, where that is a short list."""
        found = [one for one in _union_members(self.info.annotation) if get_origin(one) is Literal]
        values = tuple(value for one in found for value in get_args(one))
        takes_more = any(isinstance(one, BeforeValidator) for one in self.info.metadata)
        if takes_more or self.shape != "text" or len(values) > MOST_CHOICES:
            return ()
        return values

    @property
    def help(self) -> str:
        """What the field is, and whether the option may be given several times."""
        said = self.info.description or ""
        return f"{said} Repeatable." if self.shape in ("texts", "prompts") else said

    def parameter(self) -> inspect.Parameter:
        """The option as Typer reads it."""
        optional = self.info.default is None and self.shape == "whole"
        least = next((0 for one in self.info.metadata if isinstance(one, Ge)), None)
        declared = [self.flag, *([f"--{self.option.older}"] if self.option.older else [])]
        shown: Any = self.option.usual or (not optional and self.default not in ("", [], None))
        if self.info.default_factory or self.chooses:
            shown = False
        kind = typer.Option(
            *declared,
            help=self.help,
            show_default=shown,
            min=0 if optional else least if self.shape == "whole" else None,
        )
        python: Any = _PYTHON_TYPES.get(self.shape, str)
        python = Literal[self.choices] if self.choices else python
        python = python | None if self.default is None else python
        return parameter_of(self.name, Annotated[python, kind], self.default)

    def value(self, given: Any, chat: tuple[bool, str]) -> Any:
        """The field's value. Raises InputError for numbers that are none."""
        if self.shape == "flag":
            return given is not self.option.off
        if self.shape == "numbers":
            return parse_numbers(given, self.flag)
        if self.shape == "names":
            return [name.strip() for name in given.split(",")]
        if self.shape == "prompts":
            return [typed_prompt(one, *chat) for one in given]
        return given


def _shape(annotation: Any) -> Shape:
    """How a field of this type is written."""
    some = _union_members(annotation)
    kinds = [one for one in some if one is not NoneType]
    if len(kinds) == 1 and get_origin(kinds[0]) is tuple:
        (item, *_) = get_args(kinds[0])
        items = _union_members(item)
        if items == [int]:
            return "numbers"
        if items != [str]:
            return "prompts"
        return "names" if NoneType in some else "texts"
    plain: dict[Any, Shape] = {bool: "flag", int: "whole", float: "number"}
    return plain.get(kinds[0], "text") if len(kinds) == 1 else "text"


def _union_members(annotation: Any) -> list[Any]:
    """The types of a union, without what is annotated on them."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return [one for part in get_args(annotation) for one in _union_members(part)]
    return [annotation]


def parameter_of(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A parameter of the function that Typer reads."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
