"""Sockets that say nothing, and too many of them, keep nobody else waiting."""

import logging
import socket
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from subprocess import PIPE, Popen
from typing import Any
from unittest import mock
from urllib.request import urlopen

import pytest

from patchwright.errors import InputError
from patchwright.web import listening

SERVER = """
import logging, resource, sys
from patchwright.web import listening

files, seconds = int(sys.argv[1]), float(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
listening.HEADER_SECONDS = seconds

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler())
logging.getLogger("uvicorn.error").propagate = False
with listening.listen("127.0.0.1", 0) as sockets:
    sockets[0].listen()
    print(sockets[0].getsockname()[1], flush=True)
    listening.serve(app, sockets)
"""


@contextmanager
def served(files: int, seconds: float) -> Generator[tuple[int, Popen[str]]]:
    """A server that may have `files` open, and gives headers `seconds`: its port and process."""
    command = [sys.executable, "-c", SERVER, str(files), str(seconds)]
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


def half(port: int) -> socket.socket:
    """A connection that has sent half of its headers."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Half: ")
    return sock


def answered(port: int) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        return answer.read()


def ended(sock: socket.socket) -> bool:
    """Whether the server ends a connection, which is waited for."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_half_headers_never_hold_all_connections_and_are_not_logged_without_end() -> None:
    with served(files=256, seconds=600) as (port, process), ExitStack() as held:
        for number in range(300):
            held.enter_context(half(port))
            if number % 50 == 0:
                assert answered(port) == b"ok"
        assert answered(port) == b"ok"
        process.terminate()
        assert process.stderr is not None
        assert len(process.stderr.read()) < 2000


def test_requests_that_are_none_are_not_logged_without_end() -> None:
    with served(files=256, seconds=600) as (port, process):
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
                sock.sendall(b"no request\r\n\r\n")
                assert sock.recv(1000).startswith(b"HTTP/1.1 400")
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.read().count("Invalid HTTP request") == listening.MOST_RECORDS


def test_headers_that_do_not_arrive_in_time_end_their_connection_however_they_trickle() -> None:
    with served(files=256, seconds=0.2) as (port, _):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as nothing:
            assert ended(nothing)
        with half(port) as trickling:
            # One that sends a byte now and then is ended all the same: the time is for all of them.
            trickling.settimeout(0.02)
            for _ in range(1500):
                try:
                    trickling.sendall(b"a")
                    assert trickling.recv(1) == b""
                except TimeoutError:
                    continue
                except ConnectionError:
                    pass
                break
            else:
                raise AssertionError("it was never ended")


def test_a_second_request_has_its_time_too_and_ends_when_it_is_over() -> None:
    with served(files=256, seconds=0.2) as (port, _), half(port) as sock:
        sock.sendall(b"whole\r\n\r\nGET / HTTP/1.1\r\nHo")
        received = b""
        while part := sock.recv(1000):
            received += part
        assert received.count(b"200 OK") == 1
        assert received.endswith(b"ok")


def test_one_who_is_over_the_limit_takes_the_place_of_the_one_that_waited_longest() -> None:
    with served(files=16, seconds=600) as (port, _), ExitStack() as held:
        # A quarter of 16 files: 4 connections.
        first, *_ = [held.enter_context(half(port)) for _ in range(5)]
        assert ended(first)
        assert answered(port) == b"ok"


def test_a_process_allows_itself_the_files_that_its_connections_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import resource

    endless = resource.RLIM_INFINITY
    for limits, most, asked in [
        ((1024, 1_000_000), 1000, (4000, 1_000_000)),
        ((256, 256), 64, None),
        ((256, 400), 100, (400, 400)),
        ((256, endless), 1000, (4000, endless)),
        ((endless, endless), 1000, None),
        ((100_000, 100_000), 1000, None),
    ]:
        given: list[Any] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        monkeypatch.setattr(resource, "setrlimit", lambda _, now, given=given: given.append(now))
        assert listening.most_connections() == most
        assert given == ([] if asked is None else [asked])


def test_nothing_listens_twice_and_the_sentence_says_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for host, taken, says in (
            ("127.0.0.1", port, f"Port {port} is taken by another program: name another"),
            ("192.0.2.1", 8000, r"Nothing can listen at 192\.0\.2\.1, port 8000"),
            ("no name", 8000, "Nothing can listen at no name, port 8000"),
        ):
            with pytest.raises(InputError, match=says), listening.listen(host, taken):
                pass


def test_a_name_of_both_kinds_of_addresses_listens_on_all() -> None:
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    bound: list[tuple[Any, ...]] = []

    def note(*asked: Any, alone: bool) -> socket.socket:
        bound.append((*asked, alone))
        return socket.socket()

    with (
        mock.patch.object(socket, "getaddrinfo", return_value=both * 2),
        mock.patch.object(listening, "_bind_socket", note),
        listening.listen("localhost", 0) as sockets,
    ):
        assert len(sockets) == 2
    assert bound == [
        (socket.AF_INET6, ("::1", 0, 0, 0), True),
        (socket.AF_INET, ("127.0.0.1", 0), True),
    ]
    assert [sock.fileno() for sock in sockets] == [-1, -1], "closed again"


def test_each_line_of_the_program_logs_so_often_in_a_minute_and_then_says_what_was_left_out() -> (
    None
):
    sparing = listening.RateLimitFilter(most=3)
    minute = 0.0

    def passed(line: int) -> str | None:
        record = logging.LogRecord("any", logging.ERROR, "file.py", line, "no %s", ("disk",), None)
        return record.getMessage() if sparing.filter(record) else None

    with mock.patch.object(listening, "monotonic", side_effect=lambda: minute):
        assert [passed(1) for _ in range(1000)] == ["no disk"] * 3 + [None] * 997
        assert passed(2) == "no disk", "another line has its own"
        minute = 61.0
        assert [passed(1), passed(1)] == ["no disk (997 more like this were left out)", "no disk"]
