import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from huggingface_hub import constants

from checkpoints import save_tiny
from command import process
from hub_server import HubServer
from timeouts import SECONDS


@pytest.fixture
def hub(tmp_path: Path) -> Generator[HubServer]:
    with HubServer(save_tiny(tmp_path / "served")) as server:
        yield server


def places(
    home: Path, endpoint: str, name: str = "owner/tiny", **more: str
) -> CompletedProcess[str]:
    """`patchwright places` with a cache of its own and a hub of ours."""
    environment = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, **more}
    return process("places", "--model", name, environment=environment)


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
    hub.files["config.json"] = b'{"architectures": ["BloomForCausalLM"], "model_type": "bloom"}'
    refused = places(tmp_path / "home", hub.url)
    assert refused.returncode == 2
    assert "is a BloomForCausalLM" in refused.stderr
    assert "can be read are: Gemma2, Gemma3, GPT2" in refused.stderr
    assert "model.safetensors" not in {name for name, _ in hub.asked}


def test_without_a_network_the_error_says_what_needs_none(tmp_path: Path) -> None:
    offline = places(tmp_path / "home", "http://127.0.0.1:9", "gpt2")
    assert offline.returncode == 1
    for said in ("could not be reached", "demo", "local folder", "model.safetensors"):
        assert said in offline.stderr
    assert "Traceback" not in offline.stderr


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_nothing_connects_where_the_hub_is_said_to_be_offline(
    hub: HubServer, tmp_path: Path, variable: str
) -> None:
    refused = places(tmp_path / "home", hub.url, **{variable: "1"})
    assert refused.returncode == 1
    assert "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set" in refused.stderr
    assert hub.connections() == 0
    online = places(tmp_path / "home", hub.url)
    connections = hub.connections()
    cached = places(tmp_path / "home", hub.url, **{variable: "1"})
    assert (cached.returncode, cached.stdout) == (0, online.stdout)
    assert hub.connections() == connections > 0


@pytest.mark.parametrize("name", ["a/../b", "what is this", "http:x", "a--b"])
def test_what_cannot_be_a_hub_name_is_refused(name: str) -> None:
    import patchwright as pw
    from patchwright.errors import InputError

    with pytest.raises(InputError, match=r"hub name|no such folder"):
        pw.load_model(name)


def test_a_cached_model_is_found_without_the_hub_beside_files_that_are_not_fetched(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.files["README.md"] = b"# A model"
    assert places(tmp_path / "home", hub.url).returncode == 0
    hub.broken = True
    second = places(tmp_path / "home", hub.url)
    assert second.returncode == 0, second.stderr


def test_a_model_too_large_for_the_memory_is_refused_before_its_weights_come(
    hub: HubServer, tmp_path: Path
) -> None:
    config = json.loads(hub.files["config.json"])
    hub.files["config.json"] = json.dumps(config | {"n_positions": 10**7, "n_embd": 10**4}).encode()
    refused = places(tmp_path / "home", hub.url)
    assert refused.returncode == 2
    assert re.search(r"'owner/tiny' needs [\d.]+ GiB .* and [\d.]+ GiB are free", refused.stderr)
    assert "model.safetensors" not in {name for name, _ in hub.asked}


FOLLOWED = """
import sys
import patchwright as pw
from patchwright.errors import HubError
stop_after, told = int(sys.argv[1]), []
def follow(done, whole):
    told.append((done, whole))
    if stop_after < 0:
        raise ZeroDivisionError("the caller's own")
    return done < stop_after
try:
    print(pw.load_model("owner/tiny", progress=follow).spec.n_layers)
except (HubError, ZeroDivisionError) as error:
    print(type(error).__name__, error)
print(told)
"""


def followed(home: Path, endpoint: str, stop_after: int) -> tuple[str, list[tuple[int, int]]]:
    """What came of a download that is stopped after so many bytes, and what it told."""
    environment = os.environ | {"HF_HOME": str(home), "HF_ENDPOINT": endpoint}
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWED, str(stop_after)],
        env=environment, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, told = done.stdout.splitlines()
    return said, ast.literal_eval(told)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of several of the client's chunks."""
    return save_tiny(tmp_path_factory.mktemp("large"), n_embd=512)


def test_progress_rises_to_the_size_of_the_files_that_are_fetched(
    large: Path, tmp_path: Path
) -> None:
    with HubServer(large) as hub:
        hub.files["README.md"] = b"not fetched"
        fetched = [name for name in hub.files if name != "README.md" and "generation" not in name]
        whole = sum(len(hub.files[name]) for name in fetched)
        hub.cuts = [constants.DOWNLOAD_CHUNK_SIZE + 1000]
        said, told = followed(tmp_path, hub.url, 2**60)
        assert said == "3"
        assert told[0] == (0, whole)
        assert told[-1] == (whole, whole)
        assert {total for _, total in told} == {whole}
        steps = [done for done, _ in told]
        assert steps == sorted(steps)
        assert len(set(steps)) > len(fetched), "large files are told piece by piece"
        assert followed(tmp_path, hub.url, 2**60) == ("3", []), "what is cached is not downloaded"


def test_a_stopped_download_says_so_and_keeps_the_files_that_came_whole(
    large: Path, tmp_path: Path
) -> None:
    with HubServer(large) as hub:
        weights = len(hub.files["model.safetensors"])
        said, told = followed(tmp_path, hub.url, weights // 2)
        assert said.startswith("HubError The download of 'owner/tiny' was stopped. Files that were")
        assert weights // 2 <= told[-1][0] < weights, "it stops within a file"
        asked = [name for name, _ in hub.asked]
        said, _ = followed(tmp_path, hub.url, 2**60)
        assert said == "3"
        again = [name for name, _ in hub.asked][len(asked) :]
        assert "model.safetensors" in again
        assert set(again).isdisjoint(set(asked) - {"model.safetensors"})


def test_an_error_of_the_callers_own_stays_what_it_is(hub: HubServer, tmp_path: Path) -> None:
    said, _ = followed(tmp_path, hub.url, -1)
    assert said == "ZeroDivisionError the caller's own"
