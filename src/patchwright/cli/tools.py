"""Commands around the methods: what there is, whether it is right, how fast, and the page."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchwright.cli import options
from patchwright.cli.output import console, echo
from patchwright.errors import InputError, PatchwrightError, quoted

if TYPE_CHECKING:
    from patchwright.lessons import Lesson
    from patchwright.model.load import Model


Host = Annotated[str, typer.Option(help="Address to listen on.")]
MaxJobs = Annotated[
    int, typer.Option("--max-jobs", "--sweeps", help="Jobs that run at one time.", min=1, max=64)
]


def places(
    model: options.ModelName = "demo",
    device: options.Device = "cpu",
    revision: options.Revision = None,
) -> None:
    """List the places of a model and how they are written."""
    from patchwright.figures.tables import table
    from patchwright.places import HEAD_SITES, NEURON_SITES, SITE_TABLE, n_heads_of

    spec = options.load(model, device, "float32", revision).spec
    layers = f"L0-{spec.n_layers - 1}"
    rows = table("site", "places", "example", "per", "what it is", whole=("site",))
    for site in spec.sites:
        row = SITE_TABLE[site]
        heads = f"H0-{n_heads_of(site, spec) - 1}" if site in HEAD_SITES else ""
        where = f"{layers}{heads}." if row.in_layers else ""
        neurons = f"[0-{spec.d_mlp - 1}]" if site in NEURON_SITES else ""
        inside = ("L0H0." if heads else "L0.") if row.in_layers else ""
        example = f"{inside}{site}{'[5]' if neurons else ''}@-1"
        rows.add_row(site, f"{where}{site}{neurons}", example, " ".join(row.pers), row.meaning)
    console().print(rows, markup=False)


def tokens(
    text: Annotated[str, typer.Argument(help="A prompt.")],
    other: Annotated[str, typer.Argument(help="A second prompt, to compare.")] = "",
    chat: options.Chat = False,
    system: options.System = "",
    bos: options.Bos = True,
    model: options.ModelName = "demo",
    revision: options.Revision = None,
) -> None:
    """Show how a model splits one or two prompts into tokens."""
    from itertools import zip_longest

    from patchwright.figures.tables import Line, table
    from patchwright.prompts.pair import prompt_ids, prompt_notices
    from patchwright.prompts.tokens import token_texts, visible

    tokenizer = options.load(model, "cpu", "float32", revision).tokenizer
    prompts = [
        options.typed_prompt(each, chat, system) for each in (text, other) if each or each is text
    ]
    ids = [prompt_ids(each, tokenizer, bos) for each in prompts]
    runs = ("id", "clean", "id", "corrupted", "") if other else ("id", "token")
    rows = table("position", *runs, right=("id",))
    for position, row in enumerate(zip_longest(*ids)):
        cells: list[str] = []
        for token in row:
            there = token is not None
            cells += (
                [str(token), visible(token_texts([token], tokenizer)[0])] if there else ["", ""]
            )
        differs = ["<- differs"] if other and row[0] != row[1] else []
        rows.add_row(str(position), *map(Line, [*cells, *differs]))
    console().print(rows)
    for notice in prompt_notices(prompts, tokenizer, bos):
        console().print(Line(notice["message"]))


def examples() -> None:
    """List the example pairs.

    Run one with `patchwright patch --example NAME`.
    """
    from patchwright.figures.tables import Line, table
    from patchwright.prompts.examples import examples as all_examples

    names = ("name", "task", "models", "clean", "corrupted", "answer", "wrong")
    rows = table(*names, whole=("name",))
    for one in all_examples():
        pair = one.pair
        prompts, answers = (
            (pair.clean, pair.corrupt),
            (_answers_text(pair.answers), _answers_text(pair.wrongs)),
        )
        texts = one.id, one.task, " ".join(one.models), *map(str, prompts), *answers
        rows.add_row(*map(Line, texts))
    console().print(rows)


def lessons(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Lessons to check: .yaml files, or names of built-in lessons."),
    ] = None,
    device: options.Device = "auto",
) -> None:
    """List the lessons, or check some: run each one and test its texts and questions.

    A lesson of the package is checked in its readings on all models that are on this machine.
    Exit status 1 where something in them is not what the model does.
    """
    from patchwright.figures.tables import Line, table
    from patchwright.lessons import built_in_lessons, lesson_by_model

    if not files:
        names = ("name", "model", "minutes", "title", "what it is about")
        rows = table(*names, whole=("name", "model"))
        for one in (
            one for lesson in built_in_lessons() for one in lesson_by_model(lesson).values()
        ):
            rows.add_row(one.name, one.model, str(one.minutes), Line(one.title), Line(one.about))
        console().print(rows)
        return
    wanted = [one for file in files for one in _find_lessons(file)]
    models = {
        name: options.load(name, device, "float32", None) for name in {one.model for one in wanted}
    }
    faults = [fault for lesson in wanted for fault in _check_lesson(lesson, models[lesson.model])]
    if faults:
        raise typer.Exit(1)


def _find_lessons(file: Path) -> list["Lesson"]:
    """The lesson in a file, or one of the package in its readings on the models that are here."""
    from patchwright.lessons import built_in_lessons, lesson_by_model
    from patchwright.lessons.schema import read_lesson_file
    from patchwright.model.catalog import local_path

    ours = [
        one
        for lesson in built_in_lessons()
        if lesson.name == str(file)
        for one in lesson_by_model(lesson).values()
    ]
    here = [one for one in ours if local_path(one.model) is not None]
    for one in ours:
        if one not in here:
            echo(
                f"{one.name} on {one.model}: not checked, as the model is not on this machine; "
                f"`patchwright models get {one.model}` brings it."
            )
    return here if ours else [read_lesson_file(file)]


def _check_lesson(lesson: "Lesson", model: "Model") -> list[str]:
    """What is wrong with a lesson, as it has been told on standard output too."""
    from patchwright.experiment.run import run
    from patchwright.lessons import check_lesson

    faults = check_lesson(lesson, lambda experiment: run(experiment, model))
    for line in faults or [
        f"{lesson.name} on {lesson.model}: {len(lesson.steps)} steps, all of it holds."
    ]:
        echo(line)
    return faults


def _answers_text(answers: Sequence[str | int]) -> str:
    """A list of answers in a table: the first and the last of many."""
    shown = [repr(item) for item in answers]
    return ", ".join(shown) if len(shown) < 4 else f"{shown[0]} … {shown[-1]}"


def methods(
    json: Annotated[bool, typer.Option("--json", help="As JSON, with every parameter.")] = False,
) -> None:
    """List the methods, or describe them with their parameters as JSON."""
    import json as json_module

    from patchwright.figures.tables import Line, table
    from patchwright.methods import METHODS

    described = METHODS.descriptions()
    if json:
        echo(json_module.dumps(described, ensure_ascii=False, indent=1))
        return
    rows = table("method", "command", "what it does", whole=("method", "command"))
    for one in described:
        rows.add_row(*(Line(str(one[name])) for name in ("name", "command", "does")))
    console().print(rows)


def verify(
    model: Annotated[str, typer.Argument(help="demo, smollm2 or gpt2.")] = "demo",
    device: options.Device = "auto",
    figures: Annotated[
        str, typer.Option(help="A file of figures, instead of those in the package.")
    ] = "",
) -> None:
    """Recompute published figures and compare.

    Exit status 1 where one of them differs.
    """
    from patchwright.verify import published_figures, read_figures, verify_figures

    published = read_figures(Path(figures)) if figures else published_figures(model)
    checks = verify_figures(options.load(model, device, "float32", None), published)
    for check in checks:
        mark = "ok " if check.passed else "BAD"
        echo(f"{mark} {check.name:<34} expected {check.expected:+.4f}  found {check.found:+.4f}")
    failed = sum(not check.passed for check in checks)
    echo(f"{len(checks) - failed} of {len(checks)} figures agree within {published.tolerance:g}.")
    echo(f"Source: {published.source}")
    if failed:
        raise typer.Exit(1)


def bench(
    model: options.ModelName = "demo",
    device: options.Device = "auto",
    tokens: Annotated[int, typer.Option(help="Length of the random prompts.", min=3)] = 15,
    repeat: Annotated[int, typer.Option(help="Number of runs; the median counts.", min=1)] = 3,
) -> None:
    """Time sweeps against one full run for each place."""
    from patchwright.bench import time_sweeps
    from patchwright.model.kernels import kernel_for

    loaded = options.load(model, device, "float32", None)
    products = kernel_for(loaded.network.embed)
    echo(f"{loaded.name} on {loaded.device}, {tokens} tokens, median of {repeat}")
    echo(f"Matrix products: {products}.")
    echo(f"{'sweep':<26}{'places':>7}{'seconds':>10}{'full runs':>11}{'ratio':>8}")
    for row in time_sweeps(loaded, tokens, repeat):
        ratio = row.full_runs / row.seconds
        echo(
            f"{row.name:<26}{row.places:>7}{row.seconds:>10.3f}{row.full_runs:>11.3f}{ratio:>7.1f}x"
        )


def app_(
    model: Annotated[
        str | None,
        typer.Option(
            help="The model that the page opens on; if it is not here it is fetched once, while the "
            "page shows the demo model.",
            show_default="smollm2 where it is here, else demo",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 8501,
    host: Host = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option(help="Another host name of the page, such as a proxy's; may be repeated."),
    ] = None,
    headless: Annotated[bool, typer.Option(help="Do not open a browser.")] = False,
    folder: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder from which visitors may load models; may be repeated.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    lessons: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder with your own lessons, shown under Learn; may be repeated.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    max_jobs: MaxJobs = 2,
    no_store: Annotated[bool, typer.Option("--no-store", help="Do not use the run store.")] = False,
    allow_edits: Annotated[
        bool,
        typer.Option(
            "--allow-edits",
            "--own",
            help="Let every visitor, including remote ones, view, edit and delete all runs.",
        ),
    ] = False,
) -> None:
    """Open the page in a browser."""
    from patchwright.app.server import serve as serve_page
    from patchwright.model.hub import is_hub_name

    if model is not None and not is_hub_name(model):
        raise InputError(
            f"{quoted(model)} is no name that the page can open on: give demo, smollm2, or a hub name "
            "such as gpt2. A folder or a file is typed at the top of the page, under other…."
        )
    passed = ["--max-jobs", str(max_jobs)]
    passed += [] if model is None else ["--model", model]
    passed += ["--no-store"] if no_store else []
    passed += [part for one in folder or () for part in ("--folder", str(one.absolute()))]
    passed += [part for one in lessons or () for part in ("--lessons", str(one.absolute()))]
    serve_page(host, port, name or [], allow_edits, headless or not sys.stdout.isatty(), passed)


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="demo, smollm2, a hub name, a local folder or a .gguf file that requests may name; may be repeated.",
            show_default="demo",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8000,
    host: Host = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the token that requests must send, instead of PATCHWRIGHT_TOKEN."
        ),
    ] = None,
    device: options.Device = "auto",
    max_jobs: MaxJobs = 2,
    queue: Annotated[int, typer.Option(help="Jobs that may wait.", min=1, max=10_000)] = 32,
    seconds: Annotated[float, typer.Option(help="Seconds that a job may run.", min=1)] = 600,
) -> None:
    """Answer experiments over HTTP, as docs/http.md shows.

    Without a token only this machine is answered.
    """
    try:
        from patchwright.server.limits import Limits
        from patchwright.server.serving import serve as serve_http
    except ModuleNotFoundError as missing:
        raise PatchwrightError(
            f"`serve` needs {missing.name}: install it with `pip install 'patchwright[api]'`."
        ) from missing
    limits = Limits(queue=queue, seconds=seconds)
    serve_http(model or ["demo"], host, port, token_file, device, limits, max_jobs)


COMMANDS = (methods, places, tokens, examples, lessons, verify, bench, app_, serve)
