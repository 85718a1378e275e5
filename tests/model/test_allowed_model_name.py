"""What a stranger may have loaded: nothing outside the folders that were opened to them."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from patchwright.errors import InputError
from patchwright.model.hub import is_hub_name
from patchwright.model.load import allowed_model_name


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`open` with a model and links, `shut` with another, and `work` to work in."""
    root = tmp_path_factory.mktemp("world")
    for folder in ("open/model", "open/deep/model", "opener", "shut/model", "work/gpt2"):
        (root / folder).mkdir(parents=True)
    (root / "open" / "out").symlink_to(root / "shut")
    (root / "open" / "loop").symlink_to(root / "open" / "loop")
    (root / "shut" / "in").symlink_to(root / "open" / "model")
    (root / "work" / "dangling").symlink_to(root / "nowhere")
    return root


@pytest.fixture
def work(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(world / "work")
    monkeypatch.setenv("HOME", str(world / "shut"))
    return world


def allowed(name: str, world: Path) -> str | None:
    """What `allowed_model_name` gives, None where it refuses in one sentence that says what is allowed."""
    try:
        return allowed_model_name(name, [world / "open"])
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert "give demo, a hub name such as gpt2, or" in said
    assert f"'{world / 'open'}'" in said
    return None


@pytest.mark.parametrize(
    "name", ["demo", "gpt2-xl", "openai-community/gpt2", "owner/Model_1.5", "open/model"]
)
def test_the_demo_model_and_hub_names_pass_as_they_are(work: Path, name: str) -> None:
    assert allowed(name, work) == name
    assert allowed_model_name(name, []) == name


def test_a_folder_inside_is_given_back_as_its_real_path(work: Path) -> None:
    inside = str((work / "open" / "model").resolve())
    for name in ("{}/open/model", "{}/open/out/../open/model", "../open/model", "{}/shut/in"):
        assert allowed(name.format(work), work) == inside
    assert allowed(f"{work}/open", work) == str((work / "open").resolve())


@pytest.mark.parametrize(
    "name",
    [
        "{}/shut/model", "{}/open/../shut/model", "../shut/model", "{}/open/out/model", "{}/open/out",
        "{}/open/loop", "{}/opener", "{}/open/../opener", "/", "/etc", "~", "~/model", "~root",
        "~nobody-of-this-name/x", ".", "..", "./gpt2", "gpt2", "gpt2/..", "gpt2/../../shut/model",
        "dangling", "", " ", "a\0b", "\ud800", "a//b", "file:///etc", "x" * 5000, "a\nb",
        "{}/open/model/../../shut", "demo/..", "gpt2-", "gpt2.", "-gpt2", "gpt--2", "owner/", "gpt2/",
    ],
)  # fmt: skip
def test_everything_else_is_refused(work: Path, name: str) -> None:
    assert allowed(name.format(work), work) is None


def test_without_folders_every_path_is_refused(work: Path) -> None:
    for name in ("../open/model", str(work), "gpt2"):
        with pytest.raises(InputError, match=r"demo or a hub name such as gpt2\. The server"):
            allowed_model_name(name, [])


def test_a_folder_called_like_a_hub_model_is_loaded_only_where_it_is_allowed(work: Path) -> None:
    assert allowed("gpt2", work) is None
    assert allowed_model_name("gpt2", [work / "work"]) == str((work / "work" / "gpt2").resolve())


def test_a_refusal_does_not_tell_whether_the_folder_is_there(work: Path) -> None:
    def refusal(name: str) -> str:
        with pytest.raises(InputError) as caught:
            allowed_model_name(name, [work / "open"])
        return str(caught.value).replace(name, "NAME")

    assert refusal(f"{work}/shut/model") == refusal(f"{work}/shut/nothing")


STEPS = st.sampled_from(
    [".", "..", "open", "shut", "model", "out", "in", "loop", "opener", "work", "gpt2", "deep", "~"]
)


@given(steps=st.lists(STEPS, min_size=1, max_size=8), start=st.sampled_from(["", "/", "root"]))
@example(steps=["open", "out", "model"], start="root")
def test_no_walk_leads_out(world: Path, steps: list[str], start: str) -> None:
    here = Path.cwd()
    os.chdir(world / "work")
    try:
        prefix = f"{world}/" if start == "root" else start
        name = prefix + "/".join(steps)
        passed = allowed(name, world)
        if passed is None:
            return
        if os.path.isabs(passed):
            root = os.path.realpath(world / "open")
            assert os.path.commonpath([root, os.path.realpath(passed)]) == root
        else:
            assert is_hub_name(passed)
            assert not os.path.lexists(os.path.expanduser(passed))
    finally:
        os.chdir(here)


@given(name=st.text(st.characters(codec=None), max_size=20))
def test_any_text_is_answered_with_a_name_or_a_sentence(world: Path, name: str) -> None:
    passed = allowed(name, world)
    assert passed is None or passed == "demo" or is_hub_name(passed) or os.path.isabs(passed)
