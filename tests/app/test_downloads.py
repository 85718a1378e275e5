"""A model on its way to this machine. The hub is a small server of the tests; nothing sleeps."""

import threading
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from checkpoints import save_tiny
from hub_server import HubServer
from patchwright.app.downloads import Download
from patchwright.errors import HubError, PatchwrightError
from patchwright.model import catalog
from patchwright.model.catalog import fetch_model
from patchwright.model.hub import cached_folder
from patchwright.model.package_index import OnBytes
from timeouts import SECONDS

NAME = "owner/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[HubServer]:
    with HubServer(save_tiny(tmp_path / "served", n_embd=512)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


class Followed:
    """The pieces as they come; `at` is called with each, in the thread that fetches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pieces: list[tuple[int, int]] = []
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.hold_at = -1

        def followed(name: str, progress: OnBytes) -> Path:
            def note(done: int, total: int) -> bool | None:
                goes_on = progress(done, total)
                self.pieces.append((done, total))
                if 0 <= self.hold_at <= done:
                    self.reached.set()
                    assert self.go_on.wait(SECONDS)
                return goes_on

            return fetch_model(name, note)

        monkeypatch.setattr(catalog, "fetch_model", followed)


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> Generator[Followed]:
    one = Followed(monkeypatch)
    yield one
    one.go_on.set()


def wait_for_the_end(download: Download) -> None:
    for thread in threading.enumerate():
        if thread.name == f"download {NAME}":
            thread.join(SECONDS)
    assert not download.running


def test_a_download_tells_its_bytes_and_leaves_a_whole_model(
    hub: HubServer, followed: Followed
) -> None:
    download = Download(NAME)
    assert (download.running, download.bytes) == (False, (0, 0))
    download.start()
    wait_for_the_end(download)
    whole = sum(len(data) for data in hub.files.values())
    assert download.error is None, str(download.error)
    assert download.bytes[0] == download.bytes[1] <= whole
    assert [done for done, _ in followed.pieces] == sorted(done for done, _ in followed.pieces)
    assert len({done for done, _ in followed.pieces}) > 3
    assert cached_folder(NAME, None) is not None


def test_a_download_stops_when_asked_and_goes_on_when_started_again(
    hub: HubServer, followed: Followed
) -> None:
    followed.hold_at = constants.DOWNLOAD_CHUNK_SIZE
    download = Download(NAME)
    download.start()
    assert followed.reached.wait(SECONDS)
    assert download.running
    assert not download.stopping
    done, total = download.bytes
    assert 0 < done < total
    download.stop()
    assert download.stopping
    followed.go_on.set()
    wait_for_the_end(download)
    assert isinstance(download.error, HubError)
    assert "was stopped" in str(download.error)
    assert cached_folder(NAME, None) is None
    asked = len(hub.asked)
    download.start()
    assert not download.stopping
    wait_for_the_end(download)
    assert download.error is None
    assert cached_folder(NAME, None) is not None
    assert "config.json" not in {name for name, _ in hub.asked[asked:]}, "what came whole is kept"


def test_starting_what_runs_starts_nothing(hub: HubServer, followed: Followed) -> None:
    followed.hold_at = 0
    download = Download(NAME)
    starters = [threading.Thread(target=download.start) for _ in range(8)]
    for one in starters:
        one.start()
    for one in starters:
        one.join(SECONDS)
    assert followed.reached.wait(SECONDS)
    running = [one for one in threading.enumerate() if one.name == f"download {NAME}"]
    assert len(running) == 1
    followed.go_on.set()
    wait_for_the_end(download)
    assert download.error is None


def test_a_hub_that_is_down_is_a_sentence_and_the_next_try_works(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The hub's client tries again five times, and would wait 23 seconds in all.
    at_once = SimpleNamespace(sleep=lambda _: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time", at_once)
    hub.broken = True
    download = Download(NAME)
    download.start()
    wait_for_the_end(download)
    assert isinstance(download.error, HubError)
    assert "could not be reached" in str(download.error)
    hub.broken = False
    download.start()
    wait_for_the_end(download)
    assert download.error is None


def test_a_model_that_the_hub_does_not_have_is_named(hub: HubServer) -> None:
    download = Download("owner/nothing")
    download.start()
    for thread in threading.enumerate():
        if thread.name == "download owner/nothing":
            thread.join(SECONDS)
    assert "The hub has no model 'owner/nothing'" in str(download.error)


def test_what_should_not_happen_is_one_sentence_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(name: str, progress: OnBytes) -> Path:
        raise OSError("a secret path")

    monkeypatch.setattr(catalog, "fetch_model", fails)
    download = Download(NAME)
    download.start()
    wait_for_the_end(download)
    assert isinstance(download.error, PatchwrightError)
    assert NAME in str(download.error)
    assert "secret" not in str(download.error)
    assert "secret" in caplog.text
