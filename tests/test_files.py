import os
import stat
from pathlib import Path

import pytest

from patchwright.atomic_files import check_writable, write_atomic
from patchwright.errors import OutputError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    target.write_text("old")
    write_atomic(target, "new · ü")
    assert target.read_text(encoding="utf-8") == "new · ü"
    assert os.listdir(tmp_path) == ["r.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "r.json"
    target.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(target, "new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("check", [check_writable, lambda path: write_atomic(path, "x")])
def test_a_missing_folder_or_a_folder_is_refused_by_name(tmp_path: Path, check: object) -> None:
    assert callable(check)
    with pytest.raises(OutputError, match="there is no folder"):
        check(tmp_path / "nowhere" / "r.json")
    with pytest.raises(OutputError, match="is a folder"):
        check(tmp_path)
