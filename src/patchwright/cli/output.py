"""What commands write: lines, files, tables, and how far their work is."""

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from patchwright.errors import printable_text

if TYPE_CHECKING:
    from patchwright.algorithms.batches import Progress


def echo_err(text: str) -> None:
    """A line on standard error; what somebody typed or a file holds does not act on a terminal."""
    print(printable_text(text), file=sys.stderr, flush=True)


def echo(text: str) -> None:
    """A line on standard output, as `echo_err` writes one on standard error."""
    # Typer's own `echo` writes UTF-8 to a stream that takes ASCII alone.
    print(printable_text(text), flush=True)


def write(path: str, text: str) -> None:
    """Write `text` to a file; - is standard output. Raises OutputError."""
    from patchwright.atomic_files import write_atomic

    if path == "-":
        # A document is UTF-8 wherever it goes; the stream's own encoding is for what people read.
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
    else:
        write_atomic(path, text)


def write_json(path: str, document: object) -> None:
    """Write a document in one line, as `write` does."""
    write(path, json.dumps(document, ensure_ascii=False) + "\n")


def console() -> Any:
    """The terminal, or for a file or a pipe 160 columns unless COLUMNS says how many."""
    from rich.console import Console

    wide = not (sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit())
    return Console(width=160 if wide else None, highlight=False)


class progress_bar:
    """While a method runs: a bar on standard error (where that is a terminal), and Ctrl-C.

    The first Ctrl-C lets the batch under way finish and stops the method, which keeps
    what it has; before anything is finished, and the second time, it ends at once.
    """

    def __init__(self, what: str = "cells") -> None:
        self._what = what

    def __enter__(self) -> "progress_bar":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._bar = Progress(
            self._what,
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._bar.start()
        self._task = self._bar.add_task("")
        self._started = self._stopping = False
        self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)
        self._bar.stop()

    def __call__(self, progress: "Progress") -> bool:
        """Show how far the method is; False stops it."""
        return self.show(progress.done, progress.total)

    def show(self, done: int, total: int) -> bool:
        """Show that so much of all is finished; False stops the work."""
        self._started = True
        self._bar.update(self._task, completed=done, total=total)
        return not self._stopping

    def _on_interrupt(self, *_: object) -> None:
        if self._stopping or not self._started:
            raise KeyboardInterrupt
        self._stopping = True
        echo_err("Stopping after this batch; Ctrl-C again ends at once.")
