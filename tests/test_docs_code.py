"""Every command and every piece of Python in the documentation, as a reader types it.

Blocks of one page run in their order, in one folder, on the demo model. A block that cannot
run here has a comment before it, `<!-- not run: why -->`; its commands are parsed all the same.
A block with a title is written to a file of that name.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.main import get_command

from command import patchwright
from patchwright.cli.full import app
from patchwright.storage.store import Store

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    # The page of commands is the help itself.
    *sorted(page for page in DOCS.rglob("*.md") if page.name != "cli.md"),
]
RUNS = DOCS / "runs.md"

BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]*) -->\n\n?)?"
    r'^```(?P<language>\S*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
LANGUAGES = {"sh", "python", "text", "yaml", "json", "console", "nginx", "toml", "csv"}
"""All that a block may say it is: none is left out by a word nobody thought of."""

RUN_IDS = ("3f2a91", "77be02")
"""How the pages write the ids of the first and the last run in the store."""


class Block(NamedTuple):
    language: str
    text: str
    title: str | None
    why_not: str | None


def blocks_of(page: Path) -> list[Block]:
    return [
        Block(found["language"], found["text"], found["title"], found["why"])
        for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands_in(block: str) -> Iterator[str]:
    """Its lines, those that go on joined, without comments."""
    for line in block.replace("\\\n", " ").splitlines():
        bare = re.sub(r"(^|\s)# .*", "", line).strip()
        if bare:
            yield bare


def with_ids(line: str) -> str:
    if not any(written in line for written in RUN_IDS):
        return line
    ids = [run.id for run in Store().entries() + Store().entries(deleted=True)]
    return line.replace(RUN_IDS[0], ids[0]).replace(RUN_IDS[1], ids[-1])


def type_in(line: str, folder: Path) -> None:
    """Do what the shell would: `|` between our own commands, `>` and `>>` to a file."""
    text, redirected, target = with_ids(line).partition(" >")
    shown = None
    for part in re.split(r" \| (?=patchwright )", text):
        program, *arguments = shlex.split(part)
        assert program == "patchwright", f"{line}: say why this is not run"
        done = patchwright(*arguments, cwd=folder, stdin=shown)
        assert done.returncode == 0, (line, done.stderr)
        shown = done.stdout
    if redirected:
        mode = "a" if target.startswith(">") else "w"
        path = folder / target.removeprefix(">").strip()
        with path.open(mode, encoding="utf-8") as stream:
            stream.write(shown or "")


def parse(line: str) -> None:
    """Without doing it: every command and option is one that there is, every value one it takes."""
    program, *arguments = shlex.split(line.split(" | ")[0].split(" >")[0])
    while re.fullmatch(r"[A-Z_]+=\S*", program) and arguments:
        program, *arguments = arguments
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
    elif program == "python" and arguments[0].endswith(".py"):
        assert (ROOT / arguments[0]).is_file(), line
    elif program == "patchwright":
        command = get_command(app)
        while arguments and hasattr(command, "commands"):
            command = vars(command)["commands"][arguments.pop(0)]
        if "--help" not in arguments:
            command.make_context("patchwright", arguments)


def run_page(page: Path, folder: Path) -> dict[str, object]:
    """Do all that `page` tells to type, in `folder`; the names that its Python leaves."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks_of(page):
        lines = list(commands_in(block.text)) if block.language == "sh" else []
        if block.why_not is not None:
            assert block.why_not.strip(), f"say why this is not run: {block.text}"
            for line in lines:
                parse(line)
            continue
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        for line in lines:
            type_in(line, folder)
        if block.language == "python":
            exec(compile(block.text, str(page), "exec"), names)
    return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader types: with the folders that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    for name in ("docs/methods", "models"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if page != RUNS], ids=named)
def test_what_a_page_tells_to_type_works(page: Path, folder: Path) -> None:
    run_page(page, folder)


def test_what_the_page_of_runs_tells_to_type_does_what_it_says(folder: Path) -> None:
    names = run_page(RUNS, folder)
    assert Path("first.json").read_bytes() == Path("second.json").read_bytes()
    assert len(Store("runs").entries()) == 4
    assert repr(names["status"]).startswith("BatchStatus(total=2, stored=1, done=1")
    assert "effect" in vars(names["result"])["arrays"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = blocks_of(page)
    assert len(re.findall(r"^\s*```", text, re.MULTILINE)) == 2 * len(found)
    assert {block.language for block in found} <= LANGUAGES
    assert "\n    patchwright " not in BLOCK.sub("", text), "commands stand in blocks: they are run"
