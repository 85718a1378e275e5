"""`python -m patchwright.cli` is `patchwright`."""

from patchwright.cli import main

main()
