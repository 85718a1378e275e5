"""Starting the server: models, token, then listening."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from patchwright.errors import InputError
from patchwright.model.load import Model, load_model
from patchwright.server.app import make_app
from patchwright.server.limits import Limits
from patchwright.server.service import ExperimentService
from patchwright.storage.job_store import JobStore
from patchwright.web import listening
from patchwright.web.hosts import Hosts, is_loopback

TOKEN = "PATCHWRIGHT_TOKEN"


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
    token = read_token(token_file)
    check_reach(host, token)
    with listening.listen(host, port) as sockets:
        service = ExperimentService(load_models(names, device), JobStore(), limits, at_once)
        sys.stderr.write(f"Patchwright answers at http://{host}:{port} (Ctrl-C ends it).\n")
        listening.serve(make_app(service, token, Hosts(host)), sockets)


def load_models(names: Sequence[str], device: str) -> list[Model]:
    """The models, a folder's under the folder's name: its path is nobody's business.

    Raises InputError where two would have one name.
    """
    models: list[Model] = []
    for name in names:
        one = load_model(name, device)
        models.append(one.named(Path(name).resolve().name) if one.source == "folder" else one)
        if [known.name for known in models].count(models[-1].name) > 1:
            raise InputError(
                f"Two models would be called '{models[-1].name}': name each --model once, and give "
                "folders different names."
            )
    return models


def read_token(file: Path | None) -> str | None:
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
    if token is None and not is_loopback(host):
        raise InputError(
            f"--host {host} lets other machines reach this server, and it has no token: set "
            f"{TOKEN} or --token-file, or leave --host at 127.0.0.1."
        )
