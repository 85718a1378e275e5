"""The command line: parse, build an experiment, run it, show the result.

Heavy imports wait until a command needs them, so that `--help` is quick. Exit
status: 0 done, 2 wrong input, 130 stopped by Ctrl-C (what was finished by then is
written, with the warning `stopped`), 1 anything else. Errors go to standard error.

options   what commands share: options, loading, outputs, progress
runner    how experiments are done: answered from the run store, or written down for `run`
methods   one command a method, built from what the methods declare; `command`: what one
          is; `field_option`: a field of an experiment as an option
explain   several sweeps put into sentences
models    models offered by name: listed, fetched, removed
runs      the run store: what is in it, comparing, archives
run       `run`: many experiments, which goes on where it was ended
build     pairs from templates and sentences, as a file
known_answers  models with a planted circuit, and what every method must find in them
tools     everything else: places, tokens, examples, verify, bench, app
"""

import os
import sys
from typing import TYPE_CHECKING, Never

import typer

from patchwright.cli import build, explain, known_answers, models, run, runs, tools
from patchwright.cli.options import STOPPED_STATUS, OneName
from patchwright.cli.output import echo_err
from patchwright.errors import PatchwrightError
from patchwright.methods import command_summaries
from patchwright.streams import mute, prepare_streams

if TYPE_CHECKING:
    from patchwright.experiment.registry import Methods


def make_app(every: "Methods | None" = None, only: str | None = None) -> typer.Typer:
    """The command line with a command for each of these methods, or of all there are.

    With `only` all other commands come without their options, which take most of the time until
    something is shown, and methods are imported where one of theirs is meant.
    """
    made = typer.Typer(
        help="Which part of a language model caused its answer? Activation patching from the command line.",
        epilog="Ctrl-C keeps what is finished, with a warning; a second one ends at once. Exit status: "
        "0 done, 2 wrong input, 130 stopped by Ctrl-C, 1 anything else.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    listed = command_summaries()
    if only is None or only in listed:
        from patchwright.cli.methods import commands
        from patchwright.methods import METHODS

        for one in commands(every or METHODS):
            whole = only in (None, one.name)
            made.command(one.name, help=one.summary, cls=OneName)(
                one.callback() if whole else _placeholder
            )
    else:
        for name, summary in listed.items():
            made.command(name, help=summary)(_placeholder)
    for command in (*explain.COMMANDS, *run.COMMANDS, *tools.COMMANDS, *known_answers.COMMANDS):
        name = command.__name__.removesuffix("_").replace("_", "-")
        whole = only in (None, name)
        made.command(name, help=command.__doc__, cls=OneName)(command if whole else _placeholder)
    for name, group in {"models": models.app, "runs": runs.app, "build": build.app}.items():
        if only in (None, name):
            made.add_typer(group, name=name)
        else:
            made.command(name, help=group.info.help)(_placeholder)
    return made


def _placeholder() -> None:
    """A command that is listed, and not the one that was asked for."""


def main() -> None:
    """Run the command line; every failure is one message and an exit status."""
    prepare_streams()
    try:
        asked = make_app(only=next(iter(sys.argv[1:]), ""))
        status = asked(standalone_mode=False) or 0
        sys.stdout.flush()
        sys.exit(status)
    except PatchwrightError as error:
        fail(str(error), error.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        fail("Stopped.", STOPPED_STATUS)
    except BrokenPipeError:
        # Whoever read the output has left.
        mute(sys.stdout)
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            _fail_unforeseen(error)
        # Writing to an open stream failed: a message about a file's path has its own error.
        mute(sys.stdout)
        fail(f"The output cannot be written: {error.strerror}. Write it to another place.", 1)
    except Exception as error:
        click_message = getattr(error, "format_message", None)
        if click_message is not None:
            # Typer says of a choice what pydantic says of any value.
            fail(click_message().replace("Value error, ", ""), getattr(error, "exit_code", 2))
        _fail_unforeseen(error)


def fail(message: str, status: int) -> Never:
    """Say what was wrong on standard error and leave with `status`."""
    try:
        echo_err(f"Error: {message}")
    except OSError:
        mute(sys.stderr)
    sys.exit(status)


def _fail_unforeseen(error: Exception) -> Never:
    if os.environ.get("PATCHWRIGHT_DEBUG"):
        raise error
    fail(
        f"Something went wrong that should not have: {type(error).__name__}: {error}. "
        "Set PATCHWRIGHT_DEBUG=1 to see where, and please report it.",
        1,
    )
