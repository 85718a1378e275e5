"""A command of methods: which experiments it may ask for, with which options, and what it does then."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from patchwright.cli import options, pairs
from patchwright.cli.field_option import FieldOption, Shape, Values, parameter_of
from patchwright.cli.options import check_outputs, load_inputs, option, style_of, write_outputs
from patchwright.cli.output import progress_bar
from patchwright.cli.runner import StoreRunner
from patchwright.errors import InputError
from patchwright.experiment.base import Experiment, OnPairs
from patchwright.experiment.patching import Sweep
from patchwright.figures.style import DEFAULT_STYLE

_BASE = frozenset({"method", "model", "revision", "metric", "bos", "pairs"})
"""Fields that other options fill."""

PAIR_OPTIONS = {
    "clean": (options.Clean, ""),
    "corrupt": (options.Corrupt, ""),
    "answer": (options.Answer, []),
    "wrong": (options.Wrong, []),
    "example": (options.ExampleName, ""),
    "pairs": (pairs.PairsPath, ""),
    "align": (options.Align, "exact"),
}
"""Options for prompts and answers; `align` where the methods can."""

LOADING_OPTIONS = {
    "chat": (options.Chat, False),
    "system": (options.System, ""),
    "bos": (options.BosOrDefault, None),
    "model": (options.ModelName, "demo"),
    "device": (options.Device, "auto"),
    "device_map": (options.DeviceMap, ""),
    "dtype": (options.Dtype, "float32"),
    "revision": (options.Revision, None),
}

OUTPUT_OPTIONS = {
    "json": (options.Json, ""),
    "csv": (options.Csv, ""),
    "plot": (options.Plot, ""),
    "plot_width": (options.PlotWidth, DEFAULT_STYLE.width),
    "plot_title": (options.PlotTitle, DEFAULT_STYLE.title),
    "plot_numbers": (options.PlotNumbers, DEFAULT_STYLE.numbers),
    "caption": (options.Caption, ""),
}

STATISTICS_OPTIONS = {
    "intervals": (
        option(
            bool,
            "Of a list of pairs, add intervals, q-values and odd pairs to what is written and drawn; "
            "--csv is then one row a place.",
            "--intervals",
        ),
        False,
    ),
    "interval_plot": (
        option(str, "Draw the strongest places with their intervals to a .png, .svg or .pdf file."),
        "",
    ),
}
"""Of sweeps, which have statistics over pairs."""

RUN_OPTIONS = {
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
    def field_options(self) -> list[FieldOption]:
        """The fields of all kinds as options, each once."""
        found: dict[str, FieldOption] = {}
        for kind in self.kinds:
            for name, info in kind.model_fields.items():
                one = FieldOption(name, info, self.retyped.get(name), name == kind.chosen_by)
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
            for name, one in PAIR_OPTIONS.items()
            if on_pairs and (name != "align" or all(kind.aligns for kind in self.kinds))
        }
        metric = {"metric": (options.Metric, "")} if self.measures and on_pairs else {}
        before = [parameter_of(name, *one) for name, one in pair.items()]
        after: Options = {
            **metric,
            **self.more,
            **(pairs.FILE_OPTIONS if on_pairs else {}),
            **LOADING_OPTIONS,
            **OUTPUT_OPTIONS,
            **(STATISTICS_OPTIONS if issubclass(self.kinds[0], Sweep) else {}),
            **RUN_OPTIONS,
        }
        own = [one.parameter() for one in self.field_options if one.name not in after]
        return [*before, *own, *(parameter_of(name, *one) for name, one in after.items())]

    def callback(self) -> Callable[..., None]:
        """The function that Typer calls."""

        def run(**given: Any) -> None:
            body = self.body or _run_on_pairs
            body(self, given)

        run.__doc__ = self.summary
        parameters = self.parameters()
        vars(run)["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    def kind(self, given: Values) -> type[Experiment]:
        """Which experiment is asked for. Raises InputError for options that it does not have."""
        names = {one.field: one for one in self.field_options}
        usual, *others = self.kinds
        chosen = next((one for one in others if self._is_given(given, names, one.chosen_by)), usual)
        for one in self.field_options:
            if one.field not in chosen.model_fields and given[one.name] != one.default:
                by = names[chosen.chosen_by].flag if chosen.chosen_by else f"`{self.name}`"
                raise InputError(f"{one.flag} has no meaning with {by}: leave it out.")
        return chosen

    @staticmethod
    def _is_given(given: Values, names: Mapping[str, FieldOption], chosen_by: str) -> bool:
        one = names.get(chosen_by)
        return one is not None and bool(given[one.name])

    def fields(self, given: Values, kind: type[Experiment]) -> Values:
        """The fields of `kind` that were given, as they are written in an experiment."""
        chat = given["chat"], given["system"]
        found = {
            one.field: one.value(given[one.name], chat)
            for one in self.field_options
            if one.field in kind.model_fields and given[one.name] != one.default
        }
        return self.adjust(found)


def _run_on_pairs(command: Command, given: Values) -> None:
    """One experiment on the pair, or the pairs, that the options name."""
    figure = given[command.figure] if command.figure else ""
    interval_plot = given.get("interval_plot", "")
    check_files(given, figure, interval_plot)
    style = style_of(given)
    kind = command.kind(given)
    assert issubclass(kind, OnPairs), "other commands have a body of their own"
    fields = command.fields(given, kind)
    if command.figure:
        _check_figure(command, given, kind, fields)
    doing = StoreRunner.from_options(given["no_store"], given["experiment"])
    chosen = inputs_from_options(command, given)
    measured = {"metric": chosen.metric} if kind.measures else {}
    asked = kind.on(chosen.model, chosen.pair, chosen.bos, **measured, **fields)
    with progress_bar() as progress:
        result = doing(asked, chosen.model, progress)
    drawn: dict[str, Any] = {command.figure: figure} if command.figure else {}
    write_outputs(
        result,
        given["json"],
        given["csv"],
        given["plot"],
        **drawn,
        intervals=given.get("intervals", False),
        interval_plot=interval_plot,
        caption=given["caption"],
        style=style,
        notes=chosen.notes,
    )


def check_files(given: Values, *figures: str) -> None:
    """Refuse files that cannot be written before anything long is computed."""
    files = given["json"], given["csv"], given["plot"], *figures
    check_outputs(*files, caption=given["caption"])


def _check_figure(command: Command, given: Values, kind: type[Experiment], fields: Values) -> None:
    """Refuse a figure that the experiment's result does not have."""
    if command.figure == "graph" and kind.chosen_by and given["graph"]:
        raise InputError("--direct reads the unpatched runs: leave out --graph.")
    if command.figure == "scatter" and given["scatter"] and not fields.get("exact"):
        raise InputError("--scatter draws estimates against exact values: add --exact.")


def inputs_from_options(command: Command, given: Values) -> options.Inputs:
    """Pairs, metric, model and first token, as the options have them."""
    return load_inputs(
        (given["clean"], given["corrupt"], given["answer"], given["wrong"]),
        given["example"],
        pairs.PairsOptions(
            given["pairs"], given, given.get("align", "exact"), not given["experiment"]
        ),
        given.get("metric", options.NO_METRIC),
        given["bos"],
        tuple(given[name] for name in ("model", "device", "dtype", "revision", "device_map")),
        edges="align" in given,
        chat=(given["chat"], given["system"]),
    )
