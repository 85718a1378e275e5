"""A server of this process's own, in a thread, as a context."""

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class _Counting(ThreadingHTTPServer):
    accepted = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.accepted += 1
        super().process_request(request, client_address)


class LocalServer:
    """Answers with `handler` at `origin` from entering to leaving the context."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = _Counting(("127.0.0.1", 0), handler)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def connections(self) -> int:
        """How many connections others have made: all that were made before this call."""
        # They are accepted in order: when one of our own has its answer, earlier ones are counted.
        with socket.create_connection(("127.0.0.1", self._server.server_port)) as own:
            own.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            while own.recv(4096):
                pass
        self._server.accepted -= 1
        return self._server.accepted

    def __enter__(self) -> Self:
        # It looks so often whether it is to end: half a second otherwise, in each of many tests.
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
