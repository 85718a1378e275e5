"""Jobs over HTTP: shared, followed, stopped, turned away, bounded in time, remembered."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

import patchwright as pw
from http_service import asked, client_of, slowly
from patchwright.server import service as services
from patchwright.server.limits import Limits
from patchwright.server.service import ExperimentService
from patchwright.storage.job_store import JobStore
from timeouts import SECONDS

BIG = {"site": "z", "per": "head_position"}
"""A sweep of several batches."""


def events_of(text: str) -> list[tuple[str, Any]]:
    """Name and data of each event in a stream."""
    found: list[tuple[str, Any]] = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def ended(client: TestClient, job: str) -> dict[str, Any]:
    """A job once it is over."""
    client.get(f"{job}/events")
    return client.get(job).json()


def test_the_same_experiment_asked_twice_while_it_runs_is_one_job(demo: pw.Model) -> None:
    with client_of(demo) as client, slowly() as slow:
        first, second = (client.post("/v1/experiments", json=asked()) for _ in range(2))
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.headers["location"] == second.headers["location"]
        other = client.post("/v1/experiments", json=asked(direction="noise"))
        assert other.headers["location"] != first.headers["location"]
        assert other.json()["state"] == "waiting"
        slow.finish()
        assert ended(client, first.headers["location"])["state"] == "done"
        assert ended(client, other.headers["location"])["state"] == "done"
        assert slow.runs == 2


def test_the_event_stream_has_every_finished_cell_once_and_ends(demo: pw.Model) -> None:
    with client_of(demo) as client, slowly() as slow:
        job = client.post("/v1/experiments", json=asked(**BIG)).json()
        slow.finish()
        events = events_of(client.get(job["events"]).text)
        names = [name for name, _ in events]
        assert names == ["progress"] * (len(events) - 1) + ["done"]
        result = client.get(events[-1][1]["result"]).json()
        found = np.full(np.shape(result["patched"]), np.nan)
        for _, data in events[:-1]:
            for (pair, *at), value in data["cells"]:
                assert pair == 0
                assert np.isnan(found[tuple(at)]), "a cell came twice"
                found[tuple(at)] = value
        np.testing.assert_array_equal(found, result["patched"])
        assert events[-2][1]["job"]["total"] == found.size
        late = events_of(client.get(job["events"]).text)
        assert sum(len(data.get("cells", ())) for _, data in late) == found.size


def test_stopping_keeps_what_is_finished_and_says_how_much(demo: pw.Model) -> None:
    with client_of(demo) as client, slowly() as slow:
        job = client.post("/v1/experiments", json=asked(**BIG)).headers["location"]
        assert slow.began.wait(SECONDS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("patchwright.server.routes.STOP_TIMEOUT", 0.0)
            assert client.delete(job).json()["state"] == "stopping"
        slow.finish()
        view = ended(client, job)
        assert view["state"] == "stopped"
        assert (
            "cells are computed, and the others are empty. What is finished is kept."
            in view["message"]
        )
        result = client.get(view["result"]).json()
        assert [one["code"] for one in result["warnings"]][-1] == "stopped"
        values = np.array(result["patched"], dtype=float)
        assert 0 < np.isfinite(values).sum() == view["done"] < values.size
        assert client.delete(job).json() == view, "what is over stays as it is"
        fresh = client.post("/v1/experiments", json=asked(**BIG))
        assert fresh.status_code == 202, "what was stopped answers nothing"
        assert fresh.headers["location"] != job
        assert ended(client, fresh.headers["location"])["state"] == "done"
        assert None not in np.ravel(client.get(view["result"]).json()["patched"])


def test_a_job_that_is_stopped_before_its_turn_is_never_begun(demo: pw.Model) -> None:
    with client_of(demo) as client, slowly() as slow:
        first = client.post("/v1/experiments", json=asked()).headers["location"]
        assert slow.began.wait(SECONDS)
        waiting = client.post("/v1/experiments", json=asked(direction="noise")).headers["location"]
        view = client.delete(waiting).json()
        assert (view["state"], view["result"]) == ("stopped", None)
        assert view["message"] == "Cancelled before it started; there is no result."
        assert [name for name, _ in events_of(client.get(f"{waiting}/events").text)] == ["stopped"]
        slow.finish()
        assert ended(client, first)["state"] == "done"
        assert slow.runs == 1


def test_one_too_many_is_turned_away_with_the_time_to_come_back(demo: pw.Model) -> None:
    with client_of(demo, limits=Limits(queue=1)) as client, slowly() as slow:
        assert client.get("/readyz").status_code == 200
        client.post("/v1/experiments", json=asked())
        assert slow.began.wait(SECONDS)
        waiting = client.post("/v1/experiments", json=asked(direction="noise"))
        refused = client.post("/v1/experiments", json=asked(site="attn_out"))
        assert (waiting.status_code, refused.status_code) == (202, 429)
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"]["code"] == "busy"
        assert client.get("/readyz").json()["error"]["code"] == "busy"
        assert client.get("/healthz").status_code == 200
        sentence = {"sentence": "The keys to the cabinet are here"}
        assert client.post("/v1/agreement", json=sentence).status_code == 429
        slow.finish()
        assert ended(client, waiting.headers["location"])["state"] == "done"
        assert client.post("/v1/experiments", json=asked(site="attn_out")).status_code == 202


def test_a_job_is_stopped_when_its_time_is_up(demo: pw.Model) -> None:
    with client_of(demo, limits=Limits(seconds=1e-6)) as client:
        job = client.post("/v1/experiments", json=asked(**BIG)).headers["location"]
        view = ended(client, job)
        assert view["state"] == "stopped"
        assert view["message"].startswith(
            "A job may take 1e-06 seconds here. The sweep was stopped"
        )
        stopped = client.post("/v1/agreement", json={"sentence": "The keys to it are here"})
        assert (stopped.status_code, stopped.json()["error"]["code"]) == (503, "stopped")


def test_a_fault_in_a_job_is_a_sentence_and_the_servers_log_has_the_rest(
    demo: pw.Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret path")

    monkeypatch.setattr(services, "run_cached", broken)
    with client_of(demo) as client:
        view = ended(client, client.post("/v1/experiments", json=asked()).headers["location"])
    assert (view["state"], view["error"]["code"]) == ("failed", "internal")
    assert "secret" not in json.dumps(view)
    assert "secret" in caplog.text


def test_who_goes_away_leaves_nothing_behind(demo: pw.Model) -> None:
    """The stream's generator is closed, and the job goes on for others."""
    with client_of(demo) as client, slowly() as slow:
        job = client.post("/v1/experiments", json=asked()).json()
        assert slow.began.wait(SECONDS)
        tasks = client.portal
        assert tasks is not None
        before = tasks.call(_tasks)
        tasks.call(_read_and_leave, client.app, job["events"])
        assert tasks.call(_tasks) == before
        assert client.get(f"/v1/jobs/{job['id']}").json()["state"] == "running"
        slow.finish()
        assert ended(client, f"/v1/jobs/{job['id']}")["state"] == "done"


def test_more_streams_than_may_be_open_are_turned_away_and_places_become_free(
    demo: pw.Model,
) -> None:
    with client_of(demo, limits=Limits(streams=1)) as client, slowly() as slow:
        job = client.post("/v1/experiments", json=asked()).json()
        assert slow.began.wait(SECONDS)
        tasks = client.portal
        assert tasks is not None
        refused: list[httpx.Response] = []

        async def another() -> None:
            inside = httpx.ASGITransport(client.app)
            async with httpx.AsyncClient(transport=inside, base_url="http://localhost") as second:
                refused.append(await second.get(job["events"]))

        tasks.call(_read_and_leave, client.app, job["events"], another)
        assert refused[0].status_code == 429
        assert int(refused[0].headers["retry-after"]) > 0
        assert "1 streams of events are open" in refused[0].json()["error"]["message"]
        slow.finish()
        for _ in range(3):
            assert events_of(client.get(job["events"]).text)[-1][0] == "done"


async def _tasks() -> int:
    await anyio.wait_all_tasks_blocked()
    return len(anyio.get_running_tasks())


async def _nothing() -> None:
    pass


async def _read_and_leave(
    app: Any, path: str, meanwhile: Callable[[], Awaitable[None]] = _nothing
) -> None:
    """A request as a server hands it over, whose client goes after the first event.

    Between the event and its going `meanwhile` is done.
    """
    came = anyio.Event()
    first = True

    async def receive() -> dict[str, Any]:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await came.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and b"event: progress" in message["body"]:
            await meanwhile()
            came.set()

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }  # fmt: skip
    with anyio.fail_after(SECONDS):
        await app(scope, receive, send)


def test_jobs_are_remembered_by_the_next_server_and_the_unfinished_marked_lost(
    demo: pw.Model, tmp_path: Any
) -> None:
    store = JobStore(tmp_path)
    with client_of(demo, store=store) as client:
        finished = client.post("/v1/experiments", json=asked()).headers["location"]
        assert ended(client, finished)["state"] == "done"
        failed = client.post("/v1/experiments", json=asked(layers=[99])).headers["location"]
        assert ended(client, failed)["state"] == "failed"
    gone = ExperimentService(
        [demo], store, Limits(), 1
    )  # one that is never closed, as after kill -9
    with slowly() as slow:
        lost = gone.submit(pw.Patch.of(asked(direction="noise")))
        assert slow.began.wait(SECONDS)
        with client_of(demo, store=store) as client:
            assert client.get(finished).json()["state"] == "done"
            assert client.get(client.get(finished).json()["result"]).status_code == 200
            assert client.get(failed).json()["error"]["message"]
            view = client.get(f"/v1/jobs/{lost}").json()
            assert (view["state"], view["result"]) == ("lost", None)
            assert "ask again" in view["message"]
            assert [n for n, _ in events_of(client.get(view["events"]).text)] == ["lost"]
            assert client.delete(f"/v1/jobs/{lost}").json() == view
        slow.finish()
        gone.close()


def test_a_server_that_ends_stops_its_jobs_and_keeps_what_is_finished(
    demo: pw.Model, tmp_path: Any
) -> None:
    store = JobStore(tmp_path)
    with slowly() as slow:
        with client_of(demo, store=store) as client:
            running = client.post("/v1/experiments", json=asked(**BIG)).headers["location"]
            waiting = client.post("/v1/experiments", json=asked()).headers["location"]
            assert slow.began.wait(SECONDS)
            slow.finish()
        with client_of(demo, store=store) as client:
            assert client.get(waiting).json()["state"] == "stopped"
            view = client.get(running).json()
            assert view["state"] in ("stopped", "done")
            assert client.get(view["result"]).status_code == 200


def test_of_many_jobs_the_newest_are_held_and_the_store_has_the_others(
    demo: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MOST_JOBS_IN_MEMORY", 2)
    with client_of(demo) as client:
        jobs: list[str] = []
        for site in ("resid_pre", "resid_mid", "attn_out", "mlp_out"):
            jobs.append(client.post("/v1/experiments", json=asked(site=site)).headers["location"])
            assert ended(client, jobs[-1])["state"] == "done"
        for job in jobs:
            view = client.get(job).json()
            assert (view["state"], view["result"][:12]) == ("done", "/v1/results/")
