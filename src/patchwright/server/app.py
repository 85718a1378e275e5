"""The ASGI app: routes, guard, errors, description."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI

from patchwright.server import errors
from patchwright.server.middleware import Guard
from patchwright.server.openapi import install_openapi
from patchwright.server.routes import error_docs, router
from patchwright.server.service import ExperimentService
from patchwright.web.hosts import Hosts

DESCRIPTION = """\
Which part of a language model caused its answer? Post an experiment, follow its job, fetch its
result. Every error is `{"error": {"code", "message"}}`; the message is the same sentence that the
command line and the page show.
"""

COMMON_RESPONSES: dict[int | str, Any] = {
    401: error_docs("The token is missing or wrong."),
    408: error_docs("The request body did not arrive in time."),
    413: error_docs("The body is too large."),
    415: error_docs("Content-Type must be application/json."),
    421: error_docs("The Host header names another host than this server."),
    422: error_docs("The request cannot be carried out; the message says why."),
    500: error_docs("Internal error."),
}


def make_app(service: ExperimentService, token: str | None, hosts: Hosts) -> FastAPI:
    """The app that serves `service`: with a token to those alone who send it, else under `hosts`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await run_sync(service.open)
        yield
        await run_sync(service.close)

    app = FastAPI(
        title="Patchwright",
        version=version("patchwright"),
        summary="Activation patching over HTTP.",
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=COMMON_RESPONSES,
        # FastAPI's pages of documentation load scripts from another site.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(router)
    app.add_middleware(Guard, token=token, limits=service.limits, hosts=hosts)
    errors.add_error_handlers(app)
    install_openapi(app, service.methods, token is not None)
    return app
