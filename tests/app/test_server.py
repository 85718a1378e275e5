"""The page as a real process: how it ends, what it reads where it is started, whom it answers."""

import http.client
import os
import signal
import socket
import sys
from contextlib import nullcontext
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.request import Request, urlopen

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from page_server import page_process, page_served
from patchwright.app import server
from patchwright.web import listening
from poison import poisoned

EVIL = "http://evil.example"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "streamlit",
}


def status(url: str, method: str, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def drawn(url: str) -> bytes:
    """All that the server sends to a browser that opens the page."""
    asked = BackMsg()
    asked.rerun_script.query_string = ""
    received = b""
    address = url.replace("http:", "ws:") + "/_stcore/stream"
    with connect(address, subprotocols=["streamlit"], max_size=None) as browser:  # pyright: ignore[reportArgumentType]
        browser.send(asked.SerializeToString())
        while True:
            part = browser.recv(timeout=120)
            assert isinstance(part, bytes)
            received += part
            message = ForwardMsg()
            message.ParseFromString(part)
            if message.WhichOneof("type") == "script_finished":
                return received


def processes_of(pid: int) -> list[str]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [child for one in tasks for child in (one / "children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda how: how.name
)
def test_however_it_is_ended_nothing_of_it_lives_on(tmp_path: Path, how: signal.Signals) -> None:
    with page_process(tmp_path) as (url, process):
        assert processes_of(process.pid) == []
        assert b"Mary" in drawn(url)
        process.send_signal(how)
        process.wait(60)
    with listening.listen("127.0.0.1", int(url.rpartition(":")[2])):
        pass


def test_nothing_in_the_folder_that_it_is_started_in_is_run_or_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "of somebody else"
    (folder / ".streamlit").mkdir(parents=True)
    (folder / ".streamlit" / "config.toml").write_text(
        '[server]\nbaseUrlPath = "elsewhere"\nenableCORS = false\nenableXsrfProtection = false\n'
        'enableStaticServing = true\n[client]\nshowErrorDetails = "full"\n'
    )
    (folder / ".streamlit" / "secrets.toml").write_text(
        f'PATCHWRIGHT_EXPLAIN_URL = "{EVIL}"\nPATCHWRIGHT_EXPLAIN_MODEL = "evil"\n'
    )
    mark = poisoned(folder)
    for name in ("URL", "MODEL", "KEY"):
        monkeypatch.delenv(f"PATCHWRIGHT_EXPLAIN_{name}", raising=False)
    monkeypatch.chdir(folder)
    with page_served(tmp_path / "home", "--folder", ".") as url:
        assert status(url, "GET", "/elsewhere/_stcore/health", {}) != 200
        page = drawn(url)
        assert b"Mary" in page
        assert b"In a language model" not in page
    assert not mark.exists(), mark.read_text()


def test_settings_of_streamlit_come_from_its_variables_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_SERVER_BASE_URL_PATH", "below")
    monkeypatch.setenv("STREAMLIT_CLIENT_SHOW_ERROR_DETAILS", "full")
    with page_process(tmp_path, at="/below") as (url, _):
        assert status(url, "GET", "/below/", {}) == 200
        assert status(url, "GET", "/_stcore/health", {}) == 404


def test_a_page_comes_with_its_style_whatever_its_path_and_what_a_browser_has_of_it(
    address: str,
) -> None:
    wants = {"Accept": "text/html", "Accept-Encoding": "gzip"}
    style = Path(server.__file__).with_name("page.css").read_text("utf-8")
    for path in ("/", "/patch", "/no-such-page"):
        with urlopen(Request(address + path, headers=wants), timeout=60) as response:
            page = response.read().decode()
            kept = {name: response.headers[name] for name in ("ETag", "Last-Modified")}
        assert page.endswith(f"<style>{style}</style>")
        assert page.count("</html>") == 1
        assert not any(kept.values()), "another version has another style"
    with urlopen(Request(address + "/favicon.png", headers=wants), timeout=60) as response:
        assert b"<style>" not in response.read()
        assert response.headers["ETag"]


REQUESTS = {
    "page": ("GET", "/", {}),
    "script": ("GET", "/static/index.html", {}),
    "socket": ("GET", "/_stcore/stream", HANDSHAKE),
    "upload": ("PUT", "/_stcore/upload_file/session/file", {}),
    "media": ("GET", "/media/a.png", {}),
}


@pytest.mark.parametrize("request_of", list(REQUESTS))
def test_under_a_foreign_name_nothing_is_answered(address: str, request_of: str) -> None:
    method, path, headers = REQUESTS[request_of]
    port = address.rpartition(":")[2]
    refused = 403 if request_of == "socket" else 421
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}"):
        assert status(address, method, path, headers | {"Host": host}) == refused
    for own in (f"localhost:{port}", f"LocalHost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        found = status(address, method, path, headers | {"Host": own})
        assert found == 101 if request_of == "socket" else found != 421


@pytest.mark.parametrize("request_of", list(REQUESTS))
def test_a_page_of_another_site_or_port_is_answered_nothing(address: str, request_of: str) -> None:
    method, path, headers = REQUESTS[request_of]
    refused = 403 if request_of == "socket" else 421
    for origin in (EVIL, "http://localhost:1", "null"):
        assert status(address, method, path, headers | {"Origin": origin}) == refused
    assert status(address, method, path, headers | {"Origin": address}) not in (refused, 421)


def test_a_name_that_it_was_given_is_answered_and_makes_nobody_the_owner(tmp_path: Path) -> None:
    with page_served(tmp_path, "--name", "page.example") as url:
        assert status(url, "GET", "/", {"Host": "page.example"}) == 200
        assert status(url, "GET", "/", {"Host": "evil.example"}) == 421


@pytest.mark.parametrize(
    ("host", "given", "names", "own"),
    [
        ("127.0.0.1", False, [], True),
        ("::1", False, [], True),
        ("127.0.0.1", False, ["page.example"], False),
        ("127.0.0.1", True, ["page.example"], True),
        ("0.0.0.0", False, [], False),
        ("0.0.0.0", True, [], True),
    ],
)
def test_who_is_the_owner(
    monkeypatch: pytest.MonkeyPatch, host: str, given: bool, names: list[str], own: bool
) -> None:
    from patchwright.app import server

    served: list[Any] = []
    monkeypatch.setattr(sys, "argv", ["patchwright"])
    monkeypatch.setattr(server, "configure", lambda _: None)
    monkeypatch.setattr(listening, "listen", lambda *_: nullcontext([]))
    monkeypatch.setattr(listening, "serve", lambda app, *_: served.append(app))
    server.serve(host, 8501, names, given, True, ["--max-jobs", "1"])
    assert ("--allow-edits" in sys.argv) is own
    assert ("--alone" in sys.argv) is (not names and host != "0.0.0.0")
    # A page without owner, which anybody may reach under any name, shows each visitor their own.
    assert isinstance(served[0], server.HostMiddleware) is (own or bool(names))


def test_a_port_that_is_taken_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        command = [sys.executable, "-P", "-m", "patchwright.cli", "app", "--headless"]
        environment = os.environ | {"PATCHWRIGHT_HOME": str(tmp_path)}
        with Popen([*command, "--port", port], stderr=-1, env=environment, text=True) as process:
            _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said == f"Error: Port {port} is taken by another program: name another with --port.\n"
