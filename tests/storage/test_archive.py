"""Archives: equal bytes everywhere, and nothing taken in that is not sound."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import patchwright as pw
from handmade_results import numbered
from patchwright.errors import ArchiveError, OutputError
from patchwright.hashing import hash_of
from patchwright.storage import serialization
from patchwright.storage.archive import unpacked_size
from patchwright.storage.job_store import JobStore
from patchwright.storage.serialization import run_id
from patchwright.storage.store import Store

Members = dict[str, bytes]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three runs, one of them with a note."""
    store = Store(tmp_path / "here")
    ids = store.save_all([numbered([[i / 4, np.nan]], i) for i in range(3)])
    store.note(ids[0], "a note, ünïcode")
    store.export(tmp_path / "runs.zip")
    return tmp_path / "runs.zip"


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path: Path, parts: Members, **how: Any) -> Path:
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_exported_brought_in_elsewhere_and_exported_again_the_bytes_are_equal(
    archive: Path, tmp_path: Path
) -> None:
    elsewhere = Store(tmp_path / "elsewhere")
    assert elsewhere.import_archive(archive) == (3, 0)
    elsewhere.export(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    here = Store(tmp_path / "here")
    for entry in here.entries():
        assert elsewhere.entry(entry.id) == replace(entry, origin="imported")
        came, was = elsewhere.get(entry.id), here.get(entry.id)
        assert [one["code"] for one in came.warnings] == ["imported"]
        assert replace(came, warnings=[]).to_json() == was.to_json()
    assert elsewhere.import_archive(archive) == (0, 3)


def test_the_bytes_do_not_depend_on_the_order_in_which_runs_came(tmp_path: Path) -> None:
    results = [numbered([[i / 4]], i) for i in range(6)]
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    stores[0].save_all(results)
    stores[0].export(tmp_path / "one.zip")
    picked = stores[0].entries()
    for entry in picked:
        stores[0].export(tmp_path / "single.zip", [entry.id])
        stores[1].import_archive(tmp_path / "single.zip")
    stores[1].export(tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_deleted_runs_are_not_exported_and_come_back_by_an_archive(
    archive: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "here")
    gone = store.entries()[0].id
    store.delete([gone])
    assert store.export(tmp_path / "two.zip") == 2
    assert store.import_archive(archive) == (1, 2)
    assert len(store.entries()) == 3


def test_an_archives_note_does_not_take_the_place_of_ones_own(
    archive: Path, tmp_path: Path
) -> None:
    elsewhere = Store(tmp_path / "elsewhere")
    elsewhere.import_archive(archive)
    noted = next(one.id for one in elsewhere.entries() if one.note)
    elsewhere.note(noted, "mine")
    elsewhere.import_archive(archive)
    assert elsewhere.entry(noted).note == "mine"


def change_list(change: Callable[[dict[str, Any]], object]) -> Callable[[Members], None]:
    def changed(parts: Members) -> None:
        document = json.loads(parts["runs.json"])
        change(document)
        parts["runs.json"] = json.dumps(document).encode()

    return changed


def change_run(change: Callable[[str, bytes], tuple[str, bytes]]) -> Callable[[Members], None]:
    """Other contents in the first run, with a digest that fits them."""

    def changed(parts: Members) -> None:
        document = json.loads(parts["runs.json"])
        listed = document["runs"][0]
        name = f"runs/{listed['id']}"
        text, arrays = change(parts[f"{name}.json"].decode(), parts[f"{name}.npz"])
        listed["digest"] = serialization.Record(text, arrays, listed["created"]).digest
        parts |= {f"{name}.json": text.encode(), f"{name}.npz": arrays}
        parts["runs.json"] = json.dumps(document).encode()

    return changed


def change_text(old: str, new: str) -> Callable[[Members], None]:
    def changed(text: str, arrays: bytes) -> tuple[str, bytes]:
        assert old in text
        return text.replace(old, new), arrays

    return change_run(changed)


def change_arrays(content: bytes) -> Callable[[Members], None]:
    return change_run(lambda text, _: (text, content))


def npz(*arrays: Any, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, *arrays, allow_pickle=allow_pickle)
    return stream.getvalue()


def claiming(shape: str) -> bytes:
    """An .npz with one array that says it is larger than what follows."""
    stream, plain = io.BytesIO(), io.BytesIO()
    np.save(plain, np.zeros(9))
    header = plain.getvalue()
    room = " " * (len(shape) - len("(9,)"))
    spoiled = header.replace(f"(9,), }}{room}".encode(), f"{shape}, }}".encode(), 1)
    assert spoiled != header
    with zipfile.ZipFile(stream, "w") as inside:
        inside.writestr("arr_0.npy", spoiled)
    return stream.getvalue()


def first_of(parts: Members, suffix: str) -> str:
    return next(name for name in parts if name.endswith(suffix) and name != "runs.json")


SPOILED: dict[str, tuple[Callable[[Members], object], str]] = {
    "a path out": (lambda parts: parts.update({"../evil": b"x"}), "other files than it lists"),
    "an absolute path": (lambda parts: parts.update({"/etc/x": b"x"}), "other files than it lists"),
    "a missing run": (lambda parts: parts.pop(first_of(parts, ".npz")), "other files than it lists"),
    "no list": (lambda parts: parts.pop("runs.json"), "it has no list of runs"),
    "a list that is none": (lambda parts: parts.update({"runs.json": b"[]"}), "no list of runs"),
    "runs that are none": (change_list(lambda d: d.update(runs=7)), "other fields"),
    "a newer archive": (change_list(lambda d: d.update(archive=3)), "newer Patchwright"),
    "an id that is a path": (change_list(lambda d: d["runs"][0].update(id="../../../x")), "an id"),
    "a date that is none": (change_list(lambda d: d["runs"][0].update(created="now")), "a date"),
    "a note that is none": (change_list(lambda d: d["runs"][0].update(note=7)), "kinds of values"),
    "a changed number": (
        lambda parts: parts.update({first_of(parts, ".json"): b'{"schema":1}'}),
        "holds no result",
    ),
    "another digest": (change_list(lambda d: d["runs"][0].update(digest="0")), "not fit its hash"),
    "another experiment": (change_text('"denoise"', '"noise"'), "do not fit its hash"),
    "another model": (change_text("sha256:0", "sha256:1"), "do not fit its hash"),
    "a newer run": (change_text('"schema":1', '"schema":2'), "newer Patchwright"),
    "a run without tokens": (change_text('"tokens":', '"token":'), "holds no result"),
    "arrays that are none": (change_arrays(b"nothing"), "holds no result"),
    "too few arrays": (change_arrays(npz(np.zeros(3))), "holds no result"),
    "arrays larger than their bytes": (
        change_arrays(claiming("(999999999999,)")),
        "holds no result",
    ),
    "pickled arrays": (
        change_arrays(npz(np.array([{}], dtype=object), allow_pickle=True)),
        "holds no result",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_an_unsound_archive_is_refused_whole(archive: Path, tmp_path: Path, how: str) -> None:
    parts = members(archive)
    spoil, says = SPOILED[how]
    spoil(parts)
    bad = written(tmp_path / "bad.zip", parts)
    store = Store(tmp_path / "elsewhere")
    store.save(numbered([[9.0]], 9))
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ArchiveError, match=says):
        store.import_archive(bad)
    assert len(store.entries()) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_compressed_archive_is_refused_before_it_is_unpacked(
    archive: Path, tmp_path: Path
) -> None:
    parts = members(archive) | {first_of(members(archive), ".json"): b" " * 10**8}
    bomb = written(tmp_path / "bomb.zip", parts, compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 10**6
    with pytest.raises(ArchiveError, match="it is compressed"):
        Store(tmp_path / "elsewhere").import_archive(bomb)


def test_arrays_that_unpack_beyond_all_measure_are_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serialization, "MOST_BYTES", 10**6)
    parts = members(archive)
    change_arrays(npz(np.zeros(10**6)))(parts)
    with pytest.raises(ArchiveError, match="would take 7 MiB of memory"):
        Store(tmp_path / "elsewhere").import_archive(written(tmp_path / "bomb.zip", parts))


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"no zip at all" * 100])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match="is not a sound archive"):
        Store(tmp_path / "elsewhere").import_archive(tmp_path / "x.zip")


def test_a_file_that_is_not_there_is_neither_measured_nor_taken_in(tmp_path: Path) -> None:
    for look in (unpacked_size, Store(tmp_path / "elsewhere").import_archive):
        with pytest.raises(ArchiveError, match=r"'.*none\.zip' cannot be read"):
            look(tmp_path / "none.zip")


def test_a_torn_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    for size in range(0, len(whole), len(whole) // 12):
        archive.write_bytes(whole[:size])
        with pytest.raises(ArchiveError):
            Store(tmp_path / "elsewhere").import_archive(archive)
    assert Store(tmp_path / "elsewhere").entries() == []


def test_a_flipped_byte_is_found(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    content = b"".join(members(archive).values())
    at = whole.index(content[:200]) + 100
    archive.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(ArchiveError):
        Store(tmp_path / "elsewhere").import_archive(archive)


def test_an_export_that_cannot_be_written_leaves_the_old_file(
    archive: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "here")
    with pytest.raises(OutputError, match="there is no folder"):
        store.export(tmp_path / "no" / "runs.zip")
    before = archive.read_bytes()
    with pytest.raises(Exception, match="no such run"):
        store.export(archive, ["nothing"])
    assert archive.read_bytes() == before


def earlier(archive: Path, path: Path) -> Path:
    """The archive as layout 1 had it: other names, older documents."""
    parts = members(archive)
    listed = json.loads(parts["runs.json"])
    older: Members = {}
    for one in listed["runs"]:
        document = json.loads(parts[f"runs/{one['id']}.json"])
        del document["numbers"]
        experiment = hash_of(document["experiment"])
        names = [experiment, document["model"]["fingerprint"], "cpu", document["patchwright"]]
        name, text = hash_of(names)[:16], json.dumps(document)
        arrays = parts[f"runs/{one['id']}.npz"]
        older |= {f"runs/{name}.json": text.encode(), f"runs/{name}.npz": arrays}
        one |= {"id": name, "digest": serialization.Record(text, arrays, one["created"]).digest}
    return written(path, older | {"runs.json": json.dumps(listed | {"archive": 1}).encode()})


def test_an_archive_of_the_layout_before_is_taken_in_under_todays_names(
    archive: Path, tmp_path: Path
) -> None:
    here, elsewhere = Store(tmp_path / "here"), Store(tmp_path / "elsewhere")
    older = earlier(archive, tmp_path / "earlier.zip")
    assert elsewhere.import_archive(older) == (3, 0)
    hashes = {one.experiment_hash for one in here.entries()}
    entries = elsewhere.entries()
    assert {one.experiment_hash for one in entries} == hashes
    assert {one.id for one in entries} == {run_id(one, "sha256:0", "cpu", 1) for one in hashes}
    assert elsewhere.get(entries[0].id).numbers == 1
    assert elsewhere.import_archive(older) == (0, 3)


def test_imported_runs_answer_only_where_they_are_trusted(archive: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "elsewhere")
    asked = pw.Patch.of(numbered([[0.0]], 1).experiment)
    store.import_archive(archive)
    assert store.find(asked, "sha256:0") is None
    assert store.known("sha256:0") == set()
    assert JobStore(store.folder).run_id_of(asked.hash, ["sha256:0"]) is None
    assert store.import_archive(archive, trusted=True) == (3, 0)
    found = store.find(asked, "sha256:0")
    assert found is not None
    assert [one["code"] for one in found.warnings] == ["imported"]
    assert len(store.known("sha256:0")) == 3
    assert store.import_archive(archive) == (0, 3)
    assert {one.origin for one in store.entries()} == {"trusted"}


def test_what_is_computed_here_is_never_replaced_by_an_import(
    archive: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "elsewhere")
    other = numbered([[0.125, 0.5]], 1)  # the archive has other numbers for it
    mine = store.save(other)
    assert store.import_archive(archive, trusted=True) == (2, 1)
    assert store.entry(mine).origin == "computed"
    assert store.get(mine).to_json() == other.to_json()


def test_what_is_computed_here_replaces_an_import(archive: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "elsewhere")
    store.import_archive(archive)
    mine = store.save(numbered([[0.125, 0.5]], 1))
    assert store.entry(mine).origin == "computed"
    assert store.get(mine).warnings == []


def test_a_deleted_run_that_comes_back_by_an_archive_is_still_ones_own(
    archive: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "here")
    gone = store.entries()[0].id
    store.delete([gone])
    store.import_archive(archive)
    assert store.entry(gone).origin == "computed"
