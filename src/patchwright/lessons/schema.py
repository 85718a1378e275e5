"""A lesson file -> Lesson. YAML without anchors; every error names its line."""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from patchwright.errors import LessonError, quoted, reason

MOST_BYTES = 100_000
MOST_DEPTH = 20
MOST_FAULTS = 20
"""That are told of one file."""

LINE_PREFIX = "line "

LESSON_MODELS = {
    "demo": "demo (the teaching model)",
    "smollm2": "smollm2 (SmolLM2-135M-Instruct in 4 bits, a real model)",
}
"""The models that the lessons of the package can be read on, with what to call them; the first
has every lesson. Lessons on another model are in the folder of its name, in files of the same name."""


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(_FrozenModel):
    """One of several answers, right where its condition on the result holds (`expressions.holds`)."""

    text: str = Field(min_length=1)
    right: str | None = None


class Step(_FrozenModel):
    """A text; where it asks something, the question, and what is revealed after the answer.

    The reader picks one of `choices`, or a cell of the step's map: right is one for which
    the condition `cell` holds, and only cells can be picked for which `among` does. Where the
    `lowest` is asked for, only those in the lowest layer for which it holds are right.
    `experiment` is an Experiment's JSON without its model; a step that has none goes on with
    the one before. `claims` are conditions that the texts rest on.
    """

    text: str = Field(min_length=1)
    experiment: dict[str, Any] | None = None
    question: str | None = None
    choices: tuple[Choice, ...] = ()
    cell: str | None = None
    among: str | None = None
    lowest: bool = False
    hints: tuple[str, ...] = ()
    reveal: str | None = None
    claims: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_question(self) -> "Step":
        ways = bool(self.choices) + (self.cell is not None)
        if self.question is None and (ways or self.hints or self.reveal):
            raise ValueError("choices, cell, hints and reveal need a question")
        if self.question is not None and (ways != 1 or self.reveal is None):
            raise ValueError("a question needs either choices or a cell, and a reveal")
        if len(self.choices) == 1:
            raise ValueError("give at least two choices")
        if self.among is not None and self.cell is None:
            raise ValueError("among says which cells can be picked, so it needs a cell")
        if self.lowest and self.cell is None:
            raise ValueError("lowest says which cells are right, so it needs a cell")
        return self


class Lesson(_FrozenModel):
    """What a reader goes through, step by step; `name` is the file's, without its ending."""

    name: str
    title: str = Field(min_length=1)
    about: str = Field(min_length=1)
    model: str = "demo"
    minutes: int = Field(ge=1, le=120)
    steps: tuple[Step, ...]

    @model_validator(mode="after")
    def _check_steps(self) -> "Lesson":
        if not self.steps or self.steps[0].experiment is None:
            raise ValueError("it needs at least one step, and the first needs an experiment")
        return self


@cache
def built_in_lessons(model: str = "demo") -> tuple[Lesson, ...]:
    """The lessons of the package on one of `LESSON_MODELS`, in the order in which to take them."""
    folder = files("patchwright.lessons").joinpath("built_in")
    if model != "demo":
        folder = folder.joinpath(model)
    found = sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=str)
    return tuple(
        read_lesson(one.read_text(encoding="utf-8"), one.name.removesuffix(".yaml"))
        for one in found
    )


def lesson_by_model(lesson: Lesson) -> dict[str, Lesson]:
    """All readings of a lesson, by model; of a lesson that does not come with the package itself."""
    ours = [one for model in LESSON_MODELS for one in built_in_lessons(model)]
    same = [one for one in ours if one.name == lesson.name] if lesson in ours else [lesson]
    return {one.model: one for one in same}


def find_lessons(folder: str | Path) -> list[Lesson | LessonError]:
    """The lessons in the .yaml files of a folder, by name; a faulty one as its error.

    Errors name files and folders without the way to them: all visitors of the page read them.

    Raises LessonError where the folder cannot be read.
    """
    try:
        paths = sorted(Path(folder).glob("*.yaml"))
    except OSError as error:
        raise LessonError(
            f"The folder '{Path(folder).name}' cannot be read: {error.strerror}."
        ) from error
    if not Path(folder).is_dir():
        raise LessonError(
            f"There is no folder '{Path(folder).name}': name one that holds .yaml lessons."
        )
    return [_read_or_error(path) for path in paths]


def read_lesson_file(path: str | Path) -> Lesson:
    """The lesson in a file. Raises LessonError as `read_lesson`, or where it cannot be read."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise LessonError(f"'{path.name}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise LessonError(f"'{path.name}' is not UTF-8 text: save it as UTF-8.") from error
    return read_lesson(text, path.name.removesuffix(".yaml"))


def read_lesson(text: str, name: str) -> Lesson:
    """The lesson that `text` describes. Raises LessonError with the line of each fault."""
    if len(text) > MOST_BYTES:
        raise LessonError(
            f"{name}: a lesson has at most {MOST_BYTES:,} bytes. Split it into several."
        )
    try:
        _check_yaml(text, name)
        root = yaml.compose(text, yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LessonError(f"{name}, {_yaml_fault(error)}") from error
    except (ValueError, RecursionError) as error:  # a date that there is not, say
        raise LessonError(f"{name}: {reason(error)}.") from error
    if not isinstance(document, dict):
        raise LessonError(f"{name}, line 1: a lesson is a list of `name: value` lines.")
    try:
        return Lesson.model_validate({**document, "name": name})
    except ValidationError as error:
        raise LessonError("\n".join(_faults(error, root, name))) from error


def _read_or_error(path: Path) -> Lesson | LessonError:
    try:
        return read_lesson_file(path)
    except LessonError as error:
        return error


def _check_yaml(text: str, name: str) -> None:
    """Refuse what makes a small file large: references to other parts, endless nesting."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise LessonError(f"{name}, line {line}: a lesson has no anchors or aliases (& and *).")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise LessonError(f"{name}, line {line}: this is nested too deep.")


def _yaml_fault(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {reason(error.problem or error.context)}."
    return f"line 1: {reason(str(error).splitlines()[0])}."


def _faults(error: ValidationError, root: yaml.Node | None, name: str) -> Iterator[str]:
    for fault in error.errors()[:MOST_FAULTS]:
        path = fault["loc"]
        what = ".".join(str(part) for part in path)
        message = reason(fault["msg"].removeprefix("Value error, "))
        at = f"{quoted(what)}: " if what else ""
        yield f"{name}, {LINE_PREFIX}{line_of(root, path)}: {at}{message}."


def line_of(root: yaml.Node | None, path: Sequence[str | int]) -> int:
    """The line, from 1, of what `path` leads to, or of the nearest thing above it."""
    if root is None:
        return 1
    node = root
    for part in path:
        below = _child_node(node, part)
        if below is None:
            break
        node = below
    return node.start_mark.line + 1


def _child_node(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        items = cast("list[yaml.Node]", node.value)
        return items[part] if part < len(items) else None
    if isinstance(node, yaml.MappingNode):
        entries = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
        return next((value for key, value in entries if key.value == part), None)
    return None
