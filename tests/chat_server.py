"""A small server that speaks OpenAI's chat protocol, faults included."""

import json
from http.server import BaseHTTPRequestHandler
from threading import Event
from types import TracebackType
from typing import Any

from local_server import LocalServer


class ChatServer(LocalServer):
    """Answers each request with `reply` (a text, or the whole body); a `silent` one never.

    `status` other than 200 sends an error whose message repeats the key that came. `asked`
    are the bodies that were sent, `keys` the authorisations.
    """

    def __init__(self, reply: str | bytes = "", status: int = 200, silent: bool = False) -> None:
        self.reply, self.status = reply, status
        self._answering = Event()
        if not silent:
            self._answering.set()
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        super().__init__(self._handler())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._answering.set()
        super().__exit__(kind, error, at)

    @property
    def url(self) -> str:
        """What PATCHWRIGHT_EXPLAIN_URL is set to."""
        return f"{self.origin}/v1"

    def body(self) -> bytes:
        """What is sent back."""
        if self.status != 200:
            echo = f"Incorrect key: {self.keys[-1]}"
            return json.dumps({"error": {"message": echo, "type": "x"}}).encode()
        if isinstance(self.reply, bytes):
            return self.reply
        message = {"role": "assistant", "content": self.reply}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "tiny"}
        return json.dumps(whole | {"choices": [choice]}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                chat.asked.append(json.loads(self.rfile.read(size)))
                chat.keys.append(self.headers["Authorization"] or "")
                chat._answering.wait()
                body = chat.body()
                try:
                    self.send_response(chat.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # whoever asked had no more patience

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
