"""The HTTP interface in the test's own process: a service, its app, and experiments to ask for."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from fastapi.testclient import TestClient

import patchwright as pw
from patchwright.experiment.registry import Methods
from patchwright.methods import METHODS
from patchwright.server import service as services
from patchwright.server.app import make_app
from patchwright.server.limits import Limits
from patchwright.server.service import ExperimentService
from patchwright.storage.job_store import JobStore
from patchwright.web.hosts import Hosts
from timeouts import SECONDS

PAIR = {
    "clean": "When Mary and John went to the store, John gave a drink to",
    "corrupt": "When Mary and John went to the store, Mary gave a drink to",
    "answer": " Mary",
    "wrong": " John",
}


def asked(**changes: Any) -> dict[str, Any]:
    """A sweep of the residual stream of the demo model, with `changes`."""
    return {"method": "patch", "model": "demo", "per": "position", "pairs": PAIR} | changes


@contextmanager
def client_of(
    *models: pw.Model,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    token: str | None = None,
    store: JobStore | None = None,
    at_once: int = 1,
    headers: dict[str, str] | None = None,
    methods: Methods = METHODS,
) -> Generator[TestClient]:
    """A client of a server of these models, which runs meanwhile."""
    service = ExperimentService(models, store or JobStore(), limits, at_once, methods)
    app = make_app(service, token, Hosts("127.0.0.1"))
    with TestClient(
        app, "http://localhost", raise_server_exceptions=False, headers=headers
    ) as client:
        yield client


class Slow:
    """Experiments that wait after their first cells until `finish`."""

    def __init__(self) -> None:
        self.runs = 0
        self.began = threading.Event()
        self._free = threading.Event()

    def finish(self) -> None:
        self._free.set()

    def run_cached(
        self, experiment: Any, model: Any, store: Any, progress: Callable[[Any], Any], *rest: Any
    ) -> Any:
        self.runs += 1

        def slowly(now: Any) -> Any:
            goes_on = progress(now)
            self.began.set()
            if goes_on is not False:
                assert self._free.wait(SECONDS)
            return progress(now)

        return _run_cached(experiment, model, store, slowly, *rest)


_run_cached = services.run_cached


@contextmanager
def slowly() -> Generator[Slow]:
    """Inside, work waits for the test."""
    slow = Slow()
    with mock.patch.object(services, "run_cached", slow.run_cached):
        try:
            yield slow
        finally:
            slow.finish()
