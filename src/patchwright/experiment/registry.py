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
from patchwright.experiment.base import Experiment, refusal

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

    def with_(self, kind: type[Experiment]) -> "Methods":
        """These methods and one more."""
        return Methods([*self._kinds.values(), kind])

    @cached_property
    def _any(self) -> TypeAdapter[Experiment]:
        every: Any = Annotated[
            reduce(or_, self._kinds.values()), Field(discriminator="method")  # type: ignore[valid-type]
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
                return self._any.validate_json(document)
            return self._any.validate_python(document)
        except ValidationError as error:
            # What each field lies in begins with the method's name.
            raise refusal(error, skipped=1) from error

    def schema(self, reference: str) -> dict[str, Any]:
        """The JSON Schema of all experiments; `reference` says where its "$defs" will be."""
        return self._any.json_schema(ref_template=reference)

    def asked(self, result: "Result") -> Experiment:
        """The experiment that a result is of."""
        return self.parse({"method": result.method, **result.experiment})

    def read_result(self, document: dict[str, Any]) -> "Result":
        """The result that a JSON document holds, its experiment with all of today's fields.

        Raises ExperimentError where the experiment is none, and what `result_of` does.
        """
        from patchwright.algorithms.result import result_of

        result = result_of(document)
        return replace(result, experiment=self.asked(result).model_dump(mode="json"))

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
