"""One command a method, or for some that belong together, built from what they declare.

Options are the fields of the experiments, and their help is the fields' own. Only what a person would not want to write as the field
has it is here: a head as L3H1, the subject of a trace, a circuit that is found and then measured.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge
from pydantic.fields import FieldInfo

from patchwright.cli import options
from patchwright.cli.options import (
    bos_or_usual,
    check_outputs,
    choose,
    chosen_pair,
    load,
    numbers,
    progress_bar,
    said_by_user,
    write_outputs,
)
from patchwright.cli.runner import StoreRunner
from patchwright.errors import InputError, UnknownPlaceError, quoted
from patchwright.experiment.base import Experiment, OnPairs, Option, Sweep
from patchwright.experiment.registry import Methods

if TYPE_CHECKING:
    from patchwright.model.load import Model

Values = dict[str, Any]
"""What options were given, by their Python names."""

Shape = Literal["flag", "whole", "number", "numbers", "texts", "prompts", "names", "text"]
"""How a field is written on the command line."""

_PYTHON: dict[Shape, Any] = {
    "flag": bool,
    "whole": int,
    "number": float,
    "texts": list[str],
    "prompts": list[str],
}

MOST_CHOICES = 5
"""A longer list is not in the help: `places` has the sites, the documentation the metrics."""

_BASE = frozenset({"method", "model", "revision", "metric", "bos", "pairs"})
"""Fields that other options fill."""


@dataclass(frozen=True)
class Spelled:
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
        found = [one for one in _members(self.info.annotation) if get_origin(one) is Literal]
        values = tuple(value for one in found for value in get_args(one))
        if self.retyped or self.shape != "text" or len(values) > MOST_CHOICES:
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
        python: Any = _PYTHON.get(self.shape, str)
        python = Literal[self.choices] if self.choices else python
        python = python | None if self.default is None else python
        return _parameter(self.name, Annotated[python, kind], self.default)

    def value(self, given: Any, chat: tuple[bool, str]) -> Any:
        """The field's value. Raises InputError for numbers that are none."""
        if self.shape == "flag":
            return given is not self.option.off
        if self.shape == "numbers":
            return numbers(given, self.flag)
        if self.shape == "names":
            return [name.strip() for name in given.split(",")]
        if self.shape == "prompts":
            return [said_by_user(one, *chat) for one in given]
        return given


def _shape(annotation: Any) -> Shape:
    """How a field of this type is written."""
    some = _members(annotation)
    kinds = [one for one in some if one is not NoneType]
    if len(kinds) == 1 and get_origin(kinds[0]) is tuple:
        (item, *_) = get_args(kinds[0])
        items = _members(item)
        if items == [int]:
            return "numbers"
        if items != [str]:
            return "prompts"
        return "names" if NoneType in some else "texts"
    plain: dict[Any, Shape] = {bool: "flag", int: "whole", float: "number"}
    return plain.get(kinds[0], "text") if len(kinds) == 1 else "text"


def _members(annotation: Any) -> list[Any]:
    """The types of a union, without what is annotated on them."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return [one for part in get_args(annotation) for one in _members(part)]
    return [annotation]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


PAIR = {
    "clean": (options.Clean, ""),
    "corrupt": (options.Corrupt, ""),
    "answer": (options.Answer, []),
    "wrong": (options.Wrong, []),
    "example": (options.ExampleName, ""),
    "pairs": (options.PairsFile, ""),
    "align": (options.Align, "exact"),
}
"""Options for prompts and answers; `align` where the methods can."""

LOADING = {
    "chat": (options.Chat, False),
    "system": (options.System, ""),
    "bos": (options.Bos, None),
    "model": (options.ModelName, "demo"),
    "device": (options.Device, "auto"),
    "device_map": (options.DeviceMap, ""),
    "dtype": (options.Dtype, "float32"),
    "revision": (options.Revision, None),
}

OUTPUTS = {
    "json": (options.Json, ""),
    "csv": (options.Csv, ""),
    "plot": (options.Plot, ""),
}

OVER_PAIRS = {
    "intervals": (options.Intervals, False),
    "interval_plot": (options.IntervalPlot, ""),
}
"""Of sweeps, which have statistics over pairs."""

ANSWERED = {
    "experiment": (options.ExperimentFile, ""),
    "no_store": (options.NoStore, False),
}

Options = Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Command:
    """A command: what experiments it may ask for, the first unless another is chosen.

    `more` are its own options beside the fields'; `adjust` makes fields of values that no field
    holds as they are; `body` is what it does where it is not one experiment on pairs.
    """

    name: str
    summary: str
    kinds: tuple[type[Experiment], ...]
    more: Options = field(default_factory=dict[str, tuple[Any, Any]])
    figure: str = ""
    retyped: Mapping[str, Shape] = field(default_factory=dict[str, Shape])
    adjust: Callable[[Values], Values] = dict
    body: "Callable[[Command, Values], None] | None" = None

    @property
    def spelled(self) -> list[Spelled]:
        """The fields of all kinds as options, each once."""
        found: dict[str, Spelled] = {}
        for kind in self.kinds:
            for name, info in kind.model_fields.items():
                one = Spelled(name, info, self.retyped.get(name), name == kind.chosen_by)
                settled = get_origin(info.annotation) is Literal and info.default is not None
                constant = settled and len(get_args(info.annotation)) == 1
                if name not in _BASE and not one.option.hidden and not constant:
                    found.setdefault(one.name, one)
        return list(found.values())

    @property
    def measures(self) -> bool:
        """Whether a metric can be chosen."""
        return any(kind.measures for kind in self.kinds)

    def parameters(self) -> list[inspect.Parameter]:
        """All options, as Typer reads them."""
        on_pairs = issubclass(self.kinds[0], OnPairs)
        pair = {
            name: one
            for name, one in PAIR.items()
            if on_pairs and (name != "align" or all(kind.aligns for kind in self.kinds))
        }
        metric = {"metric": (options.Metric, "")} if self.measures and on_pairs else {}
        before = [_parameter(name, *one) for name, one in pair.items()]
        after: Options = {
            **metric,
            **self.more,
            **LOADING,
            **OUTPUTS,
            **(OVER_PAIRS if issubclass(self.kinds[0], Sweep) else {}),
            **ANSWERED,
        }
        own = [one.parameter() for one in self.spelled if one.name not in after]
        return [*before, *own, *(_parameter(name, *one) for name, one in after.items())]

    def callback(self) -> Callable[..., None]:
        """The function that Typer calls."""

        def run(**given: Any) -> None:
            body = self.body or _on_pairs
            body(self, given)

        run.__doc__ = self.summary
        parameters = self.parameters()
        vars(run)["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    def kind(self, given: Values) -> type[Experiment]:
        """Which experiment is asked for. Raises InputError for options that it does not have."""
        names = {one.field: one for one in self.spelled}
        usual, *others = self.kinds
        chosen = next((one for one in others if self._has(given, names, one.chosen_by)), usual)
        for one in self.spelled:
            if one.field not in chosen.model_fields and given[one.name] != one.default:
                by = names[chosen.chosen_by].flag if chosen.chosen_by else f"`{self.name}`"
                raise InputError(f"{one.flag} has no meaning with {by}: leave it out.")
        return chosen

    @staticmethod
    def _has(given: Values, names: Mapping[str, Spelled], chosen_by: str) -> bool:
        one = names.get(chosen_by)
        return one is not None and bool(given[one.name])

    def fields(self, given: Values, kind: type[Experiment]) -> Values:
        """The fields of `kind` that were given, as they are written in an experiment."""
        chat = given["chat"], given["system"]
        found = {
            one.field: one.value(given[one.name], chat)
            for one in self.spelled
            if one.field in kind.model_fields and given[one.name] != one.default
        }
        return self.adjust(found)


def _on_pairs(command: Command, given: Values) -> None:
    """One experiment on the pair, or the pairs, that the options name."""
    figure = given[command.figure] if command.figure else ""
    interval_plot = given.get("interval_plot", "")
    check_outputs(given["json"], given["csv"], given["plot"], figure, interval_plot)
    kind = command.kind(given)
    assert issubclass(kind, OnPairs), "other commands have a body of their own"
    fields = command.fields(given, kind)
    if command.figure:
        _check_figure(command, given, kind, fields)
    doing = StoreRunner.of(given["no_store"], given["experiment"])
    chosen = _chosen(command, given)
    measured = {"metric": chosen.metric} if kind.measures else {}
    asked = kind.on(chosen.model, chosen.pair, chosen.bos, **measured, **fields)
    with progress_bar() as progress:
        result = doing(asked, chosen.model, progress)
    drawn = {command.figure: figure} if command.figure else {}
    write_outputs(
        result,
        given["json"],
        given["csv"],
        given["plot"],
        **drawn,
        intervals=given.get("intervals", False),
        interval_plot=interval_plot,
    )


def _check_figure(command: Command, given: Values, kind: type[Experiment], fields: Values) -> None:
    """Refuse a figure that the experiment's result does not have."""
    if command.figure == "graph" and kind.chosen_by and given["graph"]:
        raise InputError("--direct reads the unpatched runs: leave out --graph.")
    if command.figure == "scatter" and given["scatter"] and not fields.get("exact"):
        raise InputError("--scatter draws estimates against exact values: add --exact.")


def _chosen(command: Command, given: Values) -> options.Chosen:
    """Pairs, metric, model and first token, as the options have them."""
    return choose(
        (given["clean"], given["corrupt"], given["answer"], given["wrong"]),
        given["example"],
        given.get("align", "exact"),
        given["pairs"],
        given.get("metric", options.NO_METRIC),
        given["bos"],
        tuple(given[name] for name in ("model", "device", "dtype", "revision", "device_map")),
        edges="align" in given,
        chat=(given["chat"], given["system"]),
    )


def _trace(command: Command, given: Values) -> None:
    """A trace has one prompt, whose subject may be an example's."""
    from patchwright.algorithms.metrics import METRIC_TABLE, check_metric
    from patchwright.methods.trace import Trace

    check_outputs(given["json"], given["csv"], given["plot"])
    example, positions = given["example"], given["subject_positions"]
    chat = given["chat"], given["system"]
    if not given["noise"]:
        raise InputError("--noise 0 changes nothing: give a multiple such as 3.")
    if given["subject"] and positions:
        raise InputError("Name the subject by either --subject or --subject-positions, not both.")
    if not (example or given["subject"] or positions):
        raise InputError("Name the subject: --subject, --subject-positions or --example.")
    if example and any(chat):
        raise InputError(
            "--chat and --system go with a --prompt that is typed, not with --example."
        )
    doing = StoreRunner.of(given["no_store"], given["experiment"])
    if example:
        pair, _ = chosen_pair(
            given["prompt"], "", given["answer"], given["wrong"], "exact", example
        )
        compared = METRIC_TABLE[check_metric(given["metric"])].needs_wrong
        wrong = [str(one) for one in pair.wrongs] if compared else []
        answers = {"answer": [str(one) for one in pair.answers], "wrong": wrong}
        given = {**given, "prompt": str(pair.clean), **answers}
    model = load(*(given[name] for name in ("model", "device", "dtype", "revision", "device_map")))
    bos = bos_or_usual(given["bos"], example, given["model"])
    subject: Any = given["subject"] or numbers(positions, "--subject-positions") or []
    if example and not subject:
        subject = _subject_of(example, model, bos)
    fields = command.fields(given, Trace)
    asked = Trace.for_model(
        model,
        **{
            **fields,
            "prompt": said_by_user(given["prompt"], *chat),
            "subject": subject,
            "answer": given["answer"],
            "wrong": given["wrong"],
            "metric": given["metric"],
            "bos": bos,
        },
    )
    with progress_bar() as progress:
        result = doing(asked, model, progress)
    write_outputs(result, given["json"], given["csv"], given["plot"])


def _subject_of(name: str, model: "Model", bos: bool) -> list[int]:
    """Where an example's two prompts differ: what they are about."""
    from patchwright.prompts.align import differing
    from patchwright.prompts.examples import example
    from patchwright.prompts.tokens import encode_prompt

    pair = example(name).pair
    clean, corrupt = (
        encode_prompt(str(text), model.tokenizer, bos) for text in (pair.clean, pair.corrupt)
    )
    return list(differing(clean, corrupt))


def _circuit(command: Command, given: Values) -> None:
    """A circuit is found, or read from a file, and then measured."""
    from patchwright.atomic_files import check_writable
    from patchwright.experiment.circuit import Circuit, load_circuit
    from patchwright.figures.matplotlib_figures import save_circuit
    from patchwright.methods.circuit import EdgeAttribution, EvaluateCircuit, usual_sizes

    check_outputs(given["json"], given["csv"], given["plot"], given["graph"])
    if given["save"]:
        check_writable(given["save"])
    doing = StoreRunner.of(given["no_store"], given["experiment"])
    scoring = command.fields(given, EdgeAttribution)
    measuring = command.fields(given, EvaluateCircuit)
    chosen = _chosen(command, given)
    on = chosen.model, chosen.pair, chosen.bos
    with progress_bar() as progress:
        if given["circuit"]:
            circuit = load_circuit(given["circuit"])
        else:
            asked = EdgeAttribution.on(*on, metric=chosen.metric, **scoring)
            scored = doing(asked, chosen.model, progress)
            keep = given["top"], given["threshold"], given["connected"]
            circuit = Circuit.choose(scored, chosen.model, *keep)
        circuit.check(chosen.model)
        fields = {"sizes": usual_sizes(len(circuit.edges)), **measuring}
        asked = EvaluateCircuit.on(*on, metric=chosen.metric, edges=circuit.edges, **fields)
        result = doing(asked, chosen.model, progress)
    if given["save"]:
        circuit.to_json(given["save"])
    if given["graph"]:
        save_circuit(circuit.edges, circuit.scores, given["graph"])
    write_outputs(result, given["json"], given["csv"], given["plot"])


def _by_promise(fields: Values) -> Values:
    """Where only some cells are computed, an estimate says which."""
    return {**fields, "order": "attribution"} if "max_exact" in fields else fields


def _one_head(fields: Values) -> Values:
    """A head that is written as in L3H1."""
    from patchwright.places import parse_place

    if "head" not in fields:
        return fields
    try:
        place = parse_place(f"{fields['head']}.pattern")
    except UnknownPlaceError:
        place = None
    if place is None or place.layer is None or place.head is None:
        raise InputError(f"--head {quoted(fields['head'])}: name one head, such as L3H1.")
    return {**fields, "layer": place.layer, "head": place.head}


def _text(help: str) -> Any:
    return Annotated[str, typer.Option(help=help)]


SPECIAL: dict[str, dict[str, Any]] = {
    "patch": {"adjust": _by_promise},
    "attention": {"adjust": _one_head, "retyped": {"head": "text"}},
    "lens": {
        "figure": "graph",
        "more": {
            "graph": (_text("Draw the logit difference by layer to a .png, .svg or .pdf file."), "")
        },
    },
    "attribute": {
        "figure": "scatter",
        "more": {"scatter": (_text("Draw estimate against exact to a file; needs --exact."), "")},
    },
    "trace": {
        "body": _trace,
        "retyped": {"sever": "text"},
        "more": {
            "answer": (options.Answer, []),
            "wrong": (options.Wrong, []),
            "metric": (_text("As for patch."), "probability"),
            "example": (
                _text(
                    "Take the clean prompt and its answers from this example; the subject is where "
                    "its prompts differ."
                ),
                "",
            ),
            "subject_positions": (
                Annotated[
                    str,
                    typer.Option(help="Or their positions, such as 2-4.", show_default=False),
                ],
                "",
            ),
        },
    },
    "circuit": {
        "body": _circuit,
        "more": {
            "top": (Annotated[int, typer.Option(help="Keep at most N edges.", min=1)], 200),
            "threshold": (
                Annotated[float, typer.Option(help="Keep edges of at least this |score|.")],
                0.0,
            ),
            "connected": (
                Annotated[
                    bool,
                    typer.Option(
                        "--connected", help="Choose edges by a walk down from the logits."
                    ),
                ],
                False,
            ),
            "circuit": (_text("Evaluate the circuit in this file instead of finding one."), ""),
            "save": (_text("Write the circuit to this JSON file."), ""),
            "graph": (_text("Draw the edges to a .png, .svg or .pdf file."), ""),
        },
    },
}
"""What a person writes otherwise than the fields have it, by command."""


def commands(every: Methods) -> list[Command]:
    """The commands of all methods."""
    return [
        Command(name, kinds[0].summary or kinds[0].does(), kinds, **SPECIAL.get(name, {}))
        for name, kinds in every.commands.items()
    ]
