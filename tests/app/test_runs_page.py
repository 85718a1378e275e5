"""The page Runs: find, see, compare, note, delete, undo, export, import; without a browser."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import patchwright as pw
from app_pages import MAIN, one_view, words, work_under_way, workbench
from patchwright.app import resources
from patchwright.app.access import Access
from patchwright.app.views import runs
from patchwright.errors import ArchiveError
from patchwright.prompts.examples import example
from patchwright.storage.store import Store
from patience import SECONDS
from tiny import pair_of

on_the_page = pytest.mark.filterwarnings("default")


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "options", lambda: resources.Options(1, (), (), True, True))


@pytest.fixture
def kept(demo: pw.Model, home: Path) -> tuple[Store, list[str]]:
    """Three runs: two of one kind, and one of another."""
    store = Store()
    results = [
        pw.patch(demo, example("ioi").pair, site="z", per="layer", direction="denoise"),
        pw.patch(demo, example("ioi").pair, site="z", per="layer", direction="noise"),
        pw.patch(demo, example("capital").pair, site="resid_pre", per="layer"),
    ]
    return store, [store.save(one) for one in results]


def owned(store: Store) -> Access:
    return Access(store, own=True)


def tick(page: AppTest, *ids: str) -> AppTest:
    for one in ids:
        page.checkbox(key=f"tick-{one}").check()
    page.run()
    assert not page.exception
    return page


def listed(page: AppTest) -> list[str]:
    return [str(one.key).removeprefix("tick-") for one in page.checkbox]


@on_the_page
@pytest.mark.usefixtures("own")
def test_runs_are_found_by_their_words_the_newest_first(kept: tuple[Store, list[str]]) -> None:
    _, ids = kept
    page = one_view("runs")
    assert listed(page) == ids[::-1]
    page.text_input(key="search").set_value("noise z Mary").run()
    assert set(listed(page)) == {ids[0], ids[1]}  # "denoise" has the word too
    page.text_input(key="search").set_value("nothing of the kind").run()
    assert listed(page) == []
    assert "No run has all these words" in words(page, "info")


@on_the_page
@pytest.mark.usefixtures("own")
def test_one_run_is_shown_and_two_are_compared(kept: tuple[Store, list[str]]) -> None:
    _, ids = kept
    page = tick(one_view("runs"), ids[0])
    assert "restored by copying a head's output" in words(page, "markdown")
    tick(page, ids[1])
    assert "2 runs chosen" in words(page, "markdown")
    assert "second − first" in words(page, "caption")
    page.checkbox(key=f"tick-{ids[0]}").uncheck()
    tick(page, ids[2])
    assert "they have no difference" in words(page, "warning")


@on_the_page
@pytest.mark.usefixtures("own")
def test_a_note_is_kept_and_found(kept: tuple[Store, list[str]]) -> None:
    store, ids = kept
    page = tick(one_view("runs"), ids[2])
    page.text_input(key=f"note-{ids[2]}").set_value("figure <2> *of*").run()
    assert store.entry(ids[2]).note == "figure <2> *of*"
    assert "note: figure <2> *of*" in words(page, "caption")
    page.text_input(key="search").set_value("FIGURE").run()
    assert listed(page) == [ids[2]]


@on_the_page
@pytest.mark.usefixtures("own")
def test_a_deletion_can_be_undone(kept: tuple[Store, list[str]]) -> None:
    _, ids = kept
    page = tick(one_view("runs"), ids[0], ids[2])
    page.button(key="delete-runs").click().run()
    assert listed(page) == [ids[1]]
    assert "2 runs deleted" in words(page, "info")
    page.button(key="undo-delete").click().run()
    assert set(listed(page)) == set(ids)
    assert "deleted" not in words(page, "info")


@on_the_page
def test_on_a_public_server_a_visitor_sees_and_changes_nothing_of_others(
    kept: tuple[Store, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "options", lambda: resources.Options(1, (), (), True, False))
    page = one_view("runs")
    assert listed(page) == []
    store, ids = kept
    store.note(ids[1], "the owner's secret note")
    mine = store.entry(ids[1])
    page.session_state["seen_runs"] = {(mine.experiment_hash, mine.fingerprint)}
    page.run()
    assert listed(page) == [ids[1]]
    tick(page, ids[1])
    assert "1 run chosen" in words(page, "markdown")
    assert not [one for one in page.button if one.key in ("delete-runs", "undo-delete")]
    assert [one.key for one in page.text_input] == ["search"]
    assert len(page.expander) == 0
    assert "secret" not in str(page.session_state) + repr(page.main)
    page.text_input(key="search").set_value("secret").run()
    assert listed(page) == []


@on_the_page
@pytest.mark.usefixtures("own")
def test_a_run_opens_on_its_page_or_is_shown_here(
    kept: tuple[Store, list[str]], model: pw.Model
) -> None:
    store, ids = kept
    strange = store.save(pw.patch(model, pair_of([1, 2, 3], [1, 4, 3]), site="z", per="head"))
    page = one_view("runs")
    page.button(key=f"open-{strange}").click().run()
    assert "No page's controls can say this run" in words(page, "warning")
    assert "by copying a head's output" in words(page, "markdown")
    page.button(key=f"open-{ids[1]}").click().run()
    assert page.session_state["go_to"] == "patch"
    asked = {name: page.session_state[name] for name in ("site", "per", "direction", "clean")}
    clean = str(example("ioi").pair.clean)
    assert asked == {"site": "z", "per": "layer", "direction": "noise", "clean": clean}


@on_the_page
def test_without_a_store_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "options", lambda: resources.Options(1, (), (), False, True))
    assert "started without a run store" in words(one_view("runs"), "info")


@on_the_page
def test_a_store_that_cannot_be_opened_costs_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("PATCHWRIGHT_HOME", str(blocked / "below"))
    page = AppTest.from_file(str(MAIN), default_timeout=SECONDS)
    page.query_params["example"] = "capital"
    page.query_params["direction"] = "noise"
    said: list[str] = []
    page.run()
    while under_way := work_under_way(page):
        said.append(words(page, "warning"))
        assert all(job.wait(SECONDS) for job in under_way)
        page.run()
    assert not page.exception
    assert workbench(page)["inspector"]["sentence"].startswith("Copied from B into A")
    for _ in range(3):
        said.append(words(page, "warning"))
        page.run()
    assert sum("The run store of this server has trouble" in one for one in said) == 1
    assert "has trouble" not in words(page, "warning")


def test_an_archive_goes_out_and_comes_back(kept: tuple[Store, list[str]], tmp_path: Path) -> None:
    store, ids = kept
    content = runs.exported(owned(store), ids[:2])
    other = Store(tmp_path / "other")
    assert runs.imported(owned(other), content) == "2 new runs; 0 were here already."
    assert runs.imported(owned(other), content) == "0 new runs; 2 were here already."
    assert runs.exported(owned(other), ids[:2]) == content


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no archive", bytes(5000)])
def test_what_is_no_archive_is_refused_in_a_sentence(content: bytes, home: Path) -> None:
    with pytest.raises(ArchiveError, match="is not a sound archive of runs"):
        runs.imported(owned(Store()), content)


def test_an_archive_that_unpacks_into_too_much_is_refused_before_it_is_unpacked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    np.savez_compressed(packed, np.zeros(2**20))
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("runs/aaaaaaaaaaaaaaaa.npz", packed.getvalue())
    monkeypatch.setattr(runs, "MOST_UNPACKED", 2**22)
    with pytest.raises(ArchiveError, match="take 8 MiB when unpacked"):
        runs.imported(owned(Store()), whole.getvalue())


def test_a_compressed_archive_is_refused(home: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("runs.json", bytes(10**6))
    with pytest.raises(ArchiveError, match="it is compressed"):
        runs.imported(owned(Store()), whole.getvalue())
