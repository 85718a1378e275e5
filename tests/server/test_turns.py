"""Many who want a figure, or a sentence explained, keep nobody else waiting."""

import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any
from unittest import mock

import anyio
import pytest
from anyio import create_task_group, wait_all_tasks_blocked
from fastapi.testclient import TestClient

import patchwright as pw
from http_service import asked, client_of, slowly
from patchwright.errors import QueueFullError
from patchwright.server import routes
from patchwright.server.limits import Limits
from patchwright.server.turns import Turns

CROWD = 60
SECONDS = 300
"""That a busy machine has for all of them."""

PATHS = ("/healthz", "/readyz", "/v1/models", "/v1/examples", "/v1/tokens?text=a")


def ended(client: TestClient, job: str) -> dict[str, Any]:
    """A job once it is over."""
    client.get(f"{job}/events")
    return client.get(job).json()


@contextmanager
def crowd(client: TestClient, method: str, path: str, **body: Any) -> Generator[SimpleQueue[Any]]:
    """Many requests at one time; the answers as they come."""
    answers: SimpleQueue[Any] = SimpleQueue()
    with ThreadPoolExecutor(CROWD) as pool:

        def answered(one: Future[Any]) -> None:
            answers.put(one.result())

        for _ in range(CROWD):
            pool.submit(client.request, method, path, **body).add_done_callback(answered)
        yield answers


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_crowd_that_wants_figures_is_served_in_turn_or_turned_away(
    demo: pw.Model, kind: str
) -> None:
    free, at_once = threading.Event(), [0]

    def drawn(*_: object) -> bytes:
        at_once[0] += 1
        assert at_once[0] == 1, "Matplotlib's settings are the whole process's"
        assert free.wait(SECONDS)
        at_once[0] -= 1
        return b"drawn"

    with client_of(demo, limits=Limits(drawings=4)) as client:
        job = client.post("/v1/experiments", json=asked(layers=[0]))
        result = ended(client, job.headers["location"])["result"]
        with (
            mock.patch.object(routes, "image_bytes", drawn),
            crowd(client, "GET", f"{result}?format={kind}") as answers,
        ):
            for _ in range(CROWD - 5):
                refused = answers.get(timeout=SECONDS)
                assert refused.status_code == 429
                assert refused.headers["retry-after"] == "10"
                assert "4 figures are already waiting" in refused.json()["error"]["message"]
            # One is drawn and four wait; all else is answered meanwhile, the result's numbers too.
            for path in (*PATHS, result):
                assert client.get(path).status_code == 200
            free.set()
            served = [answers.get(timeout=SECONDS) for _ in range(5)]
        assert {(one.status_code, one.content) for one in served} == {(200, b"drawn")}


def test_a_crowd_that_wants_sentences_explained_is_turned_away_too(demo: pw.Model) -> None:
    free = threading.Event()

    def analysed(*_: object) -> None:
        assert free.wait(SECONDS)

    with (
        mock.patch.object(routes, "_explain_agreement", analysed),
        client_of(demo, limits=Limits(analyses=4)) as client,
        crowd(client, "POST", "/v1/agreement", json={"sentence": "The keys are"}) as answers,
    ):
        for _ in range(CROWD - 8 - 4):
            refused = answers.get(timeout=SECONDS)
            assert refused.status_code == 429
            assert "4 sentences are already waiting" in refused.json()["error"]["message"]
        for path in PATHS:
            assert client.get(path).status_code == 200
        free.set()


def test_a_crowd_that_waits_for_the_end_of_a_job_holds_no_thread(demo: pw.Model) -> None:
    waits = mock.patch.object(routes, "STOP_TIMEOUT", 2 * SECONDS)
    with client_of(demo) as client, slowly() as slow, waits:
        job = client.post("/v1/experiments", json=asked()).headers["location"]
        assert slow.began.wait(SECONDS)
        with crowd(client, "DELETE", job) as answers:
            # It does not end before the test lets it.
            for path in PATHS:
                assert client.get(path).status_code == 200
            slow.finish()
            states = {answers.get(timeout=SECONDS).json()["state"] for _ in range(CROWD)}
        assert states == {"stopped"}


def test_those_who_come_at_the_same_instant_are_counted_too() -> None:
    async def all_at_once() -> list[bool]:
        turns, free = Turns(1, 4, "figures"), threading.Event()
        served = [False] * CROWD

        async def one(number: int) -> None:
            with suppress(QueueFullError):
                served[number] = await turns.run(lambda: free.wait(SECONDS))

        async with create_task_group() as group:
            for number in range(CROWD):
                group.start_soon(one, number)
            await wait_all_tasks_blocked()
            free.set()
        return served

    assert sum(anyio.run(all_at_once)) == 5
