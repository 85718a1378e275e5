"""How a command's experiments are done: answered from the run store, or written down for `run`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from patchwright.cli.output import echo_err, progress_bar, write

if TYPE_CHECKING:
    from patchwright.algorithms.result import Result
    from patchwright.experiment.base import Experiment
    from patchwright.model.load import Model
    from patchwright.storage.store import Store


@dataclass(frozen=True)
class StoreRunner:
    """With a store, or without; `written` is the file that the first experiment goes to instead."""

    store: "Store | None"
    written: str = ""

    @classmethod
    def from_options(cls, no_store: bool, written: str = "") -> "StoreRunner":
        """As the options say. Raises OutputError where nothing can be written there."""
        from patchwright.atomic_files import check_writable
        from patchwright.storage.store import Store

        if written and written != "-":
            check_writable(written)
        return cls(None if no_store or written else Store(), written)

    def __call__(
        self, experiment: "Experiment", model: "Model", bar: progress_bar | None = None
    ) -> "Result":
        """The experiment's result; ends the command where it is written down instead."""
        from patchwright.storage.run_cached import run_cached

        if self.written:
            write(self.written, experiment_lines(experiment))
            raise typer.Exit
        result, stored = run_cached(experiment, model, self.store, bar)
        if self.store is not None and stored:
            one = self.store.entry_of(result)
            echo_err(f"From the run store: run {one.id}, computed {moment_text(one.created)}.")
        if self.store is not None:
            echo_notices(self.store)
        return result

    def with_model(
        self, model: "Model", bar: progress_bar | None = None
    ) -> "Callable[[Experiment], Result]":
        """The same on one model."""
        return lambda experiment: self(experiment, model, bar)


def experiment_lines(experiment: "Experiment") -> str:
    """The experiment as JSON; of a list of pairs one line each, as `run` shares the work out."""
    from patchwright.experiment.base import OnPairs

    if not isinstance(experiment, OnPairs):
        return experiment.model_dump_json() + "\n"
    each = (experiment.model_copy(update={"pairs": pair}) for pair in experiment.pair_list)
    return "".join(f"{one.model_dump_json()}\n" for one in each)


def echo_notices(store: "Store") -> None:
    """Tell on standard error what the store has to say, once."""
    for notice in store.notices:
        echo_err(f"Note: {notice}")
    store.notices.clear()


def moment_text(moment: str) -> str:
    """A moment as the store has it, to the minute."""
    return f"{moment[:10]} {moment[11:16]} UTC"
