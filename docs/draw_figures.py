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


def main() -> None:
    """Stop at the first command that fails; with `--tables` write the tables alone."""
    if "--tables" not in sys.argv[1:]:
        for page in sorted(PAGES.glob("*.md")):
            for line in commands_of(page):
                print(page.name, "$", line)
                command = [sys.executable, "-P", "-m", "patchwright.cli", *shlex.split(line)[1:]]
                subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    page = PAGES / "attention.md"
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


def commands_of(page: Path) -> list[str]:
    """The commands that a page shows, each as one line."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def with_table(text: str) -> str:
    """A page with the table between its marks written again."""
    before, rest = text.split("<!-- table -->\n")
    _, after = rest.split("<!-- end -->")
    return f"{before}<!-- table -->\n{heads_table()}<!-- end -->{after}"


def heads_table() -> str:
    """The heads whose ablation matters most on `ioi`, and their scores on repeated words."""
    model, pair = pw.load_model("demo"), example("ioi").pair
    shown = next(line for line in commands_of(PAGES / "attention.md") if "--words" in line)
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
