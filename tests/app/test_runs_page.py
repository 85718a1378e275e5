"""The Library: find, see, compare, note, delete, undo, export, import; without a browser."""

import io
import re
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import patchwright as pw
from app_pages import MAIN, one_view, parameters_of, sent, words, work_under_way, workbench
from patchwright.app import resources, url_state
from patchwright.app.access import Access
from patchwright.app.run_list import dates, run_rows, time_in_words, toggled
from patchwright.app.views import example_list, run_panel, runs
from patchwright.errors import ArchiveError, InputError
from patchwright.prompts.examples import example, examples
from patchwright.storage.store import Store
from timeouts import SECONDS
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
        page.checkbox(key=f"tick-{one}").check().run()
    assert not page.exception
    return page


def listed(page: AppTest) -> list[str]:
    return [str(one.key).removeprefix("tick-") for one in page.checkbox]


def pictures(page: AppTest) -> list[str]:
    found = (
        re.search(r'<img class="pw-thumb" .*alt="(.*)">', one.proto.body)
        for one in page.get("html")
    )
    return [one[1] for one in found if one]


NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("created", "words"),
    [
        ("2026-03-01T09:05:59.123456+00:00", "today 9:05 UTC"),
        ("2026-03-01T00:00:00.000000+00:00", "today 0:00 UTC"),
        ("2026-02-28T23:59:59.000000+00:00", "yesterday 23:59 UTC"),
        ("2026-02-27T14:00:00.000000+00:00", "27 February 14:00 UTC"),
        ("2025-12-31T14:00:00.000000+00:00", "31 December 2025 14:00 UTC"),
        ("2026-03-01T01:05:00.000000+02:00", "yesterday 23:05 UTC"),
    ],
)
def test_a_date_is_in_words(created: str, words: str) -> None:
    assert time_in_words(created, NOW) == words


def test_rows_of_one_question_in_one_minute_have_names_of_their_own(
    kept: tuple[Store, list[str]],
) -> None:
    entry = kept[0].entry(kept[1][0])
    at = "2026-03-01T09:05:{}+00:00"
    entries = [
        replace(entry, id="a" * 12, created=at.format("01"), model="demo"),
        replace(entry, id="b" * 12, created=at.format("59"), model="gpt2"),
        replace(entry, id="c" * 12, created="2026-03-01T09:06:00+00:00"),
    ]
    other = replace(entry, id="d" * 12, created=at.format("02"), about="another question")
    assert dates(run_rows([*entries, other], {}), NOW) == [
        "today 9:05 UTC · aaaaaaaa",
        "today 9:05 UTC · bbbbbbbb",
        "today 9:06 UTC",
        "today 9:05 UTC",
    ]


def test_a_count_says_what_was_searched() -> None:
    assert runs.count_text(1, "") == "1 run, the newest first."
    assert runs.count_text(2, "mary") == "2 runs with all these words."
    assert runs.count_text(0, " x ") == "No run has all these words."
    assert runs.count_text(0, " ") == "Nothing is kept yet: run an experiment."
    assert runs.count_text(runs.MOST_LISTED, "") == "the newest 1,000 runs, the newest first."


def test_a_row_is_ticked_whole_and_its_tick_taken_away_whole() -> None:
    assert toggled(["a"], ["b", "c"]) == ["a", "b", "c"]
    assert toggled(["a", "c"], ["b", "c"]) == ["a"]


def traces(demo: pw.Model, **changes: Any) -> list[pw.Result]:
    asked: list[dict[str, Any]] = [{"site": "mlp_out", "window": 3}, {"site": "resid_post"}]
    pair = example("capital").pair
    return [
        pw.trace(demo, pair.clean, "France", answer=pair.answer, samples=2, **{**one, **changes})
        for one in asked
    ]


def test_the_maps_of_one_trace_are_one_row_and_other_traces_are_others(
    demo: pw.Model, home: Path
) -> None:
    store = Store()
    mlp, stream = (store.save(one) for one in traces(demo))
    patched = store.save(pw.patch(demo, example("capital").pair, per="layer"))
    noisier, other = (store.save(one) for one in traces(demo, noise=5.0))
    entries = store.entries()
    found = run_rows(entries, owned(store).experiments(entries))
    # The stream's map is first, as on the tab, whichever was done first.
    assert [one.ids for one in found] == [[other, noisier], [patched], [stream, mlp]]
    assert (
        found[-1].title
        == "Which layers, at which tokens, bring back “Paris” after noise on “France”?"
    )
    assert "demo · 2 maps · trace resid_post" in found[-1].details_text()
    # Of what this version cannot read nothing is known but what is written in the list.
    unread = run_rows(entries, {})
    assert [one.ids for one in unread] == [[one.id] for one in entries]
    assert unread[0].title == entries[0].about


def test_what_is_not_as_usual_with_a_run_is_said_in_its_row(kept: tuple[Store, list[str]]) -> None:
    store, ids = kept
    entry = replace(store.entry(ids[0]), whole=False, origin="imported", note="look <here>")
    (row,) = run_rows([entry], {})
    assert row.details_text().endswith("· stopped before its end · imported · note: look <here>")
    assert "stopped" not in run_rows([store.entry(ids[0])], {})[0].details_text()


@on_the_page
@pytest.mark.usefixtures("own")
def test_pictures_of_large_runs_come_too_and_a_run_that_is_damaged_has_none(
    kept: tuple[Store, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ids = kept
    monkeypatch.setattr(runs, "LARGE", 0)
    assert len(pictures(one_view("runs"))) == 3
    runs._picture_html.clear()  # pyright: ignore[reportPrivateUsage]
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE runs SET arrays = x'00' WHERE id = ?", (ids[0],))
    page = one_view("runs")
    assert len(pictures(page)) == 2
    tick(page, ids[0])
    assert "is not what was written" in words(page, "error")
    page.button(key="delete-runs").click().run()
    assert set(listed(page)) == set(ids[1:])


def test_only_runs_of_a_visitors_own_tell_them_their_experiments(
    kept: tuple[Store, list[str]],
) -> None:
    store, ids = kept
    entries = store.entries()
    mine = store.entry(ids[1])
    visitor = Access(store, own=False, seen={(mine.experiment_hash, mine.fingerprint)})
    assert list(visitor.experiments(entries)) == [ids[1]]
    assert set(owned(store).experiments(entries)) == set(ids)


@on_the_page
@pytest.mark.usefixtures("own")
def test_runs_are_found_by_their_words_the_newest_first(kept: tuple[Store, list[str]]) -> None:
    _, ids = kept
    page = one_view("runs")
    assert listed(page) == ids[::-1]
    assert [one.label.partition(" · ")[0] for one in page.checkbox] == [
        "Which layers bring back “Paris” instead of “Rome”?",
        "Which attention layers does “Mary” need to stay ahead of “John”?",
        "Which attention layers bring back “Mary” instead of “John”?",
    ]
    assert all(re.search(r" · (to|yester)day .* UTC$", one.label) for one in page.checkbox)
    assert "demo · patch z layer noise logit_diff: When Mary" in words(page, "caption")
    assert [one.split(",")[0] for one in pictures(page)] == 3 * ["Map of 6 × 1 cells"]
    page.text_input(key="search").set_value("noise z Mary").run()
    assert set(listed(page)) == {ids[0], ids[1]}  # "denoise" has the word too
    assert "2 runs with all these words" in words(page, "caption")
    page.text_input(key="search").set_value("nothing of the kind").run()
    assert listed(page) == []
    assert "No run has all these words" in words(page, "caption")


@on_the_page
@pytest.mark.usefixtures("own")
def test_one_run_is_shown_and_two_are_compared(kept: tuple[Store, list[str]]) -> None:
    _, ids = kept
    page = tick(one_view("runs"), ids[0])
    (shown,) = sent(page)
    assert [len(one["values"]) for one in shown["maps"]] == [6]
    assert "Computed in" in words(page, "caption")
    tick(page, ids[1])
    assert [one["maps"][0]["title"] for one in sent(page)] == ["first", "second", "second − first"]
    assert len({one["maps"][0]["limit"] for one in sent(page)}) == 1
    assert words(page, "warning") == "These two differ in the direction (A → B; B → A)."
    page.checkbox(key=f"tick-{ids[0]}").uncheck().run()
    tick(page, ids[2])
    said = words(page, "warning")
    assert (
        "differ in the prompts, the direction (B → A; A → B) and what is changed (head output;"
        in said
    )
    assert "they have no difference" in said
    assert [one["maps"][0]["title"] for one in sent(page)] == ["first", "second"]
    page.button(key="clear-runs").click().run()
    assert not any(one.value for one in page.checkbox)
    assert sent(page) == []


@on_the_page
@pytest.mark.usefixtures("own")
def test_the_maps_of_a_trace_are_shown_and_compared_together(demo: pw.Model, home: Path) -> None:
    store = Store()
    early, late = (store.save_all(traces(demo, **more)) for more in ({}, {"noise": 5.0}))
    page = tick(one_view("runs"), early[1])
    assert [one["maps"][0]["title"] for one in sent(page)] == [
        "Hidden state",
        "MLP (3 layers at a time)",
    ]
    tick(page, late[1])
    assert len(sent(page)) == 6
    assert "second − first" in words(page, "caption")
    page.button(key="delete-runs").click().run()
    assert "4 runs deleted." in words(page, "markdown")


@on_the_page
@pytest.mark.usefixtures("own")
def test_what_is_selected_is_in_the_address(kept: tuple[Store, list[str]]) -> None:
    _, ids = kept
    page = tick(one_view("runs", search="mary"), ids[0])
    parameters = {"model": "demo", "search": "mary", "picked": ids[0]}
    assert parameters_of(page) == parameters
    page = one_view("runs", **parameters)
    assert [one.value for one in page.checkbox] == [False, True]
    assert len(sent(page)) == 1
    page = one_view("runs", picked=f"{'ab' * 8}~{ids[2]}")
    assert "1 selected run is not in this list" in words(page, "caption")
    with pytest.raises(InputError, match="a run is named by at least 12 digits"):
        url_state.read_parameters("runs", {"picked": "<b>"})


@on_the_page
@pytest.mark.usefixtures("own")
def test_a_note_is_kept_and_found_and_its_change_undone(kept: tuple[Store, list[str]]) -> None:
    store, ids = kept
    page = tick(one_view("runs"), ids[2])
    page.text_input(key=f"note-{ids[2]}").set_value("figure <2> *of*").run()
    assert store.entry(ids[2]).note == "figure <2> *of*"
    assert "note: figure <2> *of*" in words(page, "caption")
    page.text_input(key="search").set_value("FIGURE").run()
    assert listed(page) == [ids[2]]
    page.text_input(key="search").set_value("").run()
    assert "Note changed." in words(page, "markdown")
    page.button(key="undo-change").click().run()
    assert store.entry(ids[2]).note == ""
    assert page.text_input(key=f"note-{ids[2]}").value == ""


@on_the_page
@pytest.mark.usefixtures("own")
def test_a_note_that_is_too_long_stays_in_its_field_and_its_length_is_said(
    kept: tuple[Store, list[str]],
) -> None:
    store, ids = kept
    page = tick(one_view("runs"), ids[2])
    page.text_input(key=f"note-{ids[2]}").set_value("n" * 1001).run()
    assert "The note has 1,001 characters, and at most 1,000 are kept" in words(page, "warning")
    assert page.text_input(key=f"note-{ids[2]}").value == "n" * 1001
    assert store.entry(ids[2]).note == ""


@on_the_page
@pytest.mark.usefixtures("own")
def test_a_deletion_can_be_undone(kept: tuple[Store, list[str]]) -> None:
    _, ids = kept
    page = tick(one_view("runs"), ids[0], ids[2])
    page.button(key="delete-runs").click().run()
    assert listed(page) == [ids[1]]
    assert "2 runs deleted." in words(page, "markdown")
    page.button(key="undo-change").click().run()
    assert set(listed(page)) == set(ids)
    assert "deleted" not in words(page, "markdown")


@on_the_page
def test_on_a_public_server_a_visitor_sees_and_changes_nothing_of_others(
    kept: tuple[Store, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "options", lambda: resources.Options(1, (), (), True, False))
    page = one_view("runs")
    assert listed(page) == []
    assert "Others do not see this list" in words(page, "caption")
    store, ids = kept
    store.note(ids[1], "the owner's secret note")
    mine = store.entry(ids[1])
    page.session_state["seen_runs"] = {(mine.experiment_hash, mine.fingerprint)}
    page.session_state["picked"] = [ids[0]]
    page.run()
    assert listed(page) == [ids[1]]
    assert sent(page) == []
    tick(page, ids[1])
    assert len(sent(page)) == 1
    assert not [one for one in page.button if one.key in ("delete-runs", "undo-change")]
    assert [one.key for one in page.text_input] == ["search"]
    assert not page.get("file_uploader")
    assert "secret" not in str(page.session_state) + repr(page.main)
    page.text_input(key="search").set_value("secret").run()
    assert listed(page) == []


@on_the_page
@pytest.mark.usefixtures("own")
def test_a_run_opens_on_its_tab_or_is_read_only_here(
    kept: tuple[Store, list[str]], model: pw.Model
) -> None:
    store, ids = kept
    strange = store.save(pw.patch(model, pair_of([1, 2, 3], [1, 4, 3]), site="z", per="head"))
    page = tick(one_view("runs"), strange)
    assert "settings that no page offers" in words(page, "caption")
    assert page.button(key="open-run").disabled
    page.checkbox(key=f"tick-{strange}").uncheck().run()
    tick(page, ids[1])
    page.button(key="open-run").click().run()
    assert page.session_state["go_to"] == "patch"
    asked = {name: page.session_state[name] for name in ("site", "per", "direction", "clean")}
    clean = str(example("ioi").pair.clean)
    assert asked == {"site": "z", "per": "layer", "direction": "noise", "clean": clean}


def test_examples_are_by_subject_and_found_by_all_their_words() -> None:
    every = example_list.examples_by_subject("")
    assert {one.id: one.task for one in examples()} == {
        one.id: subject for subject, group in every.items() for one in group
    }
    assert example_list.examples_by_subject("DECIDE demo towers alone") == {
        "fact": [example("same-city")]
    }
    assert example_list.examples_by_subject("nothing of the kind") == {}


def test_an_example_opens_on_the_chosen_model_if_it_suits_it() -> None:
    assert example_list.model_for(example("ioi"), "gpt2") == "gpt2"
    assert example_list.model_for(example("gpt2-weekday"), "demo") == "gpt2"


@on_the_page
def test_examples_have_names_of_their_own_and_open_on_explore(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "options", lambda: resources.Options(1, (), (), False, True))
    page = one_view("runs", shelf="examples")
    names = [one.label for one in page.button if str(one.key).startswith("open-example-")]
    assert len(names) == len(set(names)) == len(examples())
    assert "Suits demo, gpt2, smollm2." in words(page, "caption")
    page.text_input(key="search").set_value("planted induction").run()
    assert "1 example with all these words." in words(page, "caption")
    page.button(key="open-example-planted-induction").click().run()
    now = page.session_state
    assert (now["go_to"], now["model"]) == ("patch", "planted-induction")
    assert now["clean"] == str(example("planted-induction").pair.clean)


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
    content = run_panel.runs_archive(owned(store), ids[:2])
    other = Store(tmp_path / "other")
    assert runs.import_runs(owned(other), content) == "2 new runs; 0 were here already."
    assert runs.import_runs(owned(other), content) == "0 new runs; 2 were here already."
    assert run_panel.runs_archive(owned(other), ids[:2]) == content


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no archive", bytes(5000)])
def test_what_is_no_archive_is_refused_in_a_sentence(content: bytes, home: Path) -> None:
    with pytest.raises(ArchiveError, match="is not a sound archive of runs"):
        runs.import_runs(owned(Store()), content)


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
        runs.import_runs(owned(Store()), whole.getvalue())


def test_a_compressed_archive_is_refused(home: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("runs.json", bytes(10**6))
    with pytest.raises(ArchiveError, match="it is compressed"):
        runs.import_runs(owned(Store()), whole.getvalue())
