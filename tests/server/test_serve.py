"""`patchwright serve` before it listens; and one real process, killed and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from command import patchwright
from http_service import asked
from local_server import free_port
from patchwright.errors import InputError
from patchwright.model.catalog import DEMO
from patchwright.server import serving
from poison import poisoned
from timeouts import SECONDS


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "127.0.0.1.nip.io"]
)
def test_beyond_this_machine_a_token_is_required(host: str) -> None:
    with pytest.raises(InputError, match=r"has no token: set PATCHWRIGHT_TOKEN or --token-file"):
        serving.check_reach(host, None)
    serving.check_reach(host, "secret")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_this_machine_none_is(host: str) -> None:
    serving.check_reach(host, None)


def test_a_port_that_is_taken_is_said_before_any_model_is_loaded() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = patchwright("serve", "--port", port, "--model", "no/such")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: Port {port} is taken by another program: name another with --port.\n"
    )


def test_the_command_refuses_to_start_with_a_sentence() -> None:
    done = patchwright("serve", "--host", "0.0.0.0", environment={"PATCHWRIGHT_TOKEN": " "})
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --host 0.0.0.0 lets other machines reach this server")
    assert done.stderr.splitlines()[-1].startswith("Error: --host 0.0.0.0 lets other machines")
    done = patchwright("serve", "--model", "./no-such-folder")
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr


def test_without_its_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    for name in ("serving", "app"):
        monkeypatch.delitem(sys.modules, f"patchwright.server.{name}", raising=False)
    done = patchwright("serve")
    assert done.returncode == 1
    assert "install it with `pip install 'patchwright[api]'`" in done.stderr


def test_the_token_is_the_files_else_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHWRIGHT_TOKEN", "from the environment")
    file = tmp_path / "token"
    file.write_text(" from the file\n", encoding="utf-8")
    assert serving.read_token(file) == "from the file"
    assert serving.read_token(None) == "from the environment"
    monkeypatch.delenv("PATCHWRIGHT_TOKEN")
    assert serving.read_token(None) is None
    for content, says in ((b"", "is empty"), (b"\xff", "not UTF-8")):
        file.write_bytes(content)
        with pytest.raises(InputError, match=says):
            serving.read_token(file)
    with pytest.raises(InputError, match="No such file"):
        serving.read_token(tmp_path / "none")


def test_a_folder_is_served_under_its_name_and_its_path_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(DEMO)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in DEMO.iterdir():
        (copy / file.name).symlink_to(file)
    demo, mine = serving.load_models(["demo", str(copy)], "cpu")
    assert (demo.name, mine.name, mine.source) == ("demo", "copy", "folder")
    assert demo.fingerprint == mine.fingerprint
    with pytest.raises(InputError, match="Two models would be called 'demo'"):
        serving.load_models(["demo", str(tmp_path / "mine")], "cpu")


def request(port: int, path: str, body: Any = None, method: str | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    asking = Request(
        f"http://127.0.0.1:{port}{path}",
        content,
        {"Content-Type": "application/json"},
        method=method,
    )
    with urlopen(asking, timeout=SECONDS) as answer:
        return json.load(answer)


PLAIN = ("-m", "patchwright.cli")
ENDLESS = (
    "-c",
    """
import threading
from patchwright.server import service
from patchwright.cli import main

run_cached = service.run_cached

def endless(experiment, *rest):
    if experiment.site == "mlp_act":
        threading.Event().wait()
    return run_cached(experiment, *rest)

service.run_cached = endless
main()
""",
)
"""The command line, whose server never finishes an experiment on `mlp_act`."""


def started(port: int, home: Path, code: Sequence[str] = PLAIN) -> subprocess.Popen[bytes]:
    """A server that answers."""
    process = subprocess.Popen(
        [sys.executable, "-P", *code, "serve", "--port", str(port), "--sweeps", "1"],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PATCHWRIGHT_HOME": str(home), "OMP_NUM_THREADS": "1"},
    )
    while True:
        try:
            assert request(port, "/readyz") == {"status": "ok"}
            return process
        except (URLError, ConnectionError):
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)


def test_the_interface_runs_no_code_of_the_folder_that_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "of somebody else"
    folder.mkdir()
    mark = poisoned(folder)
    monkeypatch.chdir(folder)
    port = free_port()
    server = started(port, tmp_path / "home")
    try:
        said = request(port, "/v1/agreement", {"sentence": "The keys to the cabinet are here"})
        with urlopen(
            f"http://127.0.0.1:{port}{said['result']}?format=png", timeout=SECONDS
        ) as figure:
            assert figure.read(4) == b"\x89PNG"
    finally:
        server.kill()
        server.wait(30)
    assert not mark.exists(), mark.read_text()


def test_after_a_kill_finished_results_are_there_and_unfinished_jobs_are_marked_so(
    tmp_path: Path,
) -> None:
    port = free_port()
    first = started(port, tmp_path, ENDLESS)
    try:
        small = request(port, "/v1/experiments", asked())["id"]
        with urlopen(f"http://127.0.0.1:{port}/v1/jobs/{small}/events", timeout=SECONDS) as events:
            events.read()  # ends with the job
        view = request(port, f"/v1/jobs/{small}")
        before = request(port, view["result"])
        heavy: list[dict[str, Any]] = [
            asked(site="mlp_act", per="neuron", layers=list(range(6)), metric=metric)
            for metric in ("kl", "rank", "probability")
        ]
        jobs = [request(port, "/v1/experiments", one)["id"] for one in heavy]
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait(30)
    second = started(port, tmp_path)
    try:
        assert request(port, f"/v1/jobs/{small}")["state"] == "done"
        assert request(port, view["result"]) == before
        states = [request(port, f"/v1/jobs/{one}")["state"] for one in jobs]
        assert states == ["lost", "lost", "lost"]
        assert "ask again" in request(port, f"/v1/jobs/{jobs[2]}")["message"]
        again = request(port, "/v1/experiments", heavy[2])
        assert again["id"] not in jobs
        with pytest.raises(HTTPError) as unknown:
            request(port, "/v1/jobs/0")
        assert unknown.value.code == 404
        unknown.value.close()
        second.send_signal(signal.SIGTERM)
        second.wait(SECONDS)
    finally:
        second.kill()
        second.wait(30)
    assert second.returncode in (0, -signal.SIGTERM, 143)
