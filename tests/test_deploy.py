"""What `docs/deploy.md` promises of the container and of the Spaces, without building either."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from streamlit.testing.v1 import AppTest
from typer.main import get_command

from patchwright.app.server import SETTINGS
from patchwright.cli.full import app
from timeouts import SECONDS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def steps() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, in order, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined if line.strip()]


def the(instruction: str) -> list[str]:
    return [arguments for name, arguments in steps() if name == instruction]


def copied() -> set[str]:
    return {source for arguments in the("COPY") for source in arguments.split()[:-1]}


def test_the_container_runs_as_the_user_of_spaces_and_not_as_root() -> None:
    assert the("USER")[-1] == "1000"
    assert any("useradd" in arguments and "--uid 1000" in arguments for arguments in the("RUN"))
    order = [name for name, _ in steps()]
    assert order.index("USER") > max(i for i, name in enumerate(order) if name in ("RUN", "COPY"))


def test_everything_that_is_copied_is_there_and_let_through_and_nothing_else_is() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert copied() == allowed
    assert all((ROOT / source).exists() for source in copied())
    secret = re.compile(r"\.env|secret|credential|token.*\.txt|\.pem$|\.key$|id_rsa", re.IGNORECASE)
    tracked = subprocess.run(
        ["git", "ls-files", *sorted(copied())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    assert not [name for name in tracked if secret.search(name)]
    environment = " ".join(the("ENV") + the("ARG"))
    assert not re.search(r"(TOKEN|KEY|PASSWORD|SECRET)=", environment)


def test_what_the_container_starts_is_a_command_with_options_that_it_has() -> None:
    program, name, *arguments = json.loads(the("CMD")[-1])
    assert program == "patchwright"
    command = vars(get_command(app))["commands"][name]
    context = command.make_context(name, arguments)
    assert context.params["host"] == "0.0.0.0"
    assert context.params["headless"] is True
    assert str(context.params["port"]) in the("EXPOSE")[0].split()


def probe(port: int) -> int:
    """The exit status of the health check, with the page's port as `port`, the other one closed."""
    written = the("HEALTHCHECK")[0].split("CMD ", 1)[1]
    _, *arguments = json.loads(written.replace("8501/", f"{port}/").replace("8000/", "1/"))
    return subprocess.run([sys.executable, *arguments], capture_output=True, check=False).returncode


def test_the_health_check_tells_a_server_that_answers_from_none() -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert server.stdout is not None
    with server.stdout as said:
        port = int(said.readline())
        try:
            assert probe(port) == 0
        finally:
            server.terminate()
            server.wait()
    assert probe(port) == 1


_SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/_stcore/health" else 404)
        self.end_headers()
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", 0), Healthy)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_a_space_has_the_settings_that_the_command_gives() -> None:
    document = tomllib.loads(
        (DEPLOY / "space" / ".streamlit" / "config.toml").read_text(encoding="utf-8")
    )
    assert {name: flat(document, name) for name in SETTINGS} == SETTINGS


def flat(document: dict[str, object], name: str) -> object:
    found: object = document
    for part in name.split("."):
        assert isinstance(found, dict)
        found = found.get(part)  # pyright: ignore[reportUnknownMemberType]
    return found


def test_a_spaces_file_shows_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py"])
    page = AppTest.from_file(str(DEPLOY / "space" / "app.py"), default_timeout=SECONDS).run()
    assert not page.exception
    typed = [field.value or "" for field in (*page.text_input, *page.text_area)]
    assert any("Mary" in prompt for prompt in typed)


def test_a_docker_spaces_settings_fit_the_container() -> None:
    text = (DEPLOY / "space" / "README.md").read_text(encoding="utf-8")
    settings = yaml.safe_load(text.split("---\n")[1])
    assert settings["sdk"] == "docker"
    assert str(settings["app_port"]) in the("EXPOSE")[0].split()
    assert len(settings["short_description"]) <= 60
