"""The run store: exact, searchable, undone, shared, and honest about what goes wrong."""

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import patchwright as pw
from full_disk import limited_files
from handmade_results import baseline, made, numbered
from patchwright.algorithms.result import Result
from patchwright.atomic_files import home
from patchwright.errors import InputError, StoreError, UnknownRunError
from patchwright.storage.database import FILE_NAME
from patchwright.storage.serialization import record_of, result_in
from patchwright.storage.store import Store
from tiny import pair_of

ANY_ARRAY = hnp.arrays(
    st.one_of(
        *(st.just(np.dtype(name)) for name in ("f8", "f4", "f2", "i8", "u1", "?", ">f8")),
        st.just(np.dtype("U5")),
    ),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


def kept(number: int, **changes: Any) -> Result:
    """A result to keep, of an experiment of its own."""
    return numbered([[number / 7, np.nan, -0.0, np.inf]], number, **changes)


def assert_same(one: Result, other: Result) -> None:
    """Equal bit for bit."""
    assert other.to_json() == one.to_json()
    assert list(one.arrays) == list(other.arrays)
    for name, array in one.arrays.items():
        again = other.arrays[name]
        assert (array.name, array.dims) == (again.name, again.dims)
        pairs = [(array, again), *((array[at], again[at]) for at in array.coords)]
        assert list(array.coords) == list(again.coords)
        for left, right in pairs:
            assert left.dims == right.dims
            assert left.dtype == right.dtype
            assert left.values.tobytes() == right.values.tobytes()


def every_method(model: pw.Model) -> Iterator[Result]:
    pair = pair_of([1, 2, 3], [1, 4, 3])
    yield pw.patch(model, [pair, pair_of([5, 2, 3], [5, 4, 3])], metric="rank")
    yield pw.patch(model, pair, "z", order="attribution", max_exact=3)
    yield pw.patch_together(model, pair, ["L0H1.z"])
    yield pw.trace(model, [1, 2, 3], [1], [7], samples=2)
    yield pw.logit_lens(model, pair)
    yield pw.head_scores(model, pair, length=4, repeats=1)
    yield pw.attention(model, pair, 0, 1)
    scored = pw.edge_attribution(model, pair)
    yield scored
    circuit = pw.Circuit.choose(scored, model, 4)
    yield pw.evaluate_circuit(model, pair, circuit, n_random=1)


def test_results_of_every_method_come_back_bit_for_bit(model: pw.Model) -> None:
    store = Store()
    for result in every_method(model):
        run = store.save(result)
        assert_same(result, store.get(run))


@given(ANY_ARRAY)
def test_any_array_comes_back_bit_for_bit(values: np.ndarray[Any, Any]) -> None:
    dims = [f"d{i}" for i in range(values.ndim)]
    coords = {dim: np.arange(size) * 3 for dim, size in zip(dims, values.shape, strict=True)}
    array = xr.DataArray(values, dims=dims, coords=coords, name="free")
    whole = kept(1)
    result = replace(whole, arrays={**whole.arrays, "free": array})
    again = result_in(record_of(result, "now")).arrays["free"]
    assert again.dtype == values.dtype
    assert again.values.tobytes() == values.tobytes()
    assert all(again[dim].dtype == array[dim].dtype for dim in dims)
    xr.testing.assert_identical(again, array)


def test_a_run_answers_its_own_experiment_on_its_own_model_alone(model: pw.Model) -> None:
    store, pair = Store(), pair_of([1, 2, 3], [1, 4, 3])
    result = pw.patch(model, pair)
    store.save(result)
    asked = pw.Patch.of(result.experiment)
    found = store.find(asked, model.fingerprint, "cpu")
    assert found is not None
    assert_same(result, found)
    assert store.known(model.fingerprint, "cpu") == {asked.hash}
    assert store.entry_of(found).id == store.entry_of(result).id == record_of(result, "now").id
    other = asked.model_copy(update={"direction": "noise"})
    for one, fingerprint, device in (
        (asked, "sha256:other", "cpu"),
        (asked, model.fingerprint, "cuda:0"),
        (other, model.fingerprint, None),
    ):
        assert store.find(one, fingerprint, device) is None
        assert not store.has(one, fingerprint, device)


def test_whether_a_run_is_kept_is_asked_without_decoding_it(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, result = Store(), pw.patch(model, pair_of([1, 2, 3], [1, 4, 3]))
    asked = pw.Patch.of(result.experiment)
    assert not store.has(asked, model.fingerprint, "cpu")
    run = store.save(result)
    monkeypatch.setattr("patchwright.storage.store.result_in", lambda _: pytest.fail("decoded"))
    assert store.has(asked, model.fingerprint, "cpu")
    store.delete([run])
    assert not store.has(asked, model.fingerprint, "cpu")


def test_a_run_of_other_numbers_is_listed_but_answers_nothing(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, result = Store(), pw.patch(model, pair_of([1, 2], [3, 2]))
    run = store.save(result)
    monkeypatch.setattr(pw.Patch, "numbers", pw.Patch.numbers + 1)
    asked = pw.Patch.of(result.experiment)
    assert store.find(asked, model.fingerprint) is None
    assert store.known(model.fingerprint) == set()
    assert [one.id for one in store.entries()] == [run]
    again = pw.patch(model, pair_of([1, 2], [3, 2]))
    assert store.save(again) != run
    assert store.find(asked, model.fingerprint) is not None


def test_a_run_of_another_release_answers_as_long_as_its_methods_numbers_stay(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    monkeypatch.setattr("patchwright.algorithms.result.version", lambda _: "0.0.1")
    result = pw.patch(model, pair_of([1, 2], [3, 2]))
    store.save(result)
    monkeypatch.undo()
    assert store.find(pw.Patch.of(result.experiment), model.fingerprint) is not None


def test_a_sweep_is_found_in_whatever_order_its_cells_were_computed(model: pw.Model) -> None:
    store, pair = Store(), pair_of([1, 2, 3], [1, 4, 3])
    run = store.save(pw.patch(model, pair, order="attribution"))
    plain = pw.patch(model, pair)
    found = store.find(pw.Patch.of(plain.experiment), model.fingerprint)
    assert found is not None
    assert found.patched.equals(plain.patched)
    assert store.save(plain) == run
    first = pw.patch(model, pair, order="attribution", max_exact=1)
    assert store.save(first) != run  # the cells that are computed then depend on the order


def test_a_stopped_run_is_kept_but_answers_nothing(model: pw.Model) -> None:
    store, pair = Store(), pair_of([1, 2, 3], [1, 4, 3])
    stopped = pw.patch(model, pair, "mlp_act", "neuron", layers=[0, 1], progress=lambda _: False)
    asked = pw.Patch.of(stopped.experiment)
    run = store.save(stopped)
    assert store.find(asked, model.fingerprint) is None
    assert not store.entry(run).whole
    whole = pw.patch(model, pair, "mlp_act", "neuron", layers=[0, 1])
    assert store.save(whole) == run
    assert store.save(stopped) == run  # does not take the whole one's place
    found = store.find(asked, model.fingerprint)
    assert found is not None
    assert_same(whole, found)


def test_runs_are_searched_by_words_of_prompt_method_model_and_note() -> None:
    store = Store()
    kinds = {
        "first": kept(1, pairs={"clean": "Grüße an Mary", "corrupt": "b", "answer": "c"}),
        "second": kept(
            2,
            pairs=[
                {"clean": "x", "corrupt": "y", "answer": "c"},
                {"clean": [3], "corrupt": [4], "answer": 5},
            ],
        ),
    }
    ids = {name: store.save(result) for name, result in kinds.items()}
    store.note(ids["second"], "for the PAPER, 100 % sure_")
    found = {words: [one.id for one in store.entries(words)] for words in (
        *("", "grüsse mary", "MARY patch", "mary lens", "paper", "% sure_", "resid_pre"), ids["first"],
    )}  # fmt: skip
    assert found == {
        "": [ids["second"], ids["first"]],
        "grüsse mary": [ids["first"]],
        "MARY patch": [ids["first"]],
        "mary lens": [],
        "paper": [ids["second"]],
        "% sure_": [ids["second"]],
        "resid_pre": [ids["second"], ids["first"]],
        ids["first"]: [ids["first"]],
    }
    assert [one.id for one in store.entries(limit=1)] == [ids["second"]]
    assert store.entry(ids["second"]).about.endswith(": x (1 of 2 pairs)")


def test_a_beginning_of_an_id_names_a_run_if_it_is_the_only_one() -> None:
    store = Store()
    ids = store.save_all([kept(i) for i in range(20)])
    assert store.entry(ids[3][:10]).id == ids[3]
    first = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)
    with pytest.raises(UnknownRunError, match="several runs begin like this"):
        store.get(first)
    for name in ("", "nothing", "%"):
        with pytest.raises(UnknownRunError, match="runs list"):
            store.get(name)


def test_deleting_is_undone_until_pruned() -> None:
    store = Store()
    one, two = store.save_all([kept(1), kept(2)])
    store.note(two, "keep me")
    assert store.delete([one[:12]]) == [one]
    assert [entry.id for entry in store.entries()] == [two]
    assert [entry.id for entry in store.entries(deleted=True)] == [one]
    assert store.known("sha256:0") == {store.entry(two).experiment_hash}
    store.restore([one])
    assert {entry.id for entry in store.entries()} == {one, two}
    store.delete([one])
    assert store.save(kept(1)) == one  # computed again: it is back
    assert {entry.id for entry in store.entries()} == {one, two}
    store.delete([one])
    store.prune(store.prunable())
    assert [entry.id for entry in store.entries()] == [two]
    with pytest.raises(UnknownRunError):
        store.restore([one])


def test_a_failing_delete_deletes_nothing() -> None:
    store = Store()
    run = store.save(kept(1))
    with pytest.raises(UnknownRunError):
        store.delete([run, "nothing"])
    assert [entry.id for entry in store.entries()] == [run]


def test_pruning_takes_the_old_and_the_many_but_nothing_with_a_note() -> None:
    store = Store()
    ids = [store.save(kept(i)) for i in range(5)]
    days = [datetime.now(UTC) - timedelta(days=10 - 2 * i) for i in range(5)]
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.executemany(
            "UPDATE runs SET created = ? WHERE id = ?",
            [(day.isoformat(), one) for day, one in zip(days, ids, strict=True)],
        )
    store.note(ids[0], "from the paper")
    assert store.prunable() == []
    old = store.prunable(older=timedelta(days=5))
    assert {one.id for one in old} == {ids[1], ids[2]}
    assert {one.id for one in store.prunable(keep=1)} == {ids[1], ids[2], ids[3]}
    store.prune(old)
    assert {one.id for one in store.entries()} == {ids[0], ids[3], ids[4]}


def test_a_note_stays_when_its_run_is_computed_again() -> None:
    store = Store()
    run = store.save(kept(1))
    store.note(run, "mine")
    store.save(replace(kept(1), seconds=9.0))
    assert (store.entry(run).note, store.entry(run).seconds) == ("mine", 9.0)


def test_the_experiments_of_runs_are_read_by_their_ids_at_once(model: pw.Model) -> None:
    store = Store()
    assert store.experiments(["0" * 16]) == {}
    results = [pw.patch(model, pair_of([1, 2], [one, 2])) for one in (3, 4)]
    ids = store.save_all(results)
    assert store.experiments([*ids, "0" * 16]) == {
        run: result.experiment for run, result in zip(ids, results, strict=True)
    }
    assert store.experiments(ids[:1]).keys() == {ids[0]}


def test_a_failure_is_kept_until_its_experiment_succeeds(model: pw.Model) -> None:
    store, result = Store(), pw.patch(model, pair_of([1, 2], [3, 2]))
    asked = pw.Patch.of(result.experiment)
    store.fail_all([(asked, "One sentence.")])
    store.fail_all([(asked, "Another sentence.")])
    (failure,) = store.failures()
    assert (failure.experiment_hash, failure.reason) == (asked.hash, "Another sentence.")
    store.save(result)
    assert store.failures() == []


def test_the_store_is_where_the_environment_says_and_only_its_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHWRIGHT_HOME", str(tmp_path / "a" / "b"))
    Store().save(kept(1))
    with closing(sqlite3.connect(tmp_path / "a" / "b" / FILE_NAME)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home().iterdir()}
    assert files[FILE_NAME] == 0o600
    assert set(files.values()) == {0o600}
    assert stat.S_IMODE(home().stat().st_mode) == 0o700
    monkeypatch.delenv("PATCHWRIGHT_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert home().name == "patchwright"


def test_looking_makes_no_store(home: Path) -> None:
    store = Store()
    assert (store.entries(), store.failures(), store.known("x")) == ([], [], set())
    assert not home.exists()


@pytest.mark.parametrize("damage", ["noise", "torn", "header"])
def test_a_damaged_file_is_kept_aside_and_a_new_store_begun(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    store.save_all([kept(i) for i in range(40)])
    before = store.path.read_bytes()
    spoiled = {
        "noise": bytes(reversed(before)),
        "torn": before[: len(before) // 2],
        "header": before[:100] + b"\xff" * 4000 + before[4100:],
    }[damage]
    store.path.write_bytes(spoiled)
    run = store.save(kept(99))
    assert [one.id for one in Store(tmp_path).entries()] == [run]
    (aside,) = tmp_path.glob("runs.damaged-*.sqlite3")
    assert aside.read_bytes() == spoiled
    (said,) = store.notices
    assert f"It is kept as {aside.name}, and a new store was begun" in said


def test_damage_that_sqlite_does_not_see_is_found_by_the_digest(model: pw.Model) -> None:
    store, result = Store(), pw.patch(model, pair_of([1, 2], [3, 2]))
    run = store.save(result)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE runs SET document = replace(document, '0.1', '0.2')")
    with pytest.raises(StoreError, match=rf"Run {run} is not what was written"):
        store.get(run)
    assert store.find(pw.Patch.of(result.experiment), model.fingerprint) is None
    assert "is not what was written" in store.notices[0]
    store.save(result)
    assert_same(result, store.get(run))


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = store.save(kept(1))
    large = made(np.random.default_rng(0).normal(size=(100, 4000)))
    with limited_files(200_000), pytest.raises(StoreError, match=r"is the disk full\?.*prune"):
        store.save(large)
    assert [one.id for one in store.entries()] == [run]
    again = store.save(large)
    assert {one.id for one in store.entries()} == {run, again}


@contextmanager
def unprivileged(folder: Path) -> Generator[None]:
    """The folder is read-only, to root as well."""
    for path in (*folder.iterdir(), folder):
        path.chmod(0o444 if path.is_file() else 0o555)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those of the tests."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_read_only_store_is_read_and_refuses_to_write_in_a_sentence(readable: Path) -> None:
    run = Store(readable).save(kept(1))
    with unprivileged(readable):
        store = Store(readable)
        assert_same(kept(1), store.get(run))
        with pytest.raises(StoreError, match="name a folder that you may write to"):
            store.save(kept(2))
        with pytest.raises(StoreError, match="name a folder that you may write to"):
            Store(readable / "below").save(kept(2))
    assert [one.id for one in Store(readable).entries()] == [run]


def test_a_file_where_the_folder_should_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(StoreError, match="PATCHWRIGHT_HOME"):
        Store(tmp_path / "file").save(kept(1))
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_another_processs_long_write_is_waited_for_and_then_named() -> None:
    store = Store(busy=0.05)
    store.save(kept(1))
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert len(store.entries()) == 1  # reading waits for nobody
        with pytest.raises(StoreError, match="in use by another process"):
            store.save(kept(2))
    store.save(kept(2))
    assert len(store.entries()) == 2


def test_a_baseline_that_is_not_a_number_comes_back_as_it_was() -> None:
    store = Store()
    result = made([[0.5]], clean=baseline(float("nan")), corrupt=baseline(float("-inf")))
    again = store.get(store.save(result))
    assert np.isnan(again.clean.metric)
    assert again.corrupt == result.corrupt


@pytest.mark.skipif(os.name != "posix", reason="files have no modes here")
@pytest.mark.parametrize("mode", [0o644, 0o664, 0o640, 0o606, 0o777])
def test_a_store_that_others_could_read_is_closed_to_them_and_that_is_said(
    tmp_path: Path, mode: int
) -> None:
    Store(tmp_path).save(kept(1))
    damaged = tmp_path / "runs.damaged-20260101-000000-1.sqlite3"
    damaged.write_bytes(b"an older one")
    beside = tmp_path / "notes.txt"
    beside.write_text("somebody's own")
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # with SQLite's own files beside it
        connection.execute("ROLLBACK")
        for file in tmp_path.iterdir():
            file.chmod(mode)
        store = Store(tmp_path)
        assert len(store.entries()) == 1
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes.pop(beside.name) == mode, "only what is the store's"
    assert set(modes.values()) == {mode & 0o700}
    assert len(modes) >= 2
    assert store.notices == [
        f"Other users of this machine could read the run store {tmp_path / FILE_NAME}: from now on you "
        "alone can."
    ]
    again = Store(tmp_path)
    again.entries()
    assert again.notices == []


@pytest.mark.parametrize("count", [51, 1500, 50_000])
def test_a_search_of_too_many_words_is_refused_in_a_sentence_that_blames_no_store(
    tmp_path: Path, count: int
) -> None:
    store = Store(tmp_path)
    store.save(kept(1))
    with pytest.raises(InputError, match=r"The search has [\d,]+ words, and it takes at most 50"):
        store.entries(" ".join(f"word{i}" for i in range(count)))
    assert len(store.entries("pat " * count)) == 1, "the same word again asks for nothing more"
    assert store.entries(" ".join(f"word{i}" for i in range(50))) == []
