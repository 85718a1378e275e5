"""Many who want a figure, or a sentence explained, keep nobody else waiting."""

import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any
from unittest import mock

import pytest
from fastapi.testclient import TestClient

import patchwright as pw
from patchwright.api import routes
from patchwright.api.limits import Limits
from served import SECONDS, asked, client_of, slowly

CROWD = 60
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
            mock.patch.object(routes, "image", drawn),
            crowd(client, "GET", f"{result}?format={kind}") as answers,
        ):
            for _ in range(CROWD - 5):
                refused = answers.get(timeout=SECONDS)
                assert refused.status_code == 429
                assert refused.headers["retry-after"] == "10"
                assert "4 figures wait already" in refused.json()["error"]["message"]
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
        mock.patch.object(routes, "_analysed", analysed),
        client_of(demo, limits=Limits(analyses=4)) as client,
        crowd(client, "POST", "/v1/agreement", json={"sentence": "The keys are"}) as answers,
    ):
        for _ in range(CROWD - 8 - 4):
            refused = answers.get(timeout=SECONDS)
            assert refused.status_code == 429
            assert "4 sentences wait already" in refused.json()["error"]["message"]
        for path in PATHS:
            assert client.get(path).status_code == 200
        free.set()


def test_a_crowd_that_waits_for_the_end_of_a_job_holds_no_thread(demo: pw.Model) -> None:
    waits = mock.patch.object(routes, "STOPPING", 2 * SECONDS)
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
