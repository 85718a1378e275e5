"""Listening: whoever sends no request, or too many connections, keeps nobody else waiting.

Uvicorn waits for the headers of a request as long as its client likes, takes any number of
connections, and logs a line for each that it cannot take. Here headers have `HEADER_SECONDS`,
a connection over the limit takes the place of the one that has waited longest without a request,
and each line of the program logs `MOST_RECORDS` times a minute.
"""

import errno
import logging
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from patchwright.errors import InputError

if TYPE_CHECKING:
    from asyncio import Protocol, TimerHandle, Transport

HEADER_SECONDS = 10.0
"""Seconds that the headers of a request may take to arrive."""

SHUTDOWN_SECONDS = 5
"""Seconds that requests under way may go on once the server is to end."""

MOST_CONNECTIONS = 1000

MOST_RECORDS = 20
"""Records that one line of the program logs in a minute."""

MOST_MESSAGE = 2**24
"""Bytes of a message that a browser sends over a WebSocket."""


@contextmanager
def listen(host: str, port: int) -> Generator[list[socket.socket]]:
    """A bound socket for each address of `host`, on which `serve` then listens.

    Raises InputError where the port is taken or the address is not one of this machine.
    """
    with ExitStack() as opened:
        try:
            passive = socket.AI_PASSIVE
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=passive)
            addresses = dict.fromkeys((family, address) for family, *_, address in found)
            sockets = [
                opened.enter_context(_bind_socket(family, address, alone=len(addresses) > 1))
                for family, address in addresses
            ]
        except OSError as error:
            raise _listen_error(host, port, error) from error
        yield sockets


def _listen_error(host: str, port: int, error: OSError) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return InputError(f"Port {port} is taken by another program: name another with --port.")
    return InputError(
        f"Nothing can listen at {host}, port {port} ({error.strerror}): name an address of this "
        "machine with --host, and a port above 1023."
    )


def _bind_socket(family: int, address: Any, alone: bool) -> socket.socket:
    """A socket that is bound but does not listen yet; `alone`: IPv6 leaves IPv4 to another one."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port that was left a moment ago is free; Windows would share one that is in use.
        if not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def serve(
    app: Callable[..., Any],
    sockets: list[socket.socket],
    websockets: Literal["none", "websockets-sansio"] = "none",
) -> None:
    """Answer on `sockets` with an ASGI app, until the process is told to end by SIGINT or SIGTERM."""
    import uvicorn

    most = most_connections()
    config = uvicorn.Config(
        app,
        http=connection_class(most, HEADER_SECONDS),
        ws=websockets,
        ws_max_size=MOST_MESSAGE,
        # The event loop accepts so many in each of the few turns before one of them can be closed.
        backlog=min(128, max(1, most // 4)),
        log_config=LOG,
        # Addresses may hold prompts: they are not logged.
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets)


def most_connections() -> int:
    """`MOST_CONNECTIONS`, or a quarter of the files that the process may have open, if that is less.

    The process allows itself as many as the system lets it.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless, wanted = resource.RLIM_INFINITY, 4 * MOST_CONNECTIONS
    if soft not in (endless, hard) and soft < wanted:
        soft = wanted if hard == endless else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_CONNECTIONS if soft == endless else min(MOST_CONNECTIONS, max(1, soft // 4))


def connection_class(most: int, seconds: float) -> "type[Protocol]":
    """Uvicorn's connection, of which there are at most `most`, each waiting `seconds` for headers."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(H11Protocol):
        def connection_made(self, transport: "Transport") -> None:
            super().connection_made(transport)
            self._update_timer()
            if len(self.connections) > most:
                oldest = next(iter(waiting))
                # Not when it is gone: until then others may come, each for a place of its own.
                oldest.stop_timer()
                oldest.transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._update_timer()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._update_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.stop_timer()

        def _update_timer(self) -> None:
            """Begin to wait for a request, or end it: the client is idle until all headers are there."""
            if self.conn.their_state is not h11.IDLE:
                self.stop_timer()
            elif self not in waiting and not self.transport.is_closing():
                waiting[self] = self.loop.call_later(seconds, self.transport.abort)

        def stop_timer(self) -> None:
            """The wait is over."""
            if (timer := waiting.pop(self, None)) is not None:
                timer.cancel()

    waiting: dict[Connection, TimerHandle] = {}  # those without a request, the oldest first
    return Connection


class RateLimitFilter(logging.Filter):
    """Lets each line of the program log `most` times a minute, and then says how much it left out."""

    def __init__(self, most: int = MOST_RECORDS) -> None:
        super().__init__()
        self._most = most
        self._minutes: dict[tuple[str, int], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        line, now = (record.pathname, record.lineno), monotonic()
        with self._lock:
            begun, count = self._minutes.get(line, (now, 0))
            left_out = max(0, count - self._most)
            if now - begun >= 60:
                begun, count = now, 0
            self._minutes[line] = begun, count + 1
        if count == 0 and left_out:
            record.msg = f"{record.getMessage()} ({left_out:,} more like this were left out)"
            record.args = ()
        return count < self._most


LOG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"sparing": {"()": RateLimitFilter}},
    "formatters": {"plain": {"format": "%(levelname)s: %(message)s"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "plain",
            "filters": ["sparing"],
        }
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # Streamlit gives these a way out of their own.
    "loggers": {name: {"handlers": [], "propagate": True} for name in ("uvicorn", "uvicorn.error")},
}
