"""Write `docs/cli.md` from the command line's own help; with `--check`, say if it is out of date."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "cli.md"
COMMAND = [sys.executable, "-P", "-m", "typer", "patchwright.cli.full", "utils", "docs"]


def page() -> str:
    """The page; in its lists each command has its first sentence, which Typer cuts off."""
    done = subprocess.run(
        [*COMMAND, "--name", "patchwright"], check=True, stdout=subprocess.PIPE, text=True
    )
    sections = re.findall(r"^#+ `([^`]+)`\n\n([^\n]+)\n", done.stdout, re.MULTILINE)
    first = {name: re.split(r"(?<=[.?])\s", text)[0].rstrip(".") for name, text in sections}
    lines: list[str] = []
    group = ""
    for line in done.stdout.splitlines():
        group = heading[1] if (heading := re.match(r"#+ `(.+)`$", line)) else group
        listed = re.match(r"\* `([a-z-]+)`: .+\.\.\.$", line)
        lines.append(f"* `{listed[1]}`: {first[f'{group} {listed[1]}']}." if listed else line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Exit status 1 where `--check` finds the page out of date."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE} differs from the command line's help: run `make figures`.")


if __name__ == "__main__":
    main()
