"""Models whose runs differ enough for effects to be shown, and one with grouped queries."""

from collections.abc import Generator
from pathlib import Path

import pytest

import patchwright as pw
from checkpoints import save_tiny
from patchwright.app import work
from tiny import loud_model


@pytest.fixture(scope="session")
def model() -> pw.Model:
    """In the place of the one that all tests have."""
    return loud_model()


@pytest.fixture
def grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A folder that the page was opened to: a model of 4 query heads and 2 key/value heads."""
    folder = save_tiny(tmp_path / "grouped", family="llama")
    monkeypatch.setattr("sys.argv", ["main.py", "--folder", str(tmp_path)])
    work.options.clear()
    yield str(folder)
    work.options.clear()
