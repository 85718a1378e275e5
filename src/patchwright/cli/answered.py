"""What every method's command has besides its method: the run store, and `--experiment`."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import typer

from patchwright.cli.options import ExperimentFile, NoStore, tell, write

if TYPE_CHECKING:
    from patchwright.algorithms.result import Result
    from patchwright.experiment import AnyExperiment
    from patchwright.keep.store import Store

Command = Callable[..., None]


def answered(command: Command) -> Command:
    """`command` with `--no-store`: its experiments are answered from the run store, and kept."""

    @wraps(command)
    def with_store(*, no_store: bool = False, **given: Any) -> None:
        from patchwright.experiment import done_by
        from patchwright.keep.store import Store

        store = None if no_store else Store()
        with done_by(lambda *asked: _answer(store, *asked)):
            command(**given)

    return _with_option(with_store, command, "no_store", NoStore, False)


def written(command: Command) -> Command:
    """`command` with `--experiment`: the first experiment it would do is written down instead."""

    @wraps(command)
    def writing(*, experiment: str = "", **given: Any) -> None:
        from patchwright.experiment import done_by
        from patchwright.files import check_writable

        if not experiment:
            return command(**given)
        if experiment != "-":
            check_writable(experiment)

        def write_down(asked: "AnyExperiment", *_: object) -> "Result":
            write(experiment, lines_of(asked))
            raise typer.Exit

        with done_by(write_down):
            return command(**given)

    return _with_option(writing, command, "experiment", ExperimentFile, "")


def lines_of(experiment: "AnyExperiment") -> str:
    """The experiment as JSON; of a list of pairs one line each, as `run` shares the work out."""
    from patchwright.experiment.types import OnPairs

    if not isinstance(experiment, OnPairs):
        return experiment.model_dump_json() + "\n"
    each = (experiment.model_copy(update={"pairs": pair}) for pair in experiment.pair_list)
    return "".join(f"{one.model_dump_json()}\n" for one in each)


def said(store: "Store") -> None:
    """Tell on standard error what the store has to say, once."""
    for notice in store.notices:
        tell(f"Note: {notice}")
    store.notices.clear()


def when(moment: str) -> str:
    """A moment as the store has it, to the minute."""
    return f"{moment[:10]} {moment[11:16]} UTC"


def _answer(store: "Store | None", *asked: Any) -> "Result":
    from patchwright.keep.answers import answer

    experiment, model, progress, budget = asked
    result, stored = answer(experiment, model, store, progress, budget)
    if store is not None and stored:
        one = store.entry_of(result)
        tell(f"From the run store: run {one.id}, computed {when(one.created)}.")
    if store is not None:
        said(store)
    return result


def _with_option(
    wrapper: Command, command: Command, name: str, kind: Any, default: object
) -> Command:
    """`wrapper` with the options of `command` and one more, as Typer reads them."""
    signature = inspect.signature(command)
    option = inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind
    )
    parameters = [*signature.parameters.values(), option]
    vars(wrapper)["__signature__"] = signature.replace(parameters=parameters)
    wrapper.__annotations__ = {**command.__annotations__, name: kind}
    return wrapper
