"""`runs`: what the run store has, two runs compared, notes, archives, and what may go."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchwright.cli import options
from patchwright.cli.output import console, echo, write_json
from patchwright.cli.runner import echo_notices, moment_text
from patchwright.errors import InputError, printable_text
from patchwright.figures.style import DEFAULT_STYLE, FigureStyle

if TYPE_CHECKING:
    from patchwright.storage.store import Entry, Failure, Store

app = typer.Typer(
    help="The run store, which keeps every result. Name a run by its id or the beginning of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[
    str, typer.Option("--store", help="Folder of the run store.", show_default="the user's own")
]
Run = Annotated[str, typer.Argument(help="A run's id, or the beginning of it.")]
Runs = Annotated[list[str], typer.Argument(help="Ids of runs, or their beginnings.")]


@app.command("list")
def list_(
    words: Annotated[
        list[str] | None, typer.Argument(help="Words that must all occur in prompt, model or note.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Show at most N runs, the newest first.", min=1)] = 20,
    deleted: Annotated[bool, typer.Option("--deleted", help="Show deleted runs.")] = False,
    failures: Annotated[
        bool, typer.Option("--failures", help="Show experiments of `run` that failed.")
    ] = False,
    json: options.Json = "",
    store: Folder = "",
) -> None:
    """List runs, the newest first; only those with all the words, if any are given."""
    options.check_outputs(json, "")
    with _open_store(store) as opened:
        every = opened.entries(" ".join(words or []), limit, deleted)
        found = opened.failures(limit) if failures else every
    if json:
        name = "failures" if failures else "runs"
        write_json(json, {name: [asdict(one) for one in found]})
    elif not found:
        echo(f"Nothing of the kind in {opened.path}.")
    else:
        console().print(_runs_table(found, failures))


@app.command()
def show(
    run: Run,
    json: options.Json = "",
    csv: options.Csv = "",
    plot: options.Plot = "",
    plot_width: options.PlotWidth = DEFAULT_STYLE.width,
    plot_title: options.PlotTitle = DEFAULT_STYLE.title,
    plot_numbers: options.PlotNumbers = DEFAULT_STYLE.numbers,
    caption: options.Caption = "",
    store: Folder = "",
) -> None:
    """Show a run as its command did, or write it as JSON, CSV or a figure."""
    options.check_outputs(json, csv, plot, caption=caption)
    style = FigureStyle(plot_width, plot_title, plot_numbers)
    with _open_store(store) as opened:
        entry, result = opened.entry(run), opened.get(run)
    if not (json or csv or plot or caption):
        note = f" {entry.note}" if entry.note else ""
        echo(f"Run {entry.id}, {entry.model}, {moment_text(entry.created)}.{note}")
    options.write_outputs(result, json, csv, plot, caption=caption, style=style)


@app.command()
def compare(
    first: Run,
    second: Run,
    json: options.Json = "",
    plot: options.Plot = "",
    plot_width: options.PlotWidth = DEFAULT_STYLE.width,
    plot_title: options.PlotTitle = DEFAULT_STYLE.title,
    plot_numbers: options.PlotNumbers = DEFAULT_STYLE.numbers,
    store: Folder = "",
) -> None:
    """Show two runs side by side, with their difference (second minus first) on one scale."""
    from patchwright.figures.comparison import comparison_grids
    from patchwright.figures.terminal import side_by_side

    options.check_outputs(json, "", plot)
    style = FigureStyle(plot_width, plot_title, plot_numbers)
    with _open_store(store) as opened:
        one, other = opened.get(first), opened.get(second)
    grids = comparison_grids(one, other)
    if json:
        parts = [
            {
                "title": grid.title,
                "unit": grid.unit,
                "rows": grid.rows,
                "columns": grid.columns,
                "values": [[None if x != x else x for x in row] for row in grid.values.tolist()],
            }
            for grid in grids
        ]
        named = {"first": opened.entry(first).id, "second": opened.entry(second).id}
        write_json(json, {**named, "panels": parts})
    if plot:
        from patchwright.figures.matplotlib_figures import draw_comparison, save_figure

        with options.echo_warnings():
            save_figure(draw_comparison(one, other, style), plot)
    if not (json or plot):
        console().print(side_by_side(one, other, grids))


@app.command()
def note(
    run: Run,
    text: Annotated[str, typer.Argument(help="Text of the note; '' removes it.")],
    store: Folder = "",
) -> None:
    """Add a note to a run; `list` searches notes too."""
    with _open_store(store) as opened:
        opened.note(run, text)


@app.command()
def delete(runs: Runs, store: Folder = "") -> None:
    """Delete runs; `restore` brings them back until `prune`."""
    with _open_store(store) as opened:
        ids = opened.delete(runs)
    echo(f"Deleted {len(ids)}. To undo: patchwright runs restore {' '.join(ids)}")


@app.command()
def restore(runs: Runs, store: Folder = "") -> None:
    """Restore deleted runs."""
    with _open_store(store) as opened:
        ids = opened.restore(runs)
    echo(f"Restored {len(ids)}.")


@app.command()
def prune(
    older_than: Annotated[
        int | None, typer.Option(help="Also runs older than N days.", min=0, show_default=False)
    ] = None,
    keep: Annotated[
        int | None, typer.Option(help="Also all but the newest N runs.", min=0, show_default=False)
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them; without it, only say what would be removed.")
    ] = False,
    json: options.Json = "",
    store: Folder = "",
) -> None:
    """Remove deleted runs for good, and old ones if asked. Runs with a note stay, unless deleted."""
    options.check_outputs(json, "")
    with _open_store(store) as opened:
        older = None if older_than is None else timedelta(days=older_than)
        going = opened.prunable(older, keep)
        if yes and going:
            opened.prune(going)
    if json:
        write_json(json, {"pruned": yes, "runs": [asdict(one) for one in going]})
        return
    what = f"{len(going)} runs, {sum(one.size for one in going) / 2**20:.1f} MiB"
    echo(f"Removed {what}." if yes else f"Would remove {what}. Add --yes to do it.")


@app.command()
def export(
    path: Annotated[str, typer.Argument(help="The archive to write, such as runs.zip.")],
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of runs; all runs if none is given.", show_default=False),
    ] = None,
    store: Folder = "",
) -> None:
    """Write runs, with their notes, to one file for `import` on another machine."""
    with _open_store(store) as opened:
        count = opened.export(path, runs or None)
    echo(f"{count} runs are in {path}.")


@app.command("import")
def import_(
    path: Annotated[str, typer.Argument(help="An archive that `export` wrote.")],
    trust_imported: Annotated[
        bool,
        typer.Option("--trust-imported", help="Use these runs as if they had been computed here."),
    ] = False,
    store: Folder = "",
) -> None:
    """Import the runs of an archive: all of them, or none if one is damaged.

    They are marked as imported, and answer no experiment unless they are trusted.
    """
    with _open_store(store) as opened:
        new, known = opened.import_archive(path, trust_imported)
    echo(f"{new} runs taken in, {known} were here already.")


@contextmanager
def _open_store(folder: str) -> "Generator[Store]":
    """The run store; what it has to say is told on standard error once it was asked."""
    from pathlib import Path

    from patchwright.storage.database import FILE_NAME
    from patchwright.storage.store import Store

    if folder and not (Path(folder) / FILE_NAME).exists():
        raise InputError(f"--store '{folder}': there is no run store ({FILE_NAME}) in this folder.")
    store = Store(folder or None)
    yield store
    echo_notices(store)


def _runs_table(found: "Sequence[Entry] | Sequence[Failure]", failures: bool) -> Any:
    from patchwright.figures.tables import Line, table

    names = ("run", "computed", "method", "model", "what", "note")
    rows = table(*(("tried", "why not", "experiment") if failures else names), whole=("run",))
    for one in found:
        # What was typed: no control character of it reaches the terminal.
        rows.add_row(*(Line(printable_text(cell.replace("\n", "↵"))) for cell in _row_cells(one)))
    return rows


def _row_cells(one: "Entry | Failure") -> tuple[str, ...]:
    from patchwright.storage.store import Entry

    moment = moment_text(one.created)
    if not isinstance(one, Entry):
        return moment, one.reason, one.experiment
    stopped = "" if one.whole else "(stopped) "
    imported = "" if one.origin == "computed" else "(imported) "
    return one.id, moment, one.method, one.model, f"{stopped}{imported}{one.about}", one.note
