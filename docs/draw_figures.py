"""Run the commands that the pages of `docs/methods` show, and so draw their figures."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Stop at the first command that fails."""
    for page in sorted((ROOT / "docs" / "methods").glob("*.md")):
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                print(page.name, "$", line)
                command = [sys.executable, "-m", "patchwright.cli", *shlex.split(line)[1:]]
                subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
