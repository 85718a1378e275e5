"""A model on its way from the hub. The hub is a small server of the tests; nothing sleeps."""

import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from checkpoints import save_tiny
from hub_server import HubServer
from patchwright.app import downloads
from patchwright.app.downloads import Download
from patchwright.errors import HubError, PatchwrightError
from patchwright.model.hub import OnBytes, cached, fetch

pytestmark = pytest.mark.filterwarnings("default")

SECONDS = 60
NAME = "owner/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[HubServer]:
    with HubServer(save_tiny(tmp_path / "served", n_embd=512)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE",
                            server.url + "/{repo_id}/resolve/{revision}/{filename}")  # fmt: skip
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch, hub: HubServer, tmp_path: Path) -> Any:
    return hub


def ended(download: Download) -> None:
    """Wait for the end of the thread that fetches."""
    for thread in threading.enumerate():
        if thread.name == f"download {NAME}":
            thread.join(SECONDS)
    assert not download.running
