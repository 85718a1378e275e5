"""Every way to a run or to its note, as a visitor."""

from pathlib import Path

import pytest

import patchwright as pw
from patchwright.app.access import Access
from patchwright.app.page_controls import HASH_DIGITS
from patchwright.errors import InputError, UnknownRunError
from patchwright.prompts.examples import example
from patchwright.storage.store import Store

NOTE = "secret suspicion"


@pytest.fixture
def kept(demo: pw.Model, tmp_path: Path) -> tuple[Store, list[str]]:
    """A run that the visitor made too, and two others; all have a note of the owner's."""
    store = Store(tmp_path / "store")
    results = [
        pw.patch(demo, example("ioi").pair, site="z", per="layer", layers=[layer])
        for layer in (0, 1, 2)
    ]
    ids = store.save_all(results)
    for one in ids:
        store.note(one, NOTE)
    return store, ids


def visitor(store: Store, *runs: str) -> Access:
    entries = [store.entry(one) for one in runs]
    return Access(store, False, {(one.experiment_hash, one.fingerprint) for one in entries})


def test_a_visitor_lists_their_own_runs_without_notes(kept: tuple[Store, list[str]]) -> None:
    store, ids = kept
    assert visitor(store).entries("", 100) == []
    (entry,) = visitor(store, ids[0]).entries("", 100)
    assert (entry.id, entry.note) == (ids[0], "")
    assert len(Access(store, True).entries("", 100)) == 3
    # What others computed since does not push it out of the list.
    assert [one.id for one in visitor(store, ids[0]).entries("", 1)] == [ids[0]]


def test_a_search_finds_no_word_of_a_note_for_a_visitor(kept: tuple[Store, list[str]]) -> None:
    store, ids = kept
    mine = visitor(store, ids[0])
    assert [one.id for one in mine.entries("Mary z", 100)] == [ids[0]]
    for word in NOTE.split():
        assert mine.entries(word, 100) == []
        assert len(Access(store, True).entries(word, 100)) == 3


def test_the_same_experiment_on_another_model_is_not_theirs(kept: tuple[Store, list[str]]) -> None:
    store, ids = kept
    hash_ = store.entry(ids[0]).experiment_hash
    other = Access(store, False, {(hash_, "another model's fingerprint")})
    assert other.entries("", 100) == []
    with pytest.raises(UnknownRunError):
        other.result(ids[0])


def test_a_run_that_is_not_theirs_is_none(kept: tuple[Store, list[str]], tmp_path: Path) -> None:
    store, ids = kept
    mine = visitor(store, ids[0])
    assert mine.result(ids[0]).method == "patch"
    with pytest.raises(UnknownRunError) as none:
        mine.result("0" * 16)
    for run in (ids[1], ids[1][:4]):
        with pytest.raises(UnknownRunError) as refused:
            mine.result(run)
        assert str(refused.value).partition(":")[2].startswith(" there is no such run here.")
        assert str(store.folder) not in str(refused.value) + str(none.value)
        with pytest.raises(UnknownRunError):
            mine.export(tmp_path / "runs.zip", [ids[0], run])
    store.delete([ids[0]])
    with pytest.raises(UnknownRunError):
        mine.result(ids[0])


def test_an_archive_has_notes_for_the_owner_alone(
    kept: tuple[Store, list[str]], tmp_path: Path
) -> None:
    store, ids = kept
    for access, note in ((visitor(store, ids[0]), ""), (Access(store, True), NOTE)):
        path, other = tmp_path / "runs.zip", Store(tmp_path / f"of {access.own}")
        access.export(path, ids[:1])
        assert (b"secret" in path.read_bytes()) is access.own
        other.import_archive(path)
        assert other.entry(ids[0]).note == note


def test_an_address_opens_an_experiment_and_fewer_digits_do_not(
    kept: tuple[Store, list[str]],
) -> None:
    store, ids = kept
    hash_ = store.entry(ids[1]).experiment_hash
    for access in (visitor(store), Access(store, True)):
        assert access.experiment(hash_[:HASH_DIGITS]).hash == hash_
        for few in range(HASH_DIGITS):
            with pytest.raises(UnknownRunError, match="at least 12 digits"):
                access.experiment(hash_[:few])


def test_a_visitor_changes_nothing(kept: tuple[Store, list[str]], tmp_path: Path) -> None:
    store, ids = kept
    Access(store, True).export(tmp_path / "runs.zip", ids)
    before = store.entries()
    mine = visitor(store, *ids)
    for change in (
        lambda: mine.note(ids[0], "mine"),
        lambda: mine.delete(ids),
        lambda: mine.restore(ids),
        lambda: mine.import_archive(tmp_path / "runs.zip"),
    ):
        with pytest.raises(InputError, match="Only the owner"):
            change()
    assert store.entries() == before
