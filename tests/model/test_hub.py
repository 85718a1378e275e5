from collections.abc import Generator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from huggingface_hub import constants

from checkpoints import save_tiny
from command import patchwright
from hub_server import HubServer


@pytest.fixture
def hub(tmp_path: Path) -> Generator[HubServer]:
    with HubServer(save_tiny(tmp_path / "served")) as server:
        yield server


def places(
    home: Path, endpoint: str, name: str = "owner/tiny", **more: str
) -> CompletedProcess[str]:
    """`patchwright places` with a cache of its own and a hub of ours."""
    environment = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, **more}
    return patchwright("places", "--model", name, environment=environment)


def test_a_model_is_fetched_once_and_then_found_without_the_hub(
    hub: HubServer, tmp_path: Path
) -> None:
    first = places(tmp_path / "home", hub.url)
    assert (first.returncode, first.stderr.count("Error")) == (0, 0), first.stderr
    assert "L0-2H0-3.z" in first.stdout
    assert "%" in first.stderr, "a download shows how far it is"
    assert {name for name, _ in hub.asked} >= {
        "config.json",
        "model.safetensors",
        "vocab.json",
    } or {name for name, _ in hub.asked} >= {"config.json", "model.safetensors", "tokenizer.json"}
    asked = len(hub.asked)
    hub.broken = True
    second = places(tmp_path / "home", hub.url)
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    assert len(hub.asked) == asked


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    chunk = constants.DOWNLOAD_CHUNK_SIZE
    with HubServer(save_tiny(tmp_path / "served", n_embd=512)) as hub:
        assert len(hub.files["model.safetensors"]) > 3 * chunk
        hub.cuts = [chunk + 1000, 2 * chunk + 1000]
        done = places(tmp_path / "home", hub.url)
        assert done.returncode == 0, done.stderr
        starts = [first for name, first in hub.asked if name == "model.safetensors"]
    assert starts == [0, chunk, 2 * chunk]


def test_a_download_that_never_ends_is_an_error_and_the_next_try_succeeds(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.cuts = [1000] * 6
    done = places(tmp_path / "home", hub.url)
    assert done.returncode == 1
    assert "could not be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert places(tmp_path / "home", hub.url).returncode == 0


def test_an_unknown_model_and_an_unknown_revision_are_named(hub: HubServer, tmp_path: Path) -> None:
    missing = places(tmp_path / "home", hub.url, "owner/nothing")
    assert missing.returncode == 1
    assert "The hub has no model 'owner/nothing'" in missing.stderr


def test_files_that_run_code_are_never_fetched(hub: HubServer, tmp_path: Path) -> None:
    hub.files["pytorch_model.bin"] = b"pickle"
    hub.files["modeling.py"] = b"raise SystemExit"
    assert places(tmp_path / "home", hub.url).returncode == 0
    assert not {"pytorch_model.bin", "modeling.py"} & {name for name, _ in hub.asked}


def test_another_architecture_is_refused_before_its_weights_come(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.files["config.json"] = b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}'
    refused = places(tmp_path / "home", hub.url)
    assert refused.returncode == 2
    assert "is a LlamaForCausalLM" in refused.stderr
    assert "GPT2LMHeadModel" in refused.stderr
    assert "model.safetensors" not in {name for name, _ in hub.asked}


def test_without_a_network_the_error_says_what_needs_none(tmp_path: Path) -> None:
    offline = places(tmp_path / "home", "http://127.0.0.1:9", "gpt2")
    assert offline.returncode == 1
    for said in ("could not be reached", "demo", "local folder", "model.safetensors"):
        assert said in offline.stderr
    assert "Traceback" not in offline.stderr


@pytest.mark.parametrize("name", ["a/../b", "what is this", "http:x", "a--b"])
def test_what_cannot_be_a_hub_name_is_refused(name: str) -> None:
    import patchwright as pw
    from patchwright.errors import InputError

    with pytest.raises(InputError, match=r"hub name|no such folder"):
        pw.load_model(name)
