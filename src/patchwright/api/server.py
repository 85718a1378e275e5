"""Starting the server: models, token, then listening."""

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvicorn

from patchwright.api.app import make_app
from patchwright.api.limits import Limits
from patchwright.api.office import Office
from patchwright.errors import InputError
from patchwright.keep.served import ServedStore
from patchwright.model.load import Model, load_model

TOKEN = "PATCHWRIGHT_TOKEN"
LAST_SECONDS = 5
"""How long requests under way may go on once the server is to end."""


def serve(
    names: Sequence[str],
    host: str,
    port: int,
    token_file: Path | None,
    device: str,
    limits: Limits,
    at_once: int,
) -> None:
    """Load the models and answer until the process is told to end.

    Raises InputError where others could reach the server without a token or the port is
    taken, and what `load_model` raises.
    """
    token = token_of(token_file)
    check_reach(host, token)
    check_free(host, port)
    office = Office(load_all(names, device), ServedStore(), limits, at_once)
    sys.stderr.write(f"Patchwright answers at http://{host}:{port} (Ctrl-C ends it).\n")
    uvicorn.run(
        make_app(office, token),
        host=host,
        port=port,
        # Addresses may hold prompts: they are not logged.
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=LAST_SECONDS,
    )


def load_all(names: Sequence[str], device: str) -> list[Model]:
    """The models, a folder's under the folder's name: its path is nobody's business.

    Raises InputError where two would have one name.
    """
    models: list[Model] = []
    for name in names:
        one = load_model(name, device)
        models.append(
            replace(one, name=Path(name).resolve().name) if one.source == "folder" else one
        )
        if [known.name for known in models].count(models[-1].name) > 1:
            raise InputError(
                f"Two models would be called '{models[-1].name}': name each --model once, and give "
                "folders different names."
            )
    return models


def token_of(file: Path | None) -> str | None:
    """The token that requests must send: the file's, else the environment's, else none.

    Raises InputError for a file that cannot be read or is empty.
    """
    if file is None:
        return os.environ.get(TOKEN, "").strip() or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"--token-file '{file}' cannot be read: {why}.") from error
    if not token:
        raise InputError(f"--token-file '{file}' is empty: write a token into it.")
    return token


def check_reach(host: str, token: str | None) -> None:
    """Raise InputError where a server without a token would listen beyond this machine."""
    if token is None and not _is_own(host):
        raise InputError(
            f"--host {host} lets other machines reach this server, and it has no token: set "
            f"{TOKEN} or --token-file, or leave --host at 127.0.0.1."
        )


def check_free(host: str, port: int) -> None:
    """Raise InputError where nothing can listen at this address, before models are loaded."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0]) as probe:
            # As the server does: a port that was left a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"Port {port} is taken by another program: name another with --port."
            ) from error
        raise InputError(
            f"Nothing can listen at {host}, port {port} ({error.strerror}): name an address of this "
            "machine with --host, and a port above 1023."
        ) from error


def _is_own(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
