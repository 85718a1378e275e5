"""The notebooks of the documentation, run from first to last."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from timeouts import SECONDS

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)  # pyright: ignore[reportUnknownMemberType]


def printed(notebook: NotebookNode) -> str:
    """All that its cells show, as text."""
    shown = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    ]
    return "\n".join(shown)


def run(name: str, folder: Path) -> str:
    notebook = read(FOLDER / name)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        resources={"metadata": {"path": str(folder)}},
        kernel_name="python3",
    )
    client.execute()
    return printed(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_valid_and_stored_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)  # pyright: ignore[reportUnknownMemberType]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert f"({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_first_session_shows_what_its_text_says(tmp_path: Path) -> None:
    shown = run("first-patching.ipynb", tmp_path)
    assert re.search(r"L0H0\.z looks from the last token at +John", shown)
    assert re.search(r"L3H1\.z looks from the last token at +Mary", shown)
    alone = re.search(r"one by one: \[(.*)\]", shown)
    together = re.search(r"together: (.*)", shown)
    assert alone is not None
    assert together is not None
    assert sum(map(float, alone[1].split(","))) < float(together[1])
    assert (tmp_path / "stream.png").stat().st_size > 10_000


def test_two_hundred_pairs_show_what_the_text_says(tmp_path: Path) -> None:
    shown = run("two-hundred-pairs.ipynb", tmp_path)
    differ = re.search(r"(\d+) of 12 heads differ from zero", shown)
    large = re.search(r"(\d+) move more than 5 %", shown)
    assert differ is not None
    assert large is not None
    assert int(differ[1]) > 2 * int(large[1])
    assert int(large[1]) == 4
    assert (tmp_path / "heads.json").is_file()
