"""The commands of `docs/runs.md`, one after the other, as a reader types them."""

import shlex
from pathlib import Path

import pytest

from command import Command, command_in
from patchwright.keep.store import Store

PAGE = Path(__file__).parents[1] / "docs" / "runs.md"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_in(capsys, monkeypatch)


def test_every_command_on_the_page_works(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    lines = [line.strip() for line in page.splitlines() if line.startswith("    patchwright ")]
    assert len(lines) == 21
    for line in lines:
        if "compare" in line and len(Store().entries()) == 1:
            command("patch", "--example", "ioi", "--site", "z", "--direction", "noise")
        ids = [one.id for one in Store().entries() + Store().entries(deleted=True)]
        text, _, target = line.replace("3f2a91", ids[0] if ids else "").partition(" >")
        _, *arguments = shlex.split(text.replace("77be02", ids[-1] if ids else ""))
        done = command(*arguments)
        assert done.status == 0, (line, done.err)
        if target:
            with open(target.removeprefix(">").strip(), "a", encoding="utf-8") as stream:
                stream.write(done.out)
    assert Path("first.json").read_bytes() == Path("second.json").read_bytes()
    assert len(Store("runs").entries()) == 3


def test_the_pages_python_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {}
    exec(code, names)
    assert repr(names["tally"]).startswith("Tally(total=2, stored=0, done=2")
    assert "effect" in vars(names["result"])["arrays"]
