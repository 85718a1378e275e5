"""The command line with all options of all commands, as the documentation shows it."""

from patchwright.cli import make_app

app = make_app()
