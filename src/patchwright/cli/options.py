"""What commands share: their options, how they load models and pairs, and which files they write."""

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from patchwright.axes import METRICS
from patchwright.cli.output import console, echo_err, write
from patchwright.errors import InputError
from patchwright.figures.style import DEFAULT_STYLE, FigureStyle
from patchwright.spelling import join_with_or
from patchwright.warnings import is_stopped

if TYPE_CHECKING:
    from patchwright.algorithms.result import Result
    from patchwright.cli.pairs import PairsOptions
    from patchwright.model.load import Model
    from patchwright.prompts.pair import Pair, Prompt
    from patchwright.storage.export import Notes

MOST_NUMBER = 10**6
"""In a list such as 0-3,7: more than any model has of anything."""

STOPPED_STATUS = 130
"""Exit status after Ctrl-C."""

NO_METRIC = "probability"
"""For commands that measure none: the metric that any answer fits."""

ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        help="demo, smollm2, a hub name such as gpt2, a local folder, or a .gguf file; `models` lists more.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
DeviceMap = Annotated[
    str,
    typer.Option(
        help="Spread layers: balanced, cuda:0,cuda:1 or 0-5=cuda:0,6-11=cpu.",
        show_default="one device",
    ),
]
Dtype = Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a hub model.", show_default=False)
]
_BOS = "--bos/--no-bos"
_BOS_HELP = "Put the beginning-of-text token first, or leave it out."
Bos = Annotated[bool, typer.Option(_BOS, help=_BOS_HELP)]
BosOrDefault = Annotated[
    bool | None,
    typer.Option(
        _BOS,
        help=_BOS_HELP,
        show_default="--bos; with --example, what is usual for the model",
    ),
]
Clean = Annotated[str, typer.Option(help="The prompt that the model answers correctly.")]
Corrupt = Annotated[str, typer.Option(help="The prompt that differs in one thing.")]
Answer = Annotated[
    list[str], typer.Option(help="Right next token, with its space: ' Mary'. Repeatable.")
]
Wrong = Annotated[list[str], typer.Option(help="Competing next token. Repeatable.")]
Chat = Annotated[
    bool,
    typer.Option(
        "--chat",
        help="Treat prompts as a user's chat messages, in the model's chat template.",
    ),
]
System = Annotated[
    str, typer.Option(help="Put this system message before the user's message; implies --chat.")
]
Align = Annotated[
    str, typer.Option(help="exact, or edges for prompts with different numbers of tokens.")
]
ExampleName = Annotated[
    str, typer.Option("--example", help="Take prompts and answers from this example.")
]
Direction = Annotated[str, typer.Option(help="denoise or noise.")]
Metric = Annotated[
    str,
    typer.Option(
        help=f"{join_with_or(METRICS)}.",
        show_default="logit_diff, or the example's",
    ),
]
Json = Annotated[str, typer.Option("--json", help="Write the result as JSON; - is stdout.")]
Csv = Annotated[str, typer.Option("--csv", help="Write one row per cell as CSV; - is stdout.")]
Plot = Annotated[str, typer.Option("--plot", help="Draw to a .png, .svg or .pdf file.")]
PlotWidth = Annotated[float, typer.Option(help=FigureStyle.help_of("width"))]
PlotTitle = Annotated[
    bool, typer.Option("--plot-title/--no-plot-title", help=FigureStyle.help_of("title"))
]
PlotNumbers = Annotated[
    bool, typer.Option("--plot-numbers/--no-plot-numbers", help=FigureStyle.help_of("numbers"))
]
Caption = Annotated[
    str,
    typer.Option(
        "--caption",
        help="Write the figure's caption to a file, for LaTeX if it ends in .tex; - is stdout.",
    ),
]
NoStore = Annotated[
    bool,
    typer.Option(
        "--no-store",
        envvar="PATCHWRIGHT_NO_STORE",
        help="Compute again and keep nothing in the run store.",
    ),
]
ExperimentFile = Annotated[
    str,
    typer.Option(
        "--experiment",
        help="Only write the experiment for `run`, one line per pair; - is stdout.",
    ),
]


def option(kind: Any, help: str, *names: str, shown: str | bool = False) -> Any:
    """The type of an option in a command that is built from tables."""
    return Annotated[kind, typer.Option(*names, help=help, show_default=shown)]


class OneName(TyperCommand):
    """A command that refuses an option given under two of its names, of which one would be ignored."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options. Raises InputError."""
        given = {one.partition("=")[0] for one in args}
        for option in self.params:
            names = [name for name in option.opts if name in given]
            if len(names) > 1:
                today, older = names[:2]
                raise InputError(f"{older} is the older name of {today}: give only one.")
        return super().parse_args(ctx, args)


def load(name: str, device: str, dtype: str, revision: str | None, device_map: str = "") -> "Model":
    """The model that the options name."""
    from patchwright.model.load import load_model

    layers = _parse_device_map(device_map) if device_map else None
    return load_model(name, device=device, dtype=dtype, revision=revision, device_map=layers)


def _parse_device_map(text: str) -> str | list[str] | dict[str, str]:
    """`balanced`, devices, or layers and their device, as they are written in the terminal."""
    parts = [part.strip() for part in text.split(",")]
    if text.strip() == "balanced" or not all(parts):
        return text.strip()
    if not any("=" in part for part in parts):
        return parts
    found: dict[str, str] = {}
    for part in parts:
        layers, _, device = part.partition("=")
        if layers in found:
            raise InputError(f"--device-map '{text}': the layers {layers} are named twice.")
        found[layers] = device
    return found


@dataclass(frozen=True)
class Inputs:
    """What a command works on; a set from a file is a list of pairs, also of one, with their notes."""

    pair: "Pair | list[Pair]"
    metric: str
    model: "Model"
    bos: bool
    notes: "Notes" = ()


def load_inputs(
    prompts: tuple[str, str, Sequence[str], Sequence[str]],
    example: str,
    pairs: "PairsOptions",
    metric: str,
    bos: bool | None,
    loading: tuple[str, str, str, str | None, str],
    edges: bool = True,
    chat: tuple[bool, str] = (False, ""),
) -> Inputs:
    """The pair or pairs, the metric, the model and the first token that the options name.

    `prompts` are clean, corrupted, answers and wrong answers; `loading` what `load`
    takes; `edges` says whether the command can match prompts of unequal length at their edges;
    `chat` are the options --chat and --system. Without any prompts they are those of the model's own
    example, where it has one.
    Rows of a set that cannot be used, also by the model, are told on standard
    error, and the others go on; raises InputError where none is left.
    """
    if any(chat) and (pairs.path or example):
        raise InputError(
            "--chat and --system go with prompts that are typed; in a file of pairs a prompt may be "
            "messages itself."
        )
    if not (example or pairs.path or any(prompts)):
        example = example_or_default("", loading[0])
    if not pairs.path:
        clean, corrupt, answer, wrong = prompts
        both = typed_prompt(clean, *chat), typed_prompt(corrupt, *chat)
        pair, usual = pair_and_metric(*both, answer, wrong, pairs.align, example)
        return Inputs(
            pair, metric or usual, load(*loading), bos_or_default(bos, example, loading[0])
        )
    if example or any(prompts):
        raise InputError("Give either --pairs or one pair of prompts (or --example), not both.")
    file = pairs.read_pairs_file()
    model = load(*loading)
    measured, bos = metric or "logit_diff", bos_or_default(bos)
    items = pairs.usable_items(file, model, measured, bos, edges)
    notes = [one.notes for one in items]
    return Inputs([one.pair for one in items], measured, model, bos, notes)


def example_or_default(example: str, model: str) -> str:
    """The example that was named, else the one that comes with the model, if one does."""
    from patchwright.prompts.examples import example_of_model

    return example or example_of_model(model) or ""


def bos_or_default(bos: bool | None, example: str = "", model: str = "") -> bool:
    """Whether the beginning-of-text token comes first: as asked, else as the example has it."""
    from patchwright.prompts.examples import default_bos

    if bos is None:
        return default_bos(model) if example else True
    return bos


def typed_prompt(text: str, chat: bool, system: str) -> "Prompt":
    """A prompt that was typed: with --chat or --system the messages of a chat."""
    from patchwright.prompts.messages import user_chat

    return user_chat(text, system) if text and (chat or system) else text


def pair_and_metric(
    clean: "Prompt",
    corrupt: "Prompt",
    answer: Sequence[str],
    wrong: Sequence[str],
    align: str,
    example: str,
) -> tuple["Pair", str]:
    """The pair that the options describe, an example's or the prompts given, and its metric."""
    from patchwright.prompts.examples import example as find_example
    from patchwright.prompts.pair import Pair

    if example:
        if clean or corrupt or answer or wrong:
            raise InputError("Give either --example or prompts with answers, not both.")
        chosen = find_example(example)
        return chosen.pair, chosen.metric
    if align not in ("exact", "edges"):
        raise InputError(f"--align '{align}': choose exact or edges.")
    for option, value in (("--clean", clean), ("--corrupt", corrupt)):
        if not value:
            raise InputError(
                f"{option} is missing or empty: give a clean and a corrupted prompt, or "
                "--example with a name that `patchwright examples` lists."
            )
    pair = Pair(clean=clean, corrupt=corrupt, answer=answer, wrong=wrong, align=align)
    return pair, "logit_diff"


def parse_numbers(text: str, option: str) -> list[int] | None:
    """'0-3,7,-1' as integers; None where nothing was given. Raises InputError."""
    if not text.strip():
        return None
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().rpartition("-")
        try:
            some = range(int(low), int(high) + 1) if dash and low else [int(part)]
            if (some and max(abs(some[0]), abs(some[-1])) >= MOST_NUMBER) or not some:
                raise ValueError(part)
            found += some
        except ValueError:
            raise InputError(
                f"{option} '{text[:60]}': write numbers below a million as 0-3,7 (-1 is the last)."
            ) from None
    return found


def style_of(given: Mapping[str, Any]) -> "FigureStyle":
    """The options of figures, checked. Raises InputError."""
    return FigureStyle(**{one.name: given[f"plot_{one.name}"] for one in fields(FigureStyle)})


def check_outputs(json: str, csv: str, *figures: str, caption: str = "") -> None:
    """Refuse outputs that cannot be written before anything long is computed."""
    from patchwright.atomic_files import check_writable
    from patchwright.figures.formats import check_format

    if [json, csv, caption].count("-") > 1:
        raise InputError("Only one of --json, --csv and --caption can go to standard output.")
    for figure in filter(None, figures):
        check_format(figure)
    for path in (json, csv, caption, *figures):
        if path and path != "-":
            check_writable(path)


def write_outputs(
    result: "Result",
    json: str,
    csv: str,
    plot: str,
    graph: str = "",
    scatter: str = "",
    intervals: bool = False,
    interval_plot: str = "",
    caption: str = "",
    style: FigureStyle = DEFAULT_STYLE,
    panels: "tuple[str, Sequence[Result]]" = ("", ()),
    notes: "Notes" = (),
) -> None:
    """Write what was asked for; show the result in the terminal if nothing was.

    `panels` are a figure's path and the results that stand in it beside the first; `notes` what a
    file says of the pairs, for the CSV.

    Ends the command with `STOPPED_STATUS` where the result is that of a stopped method.
    """
    from patchwright.storage.export import csv_text

    table = None
    if intervals or interval_plot:
        from patchwright.algorithms.statistics import statistics

        found = statistics(result)
        result, table = found.on(result), found.to_frame()
    if json:
        write(json, result.to_json())
    if csv:
        write(csv, csv_text(result, table, notes))
    figures = [plot, graph, scatter, interval_plot]
    _draw_figures(result, figures, style, panels)
    if caption:
        text = result.caption("latex" if caption.endswith(".tex") else "text", beside=panels[1])
        write(caption, f"{text}\n")
    if json or csv or caption or panels[0] or any(figures):
        for notice in result.warnings:
            echo_err(f"Warning ({notice['code']}): {notice['message']}")
    else:
        from patchwright.figures.terminal import renderable

        console().print(renderable(result))
    if is_stopped(result.warnings):
        raise typer.Exit(STOPPED_STATUS)


def _draw_figures(
    result: "Result",
    figures: Sequence[str],
    style: FigureStyle,
    panels: "tuple[str, Sequence[Result]]",
) -> None:
    """Draw the figures that were asked for."""
    if not (panels[0] or any(figures)):
        return
    from patchwright.figures.chart_figures import draw_intervals, draw_layer_lines, draw_scatter
    from patchwright.figures.matplotlib_figures import draw_result, save_figure

    kinds = (
        lambda one, style: draw_result(one, style=style),
        draw_layer_lines,
        draw_scatter,
        draw_intervals,
    )
    with echo_warnings():
        for kind, path in zip(kinds, figures, strict=True):
            if path:
                save_figure(kind(result, style), path)
        if panels[0]:
            save_figure(draw_result(result, *panels[1], style=style), panels[0])


@contextmanager
def echo_warnings() -> Generator[None]:
    """What is warned of meanwhile is told in its sentence, without the line of code it came from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: echo_err(f"Note: {message}")
        yield
