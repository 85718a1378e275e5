"""The page as `patchwright app` serves it: Streamlit's app in this very process.

There is no second process that could go on after this one has ended, and none that looks for
modules or settings in the folder that it is started from.
"""

import contextlib
import sys
import threading
import webbrowser
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import streamlit as st
from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.web.bootstrap import load_config_options
from streamlit.web.cli import configurator_options

from patchwright.app import resources
from patchwright.web import listening
from patchwright.web.hosts import Hosts, host_header, is_loopback, is_same_origin

PAGE = Path(__file__).with_name("main.py")
STYLE = Path(__file__).with_name("page.css")

SETTINGS: Mapping[str, object] = {
    "browser.gatherUsageStats": False,
    "server.maxUploadSize": 5,
    "client.toolbarMode": "minimal",
    # A traceback has the paths of the server; its log has the traceback.
    "client.showErrorDetails": "none",
    # Streamlit's own red is too pale for text on a white page (contrast below 4.5).
    "theme.light.primaryColor": "#1f5fa8",
    "theme.dark.primaryColor": "#6aa9e9",
}
"""What the page sets of Streamlit's, wherever it is served."""

FOREIGN_NAME_MESSAGE = (
    "This page answers to localhost and its own address only, so that no other web site can reach it "
    "under a name of its own. To serve it under another name, start it with --name NAME.\n"
)


def serve(
    host: str, port: int, names: Sequence[str], own: bool, headless: bool, options: Sequence[str]
) -> None:
    """Serve the page until the process is told to end; `options` are read by `resources.options`.

    With `own`, or where only this machine reaches the page and under no further `names`, each
    visitor is the owner of all runs. Raises InputError where nothing can listen there.
    """
    alone = is_loopback(host) and not names
    own = own or alone
    sys.argv = [str(PAGE), *options]
    sys.argv += [flag for flag, is_so in (("--allow-edits", own), ("--alone", alone)) if is_so]
    configure({**SETTINGS, "server.address": host, "server.port": port, "secrets.files": []})
    app: ASGIApp = StyleMiddleware(st.App(PAGE, lifespan=_lifespan), STYLE.read_text("utf-8"))
    if own or names:
        app = HostMiddleware(app, Hosts(host, tuple(names)))
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with listening.listen(host, port) as sockets:
        print(f"Patchwright opens at {url} (Ctrl-C ends it).", flush=True)
        if not headless:
            for sock in sockets:
                sock.listen()  # the browser waits until the page is there
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        listening.serve(app, sockets, "websockets-sansio")


def configure(settings: Mapping[str, object]) -> None:
    """Give Streamlit these settings, above those of the environment and of its user's home folder.

    Streamlit reads a settings file of the current folder too, which may be anybody's: it could open
    the page to other sites. So it looks into this package's own folder, where there is none.
    """
    given: dict[str, object] = _environment_settings.main([], standalone_mode=False)
    with contextlib.chdir(PAGE.parent):
        load_config_options(
            given | {name.replace(".", "_"): value for name, value in settings.items()}
        )


@click.command
@configurator_options
def _environment_settings(**settings: object) -> dict[str, object]:
    """What variables such as STREAMLIT_SERVER_BASE_URL_PATH say."""
    return settings


@contextlib.asynccontextmanager
async def _lifespan(_: st.App) -> AsyncGenerator[dict[str, Any] | None]:
    if said := resources.fetch_first_model():
        print(said, flush=True)
    yield None
    await run_sync(resources.job_queue.clear)


class StyleMiddleware:
    """Adds the page's style to its HTML, so that nothing jumps while the page opens.

    As an element of the app the style would arrive after the first elements are drawn. It is added
    behind the end of the document, which browsers read as the end of its body: there it overrides
    the rules that Streamlit adds to the head, and the document need not be taken apart.
    """

    _PARTIAL = (b"accept-encoding", b"if-none-match", b"if-modified-since", b"range")
    """Request headers that ask for less than the whole uncompressed document, or only for a newer one."""

    def __init__(self, app: ASGIApp, style: str) -> None:
        self._app = app
        self._style = f"<style>{style}</style>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does, and add the style to an HTML document."""
        is_document = False

        async def send_styled(message: Message) -> None:
            nonlocal is_document
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                is_document = headers.get("content-type", "").startswith("text/html")
                if is_document:
                    size = int(headers["content-length"]) + len(self._style)
                    headers["content-length"] = str(size)
                    del headers["etag"], headers["last-modified"]
            elif is_document and not message.get("more_body"):
                message["body"] = message.get("body", b"") + self._style
            await send(message)

        if scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", ""):
            kept = [header for header in scope["headers"] if header[0] not in self._PARTIAL]
            await self._app({**scope, "headers": kept}, receive, send_styled)
        else:
            await self._app(scope, receive, send)


class HostMiddleware:
    """Refuses what comes under a foreign name, or from a page of another site: files, sockets, uploads."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] == "lifespan" or self._is_allowed(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(FOREIGN_NAME_MESSAGE, 421)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})  # before it is open: status 403

    def _is_allowed(self, scope: Scope) -> bool:
        return self._hosts.is_allowed(host_header(scope)) and is_same_origin(scope)
