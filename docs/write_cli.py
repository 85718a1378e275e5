"""Write `docs/cli.md` from the command line's own help; with `--check`, say if it is out of date."""

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "cli.md"
COMMAND = [sys.executable, "-P", "-m", "typer", "patchwright.cli.full", "utils", "docs"]


def main() -> None:
    """Exit status 1 where `--check` finds the page out of date."""
    done = subprocess.run(
        [*COMMAND, "--name", "patchwright"], check=True, stdout=subprocess.PIPE, text=True
    )
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(done.stdout, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != done.stdout:
        sys.exit(f"{PAGE} differs from the command line's help: run `make figures`.")


if __name__ == "__main__":
    main()
