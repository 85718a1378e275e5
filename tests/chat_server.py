"""A small server that speaks OpenAI's chat protocol, faults included."""

import json
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

from local_server import LocalServer


class ChatServer(LocalServer):
    """Answers each request with `reply` (a text, or the whole body), after `delay` seconds.

    `status` other than 200 sends an error whose message repeats the key that came. `asked`
    are the bodies that were sent, `keys` the authorisations.
    """

    def __init__(self, reply: str | bytes = "", status: int = 200, delay: float = 0.0) -> None:
        self.reply, self.status, self.delay = reply, status, delay
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        super().__init__(self._handler())

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
                time.sleep(chat.delay)
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
