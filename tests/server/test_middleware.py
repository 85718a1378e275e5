"""Who is answered, and how much they may send."""

import json
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

import patchwright as pw
from http_service import asked, client_of
from patchwright.server.limits import Limits
from patchwright.server.middleware import Guard
from patchwright.web.hosts import Hosts

TOKEN = "só-secret"
JSON = {"Content-Type": "application/json"}
PATHS = ("/v1/models", "/v1/examples", "/v1/jobs/0", "/v1/results/0", "/v1/tokens?text=a", "/none")


def bearer(token: str) -> dict[bytes, bytes]:
    return {b"Authorization": f"Bearer {token}".encode()}


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("path", PATHS)
def test_with_a_token_nobody_else_is_answered(demo: pw.Model, path: str) -> None:
    with client_of(demo, token=TOKEN) as client:
        for headers in (
            {},
            bearer("wrong"),
            bearer(""),
            bearer(TOKEN[:-1]),
            {b"Authorization": b"x"},
        ):
            refused = client.get(path, headers=headers)
            assert code_of(refused) == (401, "unauthorized")
            assert refused.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in refused.text
        assert client.get(path, headers=bearer(TOKEN)).status_code in (200, 404)


def test_a_stranger_cannot_even_have_a_body_read(demo: pw.Model) -> None:
    with client_of(demo, token=TOKEN) as client:
        assert client.post("/v1/experiments", content="[" * 10**7).status_code == 401
        assert client.post("/v1/agreement", json={"sentence": "The keys are"}).status_code == 401
        assert client.delete("/v1/jobs/0").status_code == 401


def test_health_and_the_description_need_no_token_and_say_that_the_rest_does(
    demo: pw.Model,
) -> None:
    with client_of(demo, token=TOKEN) as client:
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        described = client.get("/openapi.json").json()
        assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        assert described["security"] == [{"token": []}]
        assert TOKEN not in json.dumps(described)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "testserver", "192.0.2.1"],
)
def test_without_a_token_no_web_page_reaches_it_by_another_name(demo: pw.Model, host: str) -> None:
    with client_of(demo) as client:
        assert code_of(client.get("/v1/models", headers={"Host": host})) == (421, "host")
    with client_of(demo, token=TOKEN) as client:
        headers = {b"Host": host.encode(), **bearer(TOKEN)}
        assert client.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost:8000", "LocalHost", "127.0.0.1", "127.0.0.2:1", "[::1]:8000", "[::1]"]
)
def test_its_own_names_are_answered(demo: pw.Model, host: str) -> None:
    with client_of(demo) as client:
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_other_origins_are_closed(demo: pw.Model) -> None:
    origin = {"Origin": "https://evil.example"}
    with client_of(demo) as client:
        asking = origin | {"Access-Control-Request-Method": "POST"}
        assert client.options("/v1/experiments", headers=asking).status_code == 405
        for answer in (
            client.get("/v1/models", headers=origin),
            client.get("/healthz", headers=origin),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]
        plain = client.post(
            "/v1/experiments", content=json.dumps(asked()), headers={"Content-Type": "text/plain"}
        )
        assert code_of(plain) == (415, "not_json"), "what a page may send unasked is refused"


def test_a_body_that_is_too_large_is_refused_also_where_its_length_is_not_told(
    demo: pw.Model,
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(11):
            yield b" " * 100

    with client_of(demo, limits=Limits(body=1000)) as client:
        told = client.post("/v1/agreement", content=b" " * 1001, headers=JSON)
        untold = client.post("/v1/agreement", content=pieces(), headers=JSON)
        lied = client.post(
            "/v1/agreement", content=b" " * 9, headers=JSON | {"Content-Length": "x"}
        )
        fits = client.post("/v1/agreement", content=b" " * 1000, headers=JSON)
        assert code_of(told) == code_of(untold) == code_of(lied) == (413, "too_large")
        assert code_of(fits) == (422, "request")
        assert "1,000 bytes" in told.json()["error"]["message"]


def test_a_body_that_does_not_arrive_is_not_waited_for() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    async def never(*_: object) -> None:
        raise AssertionError("it came through")

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/experiments"}
    scope["headers"] = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    guard = Guard(never, None, Limits(arrival=0.01), Hosts("127.0.0.1"))
    anyio.run(guard, scope, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "too_slow"


def test_the_clients_own_way_of_writing_the_type_is_understood(demo: pw.Model) -> None:
    with client_of(demo) as client:
        kind = {"Content-Type": "Application/JSON; charset=utf-8"}
        answer = client.post("/v1/agreement", content=b'{"sentence": "Hm"}', headers=kind)
        assert code_of(answer) == (422, "prompt")
