"""Run the commands that the pages of `docs/methods` show: draw their figures, write their tables."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import patchwright as pw
from patchwright.prompts.examples import example

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "methods"


BLOCK = re.compile(r"(<!-- not run: [^>]* -->\n)?```sh\n(.*?)```", re.DOTALL)
"""Commands, and the comment that says why they cannot run everywhere."""


def main() -> None:
    """The pages that are named, such as `circuits`, or all and the tables; `--tables`: these alone.

    Stops at the first command that fails.
    """
    names = sys.argv[1:] or sorted(page.stem for page in PAGES.glob("*.md"))
    for name in names:
        if name != "--tables":
            draw(PAGES / f"{name}.md")
    if len(sys.argv) == 1 or "--tables" in names:
        page = PAGES / "attention.md"
        page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


def draw(page: Path) -> None:
    """Run a page's commands."""
    for line in commands_of(page.read_text(encoding="utf-8")):
        print(page.name, "$", line)
        command = [sys.executable, "-P", "-m", "patchwright.cli", *shlex.split(line)[1:]]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def commands_of(text: str) -> list[str]:
    """The commands that a page shows and that run everywhere, each as one line."""
    blocks = [block for not_run, block in BLOCK.findall(text) if not not_run]
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def with_table(text: str) -> str:
    """A page with the table between its marks written again."""
    before, rest = text.split("<!-- table -->\n")
    _, after = rest.split("<!-- end -->")
    return f"{before}<!-- table -->\n{heads_table()}<!-- end -->{after}"


def heads_table() -> str:
    """The heads whose ablation matters most on `ioi`, and their scores on repeated words."""
    model, pair = pw.load_model("demo"), example("ioi").pair
    text = (PAGES / "attention.md").read_text(encoding="utf-8")
    shown = next(line for line in commands_of(text) if "--words" in line)
    options = shlex.split(shown)
    length, words = (options[options.index(name) + 1] for name in ("--length", "--words"))
    scores = pw.head_scores(model, pair, int(length), words=words).arrays
    rows = pw.ablate(model, pair).top(6)
    lines = [
        "| head | effect of zero ablation | induction | duplicate |",
        "| --- | --- | --- | --- |",
    ]
    for layer, head, effect in zip(rows["layer"], rows["head"], rows["effect"], strict=True):
        one, other = (
            float(scores[name].sel(prompt="random", layer=layer, head=head))
            for name in ("induction", "duplicate")
        )
        lines.append(f"| {layer}.{head} | {effect:+.2f} | {one:.2f} | {other:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
