"""The command line: parse, build an experiment, run it, show the result.

Heavy imports wait until a command needs them, so that `--help` is quick. Exit
status: 0 done, 2 wrong input, 1 anything else. Errors go to standard error.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchwright.errors import InputError, PatchwrightError

if TYPE_CHECKING:
    from patchwright.methods.batches import Progress
    from patchwright.methods.result import Result
    from patchwright.model.load import Model
    from patchwright.prompts.pair import Pair

app = typer.Typer(
    help="Which part of a language model caused its answer? Activation patching on GPT-2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ModelName = Annotated[
    str, typer.Option("--model", help="demo, a hub name such as gpt2, or a local folder.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a hub model.", show_default=False)
]
NoBos = Annotated[
    bool, typer.Option("--no-bos", help="Do not put the beginning-of-text token first.")
]
Clean = Annotated[str, typer.Option(help="The prompt that is answered rightly.")]
Corrupt = Annotated[str, typer.Option(help="The prompt that differs in what matters.")]
Answer = Annotated[
    list[str], typer.Option(help="Right next token, with its space: ' Mary'. Repeatable.")
]
Wrong = Annotated[list[str], typer.Option(help="Competing next token. Repeatable.")]
Align = Annotated[str, typer.Option(help="exact, or edges for prompts of unequal token counts.")]
ExampleName = Annotated[
    str, typer.Option("--example", help="Take prompts and answers from this example.")
]
Json = Annotated[str, typer.Option("--json", help="Write the result as JSON; - is stdout.")]
Csv = Annotated[str, typer.Option("--csv", help="Write one row a cell as CSV; - is stdout.")]
Plot = Annotated[str, typer.Option("--plot", help="Draw to a .png, .svg or .pdf file.")]


@app.command()
def patch(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006 - Typer copies it
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    align: Align = "exact",
    site: Annotated[str, typer.Option(help="What is patched; see `places`.")] = "resid_pre",
    per: Annotated[
        str,
        typer.Option(help="position, head, head_position, layer or neuron.", show_default=False),
    ] = "",
    place: Annotated[
        list[str], typer.Option(help="Patch these places together instead of a sweep. Repeatable.")
    ] = [],  # noqa: B006
    direction: Annotated[str, typer.Option(help="denoise or noise.")] = "denoise",
    metric: Annotated[
        str,
        typer.Option(
            help="logit_diff, logit, probability, prob_diff, logprob, logprob_diff, kl or rank.",
            show_default="logit_diff, or the example's",
        ),
    ] = "",
    layers: Annotated[str, typer.Option(help="Such as 0-5,7.", show_default="all")] = "",
    positions: Annotated[str, typer.Option(help="Such as 3,-1.", show_default="all")] = "",
    heads: Annotated[str, typer.Option(help="Such as 0-3.", show_default="all")] = "",
    no_bos: NoBos = False,
    model: ModelName = "demo",
    device: Device = "auto",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
) -> None:
    """Patch place by place and see how far the answer moves.

    Without --json, --csv or --plot the result is shown in the terminal.
    """
    from patchwright import experiment

    check_outputs(json, csv, plot)
    pair, usual_metric = chosen_pair(clean, corrupt, answer, wrong, align, example)
    metric = metric or usual_metric
    loaded = load(model, device, dtype, revision)
    if place:
        result = experiment.patch_together(loaded, pair, place, direction, metric, bos=not no_bos)
    else:
        with progress_bar() as progress:
            result = experiment.patch(
                loaded,
                pair,
                site,
                per or None,
                direction,
                metric,
                bos=not no_bos,
                layers=numbers(layers, "--layers"),
                positions=numbers(positions, "--positions"),
                heads=numbers(heads, "--heads"),
                progress=progress,
            )
    hand_out(result, json, csv, plot)


@app.command()
def places(
    model: ModelName = "demo",
    device: Device = "cpu",
    revision: Revision = None,
) -> None:
    """List the places of a model and how they are written."""
    from rich.table import Table

    from patchwright.places import HEAD_SITES, SITE_MEANINGS, SITES, pers_of

    spec = load(model, device, "float32", revision).spec
    layers, heads = f"L0-{spec.n_layers - 1}", f"H0-{spec.n_heads - 1}"
    table = Table("site", "places", "example", "per", "what it is", box=None, pad_edge=False)
    for site in SITES:
        where = "" if site == "embed" else layers + (heads if site in HEAD_SITES else "") + "."
        neurons = f"[0-{spec.d_mlp - 1}]" if site == "mlp_act" else ""
        inside = "" if site == "embed" else "L0H0." if site in HEAD_SITES else "L0."
        example = f"{inside}{site}{'[5]' if neurons else ''}@-1"
        kinds = " ".join(pers_of(site))
        table.add_row(site, f"{where}{site}{neurons}", example, kinds, SITE_MEANINGS[site])
    console().print(table, markup=False)


@app.command()
def tokens(
    text: Annotated[str, typer.Argument(help="A prompt.")],
    other: Annotated[str, typer.Argument(help="A second prompt, to compare.")] = "",
    no_bos: NoBos = False,
    model: ModelName = "demo",
    revision: Revision = None,
) -> None:
    """Show how a model splits one or two prompts into tokens."""
    from itertools import zip_longest

    from rich.table import Table
    from rich.text import Text

    from patchwright.prompts.tokens import encode_prompt, token_texts, visible

    tokenizer = load(model, "cpu", "float32", revision).tokenizer
    ids = [
        encode_prompt(each, tokenizer, not no_bos) for each in (text, other) if each or each is text
    ]
    table = Table("position", box=None, pad_edge=False)
    for name in ("clean", "corrupted") if other else ("token",):
        table.add_column("id", justify="right")
        table.add_column(name)
    if other:
        table.add_column("")
    for position, row in enumerate(zip_longest(*ids)):
        cells = [
            part
            for token in row
            for part in (
                ("", "")
                if token is None
                else (str(token), visible(token_texts([token], tokenizer)[0]))
            )
        ]
        differs = ["<- differs"] if other and row[0] != row[1] else []
        table.add_row(str(position), *(Text(cell) for cell in [*cells, *differs]))
    console().print(table)


@app.command()
def models() -> None:
    """List the models that can be asked for by name."""
    from rich.table import Table

    from patchwright.model.known import KNOWN

    table = Table(
        "name", "layers", "heads", "width", "parameters", "download", "", box=None, pad_edge=False
    )
    for one in KNOWN:
        download = f"{one.download} MB" if one.download else "none"
        sizes = (str(one.layers), str(one.heads), str(one.d_model), one.parameters, download)
        table.add_row(one.name, *sizes, one.note)
    console().print(table)
    console().print("Any other GPT2LMHeadModel works too: a hub name, or a local folder.")


@app.command()
def examples() -> None:
    """List the example pairs.

    Run one with `patchwright patch --example NAME`.
    """
    from rich.table import Table
    from rich.text import Text

    from patchwright.prompts.examples import examples as library

    table = Table("name", "task", "models", "clean", "corrupted", "answer", "wrong", box=None)
    for one in library():
        pair = one.pair
        answers = [_few(pair.answers), _few(pair.wrongs)]
        texts = (
            one.id,
            one.task,
            " ".join(one.models),
            str(pair.clean),
            str(pair.corrupt),
            *answers,
        )
        table.add_row(*(Text(text) for text in texts))
    console().print(table)


def _few(answers: Sequence[str | int]) -> str:
    """A list of answers in a table: the first and the last of many."""
    shown = [repr(item) for item in answers]
    return ", ".join(shown) if len(shown) < 4 else f"{shown[0]} … {shown[-1]}"


@app.command()
def verify(
    model: Annotated[str, typer.Argument(help="demo or gpt2.")] = "demo",
    device: Device = "auto",
    figures: Annotated[
        str, typer.Option(help="A file of figures instead of those that come with the package.")
    ] = "",
) -> None:
    """Recompute published figures and compare.

    Exit status 1 where one of them differs.
    """
    from patchwright.verify import figures_of, read_figures, verify_figures

    published = read_figures(Path(figures)) if figures else figures_of(model)
    checks = verify_figures(load(model, device, "float32", None), published)
    for check in checks:
        mark = "ok " if check.passed else "BAD"
        typer.echo(
            f"{mark} {check.name:<34} expected {check.expected:+.4f}  found {check.found:+.4f}"
        )
    failed = sum(not check.passed for check in checks)
    typer.echo(
        f"{len(checks) - failed} of {len(checks)} figures agree within {published.tolerance:g}."
    )
    typer.echo(f"Source: {published.source}")
    if failed:
        raise typer.Exit(1)


@app.command()
def bench(
    model: ModelName = "demo",
    device: Device = "auto",
    tokens: Annotated[int, typer.Option(help="Length of the random prompts.", min=3)] = 15,
    repeat: Annotated[int, typer.Option(help="Runs of which the median counts.", min=1)] = 3,
) -> None:
    """Time sweeps against one full run for each place."""
    from patchwright.bench import time_sweeps

    loaded = load(model, device, "float32", None)
    typer.echo(f"{loaded.name} on {loaded.device}, {tokens} tokens, median of {repeat}")
    typer.echo(f"{'sweep':<26}{'places':>7}{'seconds':>10}{'full runs':>11}{'ratio':>8}")
    for row in time_sweeps(loaded, tokens, repeat):
        ratio = row.full_runs / row.seconds
        typer.echo(
            f"{row.name:<26}{row.places:>7}{row.seconds:>10.3f}{row.full_runs:>11.3f}{ratio:>7.1f}x"
        )


@app.command("app")
def open_app(
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    headless: Annotated[bool, typer.Option(help="Do not open a browser.")] = False,
) -> None:
    """Open the page in a browser."""
    import subprocess

    page = Path(__file__).parent / "app" / "main.py"
    options = {
        "server.port": port,
        "server.address": host,
        "server.headless": str(headless or not sys.stdout.isatty()).lower(),
        "browser.gatherUsageStats": "false",
        "server.maxUploadSize": 5,
        "client.toolbarMode": "minimal",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    typer.echo(f"Patchwright opens at http://{host}:{port} (Ctrl-C ends it).")
    command = [sys.executable, "-m", "streamlit", "run", str(page), *flags]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def load(name: str, device: str, dtype: str, revision: str | None) -> "Model":
    """The model that the options name."""
    from patchwright.model.load import load_model

    return load_model(name, device=device, dtype=dtype, revision=revision)


def chosen_pair(
    clean: str,
    corrupt: str,
    answer: Sequence[str],
    wrong: Sequence[str],
    align: str,
    example: str,
) -> tuple["Pair", str]:
    """The pair that the options describe, an example's or the prompts given, and its metric."""
    from patchwright.prompts.examples import example as find
    from patchwright.prompts.pair import Pair

    if example:
        if clean or corrupt or answer or wrong:
            raise InputError("Give either --example or prompts with answers, not both.")
        chosen = find(example)
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


def numbers(text: str, option: str) -> list[int] | None:
    """'0-3,7,-1' as integers; None where nothing was given. Raises InputError."""
    if not text.strip():
        return None
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().rpartition("-")
        try:
            found += range(int(low), int(high) + 1) if dash and low else [int(part)]
        except ValueError:
            raise InputError(
                f"{option} '{text}': write numbers as 0-3,7 (-1 is the last)."
            ) from None
    return found


def check_outputs(json: str, csv: str, plot: str) -> None:
    """Refuse outputs that cannot be written before anything long is computed."""
    from patchwright.figures.formats import check_format
    from patchwright.files import check_writable

    if json == "-" and csv == "-":
        raise InputError("Only one of --json and --csv can go to standard output.")
    if plot:
        check_format(plot)
    for path in (json, csv, plot):
        if path and path != "-":
            check_writable(path)


def hand_out(result: "Result", json: str, csv: str, plot: str) -> None:
    """Write what was asked for; show the result in the terminal if nothing was."""
    from patchwright.files import write_atomic
    from patchwright.keep.export import csv_text

    if json:
        _write(json, result.to_json(), write_atomic)
    if csv:
        _write(csv, csv_text(result), write_atomic)
    if plot:
        result.plot(plot)
    if json or csv or plot:
        for notice in result.warnings:
            typer.echo(f"Warning ({notice['code']}): {notice['message']}", err=True)
    else:
        from patchwright.figures.terminal import shown

        console().print(shown(result))


def _write(path: str, text: str, to_file: Any) -> None:
    if path == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        to_file(path, text)


def console() -> Any:
    """The terminal; wide enough for a heat map where the output goes to a file."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


class progress_bar:
    """A bar on standard error while a sweep runs; nothing where that is no terminal."""

    def __enter__(self) -> "progress_bar":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._bar = Progress(
            "cells",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._bar.start()
        self._task = self._bar.add_task("")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, progress: "Progress") -> None:
        """Show how far the sweep is."""
        self._bar.update(self._task, completed=progress.done, total=progress.total)


def main() -> None:
    """Run the command line; every failure is one message and an exit status."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except PatchwrightError as error:
        fail(str(error), error.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        fail("Stopped; nothing was written.", 1)
    except BrokenPipeError:
        # Whoever read the output has left; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        click_message = getattr(error, "format_message", None)
        if click_message is not None:
            fail(click_message(), getattr(error, "exit_code", 2))
        if os.environ.get("PATCHWRIGHT_DEBUG"):
            raise
        fail(
            f"Something went wrong that should not have: {type(error).__name__}: {error}. "
            "Set PATCHWRIGHT_DEBUG=1 to see where, and please report it.",
            1,
        )


def fail(message: str, status: int) -> None:
    """Say what was wrong on standard error and leave with `status`."""
    typer.echo(f"Error: {message}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
