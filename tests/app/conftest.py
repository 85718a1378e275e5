"""Models for the tests of the page, the page as it is served, and its visitors."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import patchwright as pw
from checkpoints import save_tiny
from page_server import page_served
from patchwright.app import resources
from tiny import loud_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from browser_pages import Visitors


@pytest.fixture(scope="session")
def model() -> pw.Model:
    """In the place of the one that all tests have: its runs differ enough for effects."""
    return loud_model()


@pytest.fixture
def grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A folder that the page was opened to: a model of 4 query heads and 2 key/value heads."""
    folder = save_tiny(tmp_path / "grouped", family="llama")
    monkeypatch.setattr("sys.argv", ["main.py", "--folder", str(tmp_path)])
    resources.options.clear()
    yield str(folder)
    resources.options.clear()


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose sweeps take long enough to be stopped."""
    folder = tmp_path_factory.mktemp("models") / "large"
    return save_tiny(folder, n_layer=6, n_head=8, n_embd=512)


@pytest.fixture(scope="session")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the served page keeps its runs: the user's store is not to be touched."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def address(large: Path, server_home: Path) -> Generator[str]:
    """Of the page, served once for all tests of a process that only visit it."""
    with page_served(server_home, "--folder", str(large.parent), "--sweeps", "2") as url:
        yield url


@pytest.fixture(scope="module")
def visitors(browser: "Browser", address: str) -> "Visitors":
    """Open the page in one browser for the tests of a module."""
    from browser_pages import Visitors

    return Visitors(browser, address)


@pytest.fixture
def visit(visitors: "Visitors") -> "Generator[Visitors]":
    """Opens an address as a new visitor; what the browser complains of fails the test."""
    yield visitors
    visitors.leave()


@pytest.fixture
def page(visit: "Visitors") -> "Page":
    """The first page, at rest."""
    return visit()
