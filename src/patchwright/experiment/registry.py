"""The methods there are, as an object: what command line, server and page are built from."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from patchwright.errors import OutputError, reason
from patchwright.experiment.base import Experiment, field_error

if TYPE_CHECKING:
    from patchwright.algorithms.result import Result


class Methods(Mapping[str, type[Experiment]]):
    """The experiments' classes, by the name of their method."""

    def __init__(self, kinds: Iterable[type[Experiment]]) -> None:
        self._kinds = {kind.name(): kind for kind in kinds}

    def __getitem__(self, method: str) -> type[Experiment]:
        return self._kinds[method]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def with_method(self, kind: type[Experiment]) -> "Methods":
        """These methods and one more."""
        return Methods([*self._kinds.values(), kind])

    @property
    def commands(self) -> dict[str, tuple[type[Experiment], ...]]:
        """The methods of each command, the one first that it asks for unless another is chosen."""
        found: dict[str, list[type[Experiment]]] = {}
        for kind in self._kinds.values():
            found.setdefault(kind.command or kind.name(), []).append(kind)
        return {
            name: tuple(sorted(kinds, key=lambda kind: bool(kind.chosen_by)))
            for name, kinds in found.items()
        }

    def descriptions(self) -> list[dict[str, Any]]:
        """Every method with its command, what it does, its source and its parameters."""
        return [
            {
                "name": kind.name(),
                "command": kind.command or kind.name(),
                "summary": kind.summary,
                "does": kind.does(),
                "source": kind.source(),
                "numbers": kind.numbers,
                "parameters": _parameters(kind),
            }
            for kind in self._kinds.values()
        ]

    @cached_property
    def _adapter(self) -> TypeAdapter[Experiment]:
        every: Any = Annotated[
            reduce(or_, self._kinds.values()), Field(discriminator="method")  # pyright: ignore[reportInvalidTypeForm]
        ]
        return TypeAdapter(every)

    def numbers_of(self, method: str) -> int:
        """The version of a method's numbers; 0 of a method that is not there."""
        return self[method].numbers if method in self else 0

    def parse(self, document: str | bytes | Mapping[str, Any]) -> Experiment:
        """The experiment that a JSON document describes; `method` says of which kind it is.

        Raises ExperimentError with what is wrong, and where.
        """
        try:
            if isinstance(document, str | bytes):
                return self._adapter.validate_json(document)
            return self._adapter.validate_python(document)
        except ValidationError as error:
            # What each field lies in begins with the method's name.
            raise field_error(error, skipped=1) from error

    def schema(self, reference: str) -> dict[str, Any]:
        """The JSON Schema of all experiments; `reference` says where its "$defs" will be."""
        return self._adapter.json_schema(ref_template=reference)

    def experiment_of_result(self, result: "Result") -> Experiment:
        """The experiment that a result is of."""
        return self.parse({**result.experiment, "method": result.method})

    def read_result(self, document: dict[str, Any]) -> "Result":
        """The result that a JSON document holds, its experiment with all of today's fields.

        Raises ExperimentError where the experiment is none, and what `result_of` does.
        """
        from patchwright.algorithms.result import result_of

        result = result_of(document)
        asked = self.experiment_of_result(result)
        return replace(result, experiment=asked.model_dump(mode="json"), asked=asked)

    def load_result(self, path: str | Path) -> "Result":
        """The result that `to_json` wrote. Raises OutputError where it is none."""
        from patchwright.algorithms.result import SCHEMA

        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise OutputError(f"'{path}' cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise OutputError(f"'{path}' is not JSON: {reason(error)}.") from error
        refused = OutputError(
            f"'{path}' is not a Patchwright result of schema {SCHEMA}: "
            "give a file that `--json` or `Result.to_json` wrote."
        )
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise refused
        try:
            return self.read_result(document)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise refused from error


def _parameters(kind: type[Experiment]) -> list[dict[str, Any]]:
    """The fields of an experiment as its JSON Schema has them; one without a default is required."""
    schema = kind.model_json_schema()
    return [
        {
            "name": name,
            "type": _type_text(schema, schema["properties"][name]),
            "required": info.is_required(),
            "default": schema["properties"][name].get("default"),
            "help": info.description or "",
        }
        for name, info in kind.model_fields.items()
        if name != "method"
    ]


def _type_text(schema: dict[str, Any], part: dict[str, Any]) -> str:
    """A JSON type in words: what may be chosen, or of what it is a list."""
    if "$ref" in part:
        return str(part["$ref"]).rpartition("/")[2]
    if "enum" in part:
        return " | ".join(map(str, part["enum"]))
    if "const" in part:
        return str(part["const"])
    if "anyOf" in part:
        return " | ".join(dict.fromkeys(_type_text(schema, one) for one in part["anyOf"]))
    if part.get("type") == "array":
        item = part.get("items") or next(iter(part.get("prefixItems", [])), {})
        return f"list of {_type_text(schema, item)}" if item else "list"
    return str(part.get("type", "any"))
