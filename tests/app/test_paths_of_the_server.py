"""No path of the server reaches a visitor of its page; its owner is told all."""

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants
from streamlit.testing.v1 import AppTest

from patchwright.app import resources, server, text
from patchwright.app.lesson_progress import load_catalog
from patchwright.errors import PatchwrightError
from patchwright.model.load import load_model
from patchwright.storage.store import Store

SECRET = "the-servers-secret-place"
MAIN = Path(server.__file__).with_name("main.py")


def blocked(folder: Path) -> Path:
    """A place where no store can be."""
    (folder / SECRET).write_text("no folder")
    return folder / SECRET / "below"


def no_run(folder: Path) -> None:
    store = Store(folder / SECRET)
    store.fail_all([])
    store.entry("0" * 16)


def no_store(folder: Path) -> None:
    Store(blocked(folder)).fail_all([])


def damaged(folder: Path) -> None:
    store = Store(folder / SECRET)
    store.folder.mkdir()
    store.path.write_bytes(b"no database" * 1000)
    store.folder.chmod(0o500)
    store.fail_all([])
    raise PatchwrightError(" ".join(store.notices))


def no_hub(_: Path) -> None:
    load_model("nobody/has-this")


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("fault", [no_run, no_store, no_hub])
def test_an_error_names_a_path_to_the_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Path], None], own: bool
) -> None:
    monkeypatch.setattr(resources, "options", lambda: resources.Options(1, (), (), True, own))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / SECRET))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PatchwrightError) as raised:
        fault(tmp_path)
    shown = text.error_markdown(raised.value).replace("\\", "").replace("\u2060", "")
    assert shown
    assert (SECRET in shown) is (own and fault is not no_run)


def test_faulty_lessons_are_told_by_name_alone(tmp_path: Path) -> None:
    folder = tmp_path / SECRET / "lessons"
    folder.mkdir(parents=True)
    (folder / "bad.yaml").write_bytes(b"\xff")
    (folder / "worse.yaml").mkdir()
    found = load_catalog([folder, tmp_path / SECRET / "none", folder])
    assert len(found.faults) == 5
    assert SECRET not in " ".join(found.faults)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("own", [True, False])
def test_trouble_with_the_store_is_told_in_full_to_the_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    monkeypatch.setattr(resources, "options", lambda: resources.Options(1, (), (), True, own))
    monkeypatch.setenv("PATCHWRIGHT_HOME", str(blocked(tmp_path)))
    store = resources.store()
    assert store is not None
    store.notices.append(f"The run store {store.path} is damaged.")
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    said = " ".join(one.value for one in page.warning)
    shown = said.replace("\\", "").replace("\u2060", "")
    assert (SECRET in shown) is own
    assert ("The run store of this server has trouble" in shown) is not own
    everything = " ".join(str(getattr(one, "proto", "")) for one in page.main)
    assert own or SECRET not in everything


def test_a_traceback_stays_in_the_log() -> None:
    assert server.SETTINGS["client.showErrorDetails"] == "none"
