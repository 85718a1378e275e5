"""A small server that speaks the model hub's protocol, and can cut a download off."""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from local_server import LocalServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(LocalServer):
    """Serves one repository, `owner/tiny`, from a folder, as a context.

    `cuts` says after how many bytes each next weight download is cut off; `asked` lists
    (path, first byte) of each GET of a file.
    """

    def __init__(self, folder: Path) -> None:
        self.files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self.cuts: list[int] = []
        self.asked: list[tuple[str, int]] = []
        self.broken = False
        super().__init__(self._handler())

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return self.origin

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, with_body: bool) -> None:
                if hub.broken:
                    self._fail(503, "")
                elif re.match(r"/api/models/owner/tiny/tree/", self.path):
                    self._tree()
                elif found := re.match(
                    r"/api/models/owner/tiny(/revision/(main|" + COMMIT + "))?", self.path
                ):
                    assert found
                    self._info()
                elif found := re.fullmatch(r"/owner/tiny/resolve/[^/]+/([^/?]+)", self.path):
                    self._file(found[1], with_body)
                else:
                    self._fail(404, "RepoNotFound")

            def _info(self) -> None:
                siblings = [
                    {"rfilename": name, "size": len(data)}
                    for name, data in sorted(hub.files.items())
                ]
                self._send(
                    json.dumps({"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}).encode()
                )

            def _tree(self) -> None:
                entries = [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(data),
                        "oid": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
                    }
                    for name, data in sorted(hub.files.items())
                ]
                self._send(json.dumps(entries).encode())

            def _file(self, name: str, with_body: bool) -> None:
                data = hub.files.get(name)
                if data is None:
                    self._fail(404, "EntryNotFound")
                    return
                first = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
                self.send_response(206 if first else 200)
                self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Accept-Ranges", "bytes")
                if first:
                    self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(data) - first))
                self.end_headers()
                if not with_body:
                    return
                hub.asked.append((name, first))
                last = len(data)
                if name == "model.safetensors" and hub.cuts:
                    last = hub.cuts.pop(0)
                    self.close_connection = True
                self.wfile.write(data[first:last])

            def _send(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _fail(self, status: int, code: str) -> None:
                self.send_response(status)
                self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
