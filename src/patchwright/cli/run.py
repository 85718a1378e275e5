"""`run`: experiments from a file into a run store."""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from patchwright.cli import options
from patchwright.cli.output import echo, echo_err, progress_bar
from patchwright.cli.runner import echo_notices
from patchwright.errors import InputError, PatchwrightError

if TYPE_CHECKING:
    from patchwright.experiment.base import Experiment
    from patchwright.storage.batch_runner import BatchStatus

MOST_REASONS = 20
"""Failures that are told one by one."""


def run(
    file: Annotated[str, typer.Argument(help="One experiment per line, as JSON; - is stdin.")],
    out: Annotated[
        str, typer.Option(help="Folder of the run store.", show_default="the user's own")
    ] = "",
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    on: Annotated[
        str, typer.Option(help="ray: spread over a Ray cluster.", show_default="this process")
    ] = "",
    workers: Annotated[
        int | None,
        typer.Option(help="Maximum number on the cluster.", show_default="one per GPU or CPU"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Address of the cluster, such as auto.", show_default="RAY_ADDRESS, or a new one"
        ),
    ] = None,
) -> None:
    """Run many experiments and keep their results; run again, it continues where it stopped.

    Write experiments with the option --experiment of a method's command. Exit status:
    1 where a line or an experiment failed, 130 after Ctrl-C.
    """
    from patchwright.storage.store import Store

    do = _choose_runner(on, workers, address, device, dtype)
    experiments, bad = _read_experiments(file)
    lines = list(experiments)
    store = Store(out or None)
    with progress_bar("experiments") as bar:

        def show_progress(status: "BatchStatus") -> bool:
            finished = status.done + len(status.failed)
            # Before anything is finished Ctrl-C ends at once.
            return not finished or bar.show(finished, status.total - status.stored)

        status = do(list(experiments.values()), store=store, progress=show_progress)
    for index in sorted(status.failed)[:MOST_REASONS]:
        echo_err(f"Line {lines[index]} failed: {status.failed[index]}")
    echo_notices(store)
    echo(f"{_summary(status, bad)} In {store.path}")
    if status.stopped:
        echo_err("Stopped: the same command goes on from here.")
        raise typer.Exit(options.STOPPED_STATUS)
    if status.failed or bad:
        raise typer.Exit(1)


def _choose_runner(
    on: str, workers: int | None, address: str | None, device: str, dtype: str
) -> "Callable[..., BatchStatus]":
    """`run_many`, or its like on a cluster. Raises InputError for options that do not go together."""
    from functools import partial

    if on == "ray":
        from patchwright.cluster import run_on_ray

        if device != "auto":
            raise InputError(
                f"--device {device}: on a cluster each worker has a GPU, or else a CPU."
            )
        return partial(run_on_ray, workers=workers, address=address, dtype=dtype)
    if on:
        raise InputError(f"--on '{on}': give ray, or leave it out to run in this process.")
    if workers is not None or address is not None:
        raise InputError("--workers and --address are a cluster's: add --on ray.")
    from patchwright.storage.batch_runner import run_many

    return partial(run_many, device=device, dtype=dtype)


def _summary(status: "BatchStatus", bad: int) -> str:
    parts = [f"{status.done} done", f"{status.stored} there before", f"{len(status.failed)} failed"]
    left = status.total - status.done - status.stored - len(status.failed)
    parts += [f"{left} left"] if left else []
    parts += [f"{bad} bad lines"] if bad else []
    return f"{status.total} experiments: {', '.join(parts)}."


def _read_experiments(file: str) -> "tuple[dict[int, Experiment], int]":
    """The experiments by their lines; how many lines are none, each told on standard error.

    Raises InputError where the file cannot be read or no line is an experiment.
    """
    if file == "-":
        return _parse_experiments(sys.stdin.buffer, "standard input")
    try:
        with open(file, "rb") as stream:
            return _parse_experiments(stream, f"'{file}'")
    except OSError as error:
        raise InputError(f"'{file}' cannot be read: {error.strerror}. Check the path.") from error


def _parse_experiments(stream: Iterable[bytes], name: str) -> "tuple[dict[int, Experiment], int]":
    from patchwright.methods import METHODS

    found: dict[int, Experiment] = {}
    bad = 0
    for number, line in enumerate(stream, 1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        try:
            if text:
                found[number] = METHODS.parse(text)
        except PatchwrightError as error:
            bad += 1
            echo_err(f"Line {number}: {error}")
    if not found:
        raise InputError(
            f"No line of {name} is an experiment. `patchwright patch … --experiment FILE` writes "
            "some."
        )
    return found, bad


COMMANDS = (run,)
