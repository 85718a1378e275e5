"""What is checked before a request is read: host, token, size and time. Plain ASGI."""

import asyncio
import secrets

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from patchwright.errors import ApiError
from patchwright.server.errors import response_of
from patchwright.server.limits import Limits
from patchwright.web.hosts import Hosts, host_header

PUBLIC_PATHS = ("/healthz", "/readyz", "/openapi.json")
"""What needs no token: it says nothing about anybody's work."""


class Guard:
    """Refuses strangers, bodies that are too large or too slow, and what is not JSON."""

    def __init__(self, app: ASGIApp, token: str | None, limits: Limits, hosts: Hosts) -> None:
        self.app = app
        self._hosts = hosts
        self._token = None if token is None else token.encode()
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check_caller(scope)
            body = await self._read_body(scope, receive)
        except ApiError as error:
            await _send_response(response_of(error), scope, receive, send)
            return
        await self.app(scope, _replay(body, receive), send)

    def _check_caller(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if scope["path"] in PUBLIC_PATHS:
            return
        if self._token is None:
            if not self._hosts.is_allowed(host_header(scope)):
                raise ApiError(
                    421,
                    "host",
                    "A server without a token answers to localhost and its own address only: start "
                    "it with a token (PATCHWRIGHT_TOKEN) to serve it under another name.",
                )
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        # Headers are Latin-1; compare_digest takes as long for a near miss as for any other.
        same = secrets.compare_digest(given.strip().encode("latin-1"), self._token)
        if kind.lower() != "bearer" or not same:
            raise ApiError(
                401,
                "unauthorized",
                "The token is missing or wrong: send it as `Authorization: Bearer TOKEN`.",
                {"WWW-Authenticate": "Bearer"},
            )

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, counted as it arrives. Raises ApiError."""
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._limits.body:
            raise self._too_large_error()
        try:
            async with asyncio.timeout(self._limits.arrival):
                body = await self._receive_body(receive)
        except TimeoutError as error:
            raise ApiError(
                408,
                "too_slow",
                f"The body did not arrive within {self._limits.arrival:g} seconds: send it again.",
            ) from error
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            raise ApiError(
                415, "not_json", "Send JSON, with the header `Content-Type: application/json`."
            )
        return body

    async def _receive_body(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                break  # they have left
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > self._limits.body:
                raise self._too_large_error()
        return b"".join(parts)

    def _too_large_error(self) -> ApiError:
        return ApiError(
            413,
            "too_large",
            f"The body is larger than {self._limits.body:,} bytes, the most that this server takes: "
            "ask for less at one time.",
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    """What has been read, once more; then whatever comes behind it."""
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def messages() -> Message:
        return rest.pop() if rest else await receive()

    return messages


async def _send_response(answer: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    # What is left of a body is not read: the connection cannot be used again.
    answer.headers["connection"] = "close"
    await answer(scope, receive, send)
