"""Checkpoints from the model hub: fetched once, resumed when cut off, kept in its cache."""

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from patchwright.errors import CheckpointError, HubError, InputError, PatchwrightError
from patchwright.model.checkpoint import INDEX, WEIGHTS, check_config, weight_files

FILES = [
    "config.json",
    WEIGHTS,
    INDEX,
    "model-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
]
"""All that is fetched: nothing that runs code, no other framework's weights."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


def fetch(name: str, revision: str | None = None) -> Path:
    """The folder of a hub model, from the cache if it is whole there, else downloaded.

    Shows progress on standard error. Raises InputError for what cannot be a hub
    name, CheckpointError for a repository without a usable model, HubError where
    the hub cannot be reached.
    """
    if not _NAME.fullmatch(name) or ".." in name or "--" in name:
        raise InputError(
            f"'{name}' is neither a folder nor a hub name: hub names look like gpt2 or owner/model."
        )
    cached = _cached(name, revision)
    if cached is None:
        _check_reachable(name)
    return cached or _downloaded(name, revision)


def _check_reachable(name: str) -> None:
    """Say at once that there is no network; the hub's client would try for half a minute."""
    hub = urlsplit(constants.ENDPOINT)
    if getproxies() or hub.hostname is None:
        return
    port = hub.port or (443 if hub.scheme == "https" else 80)
    try:
        socket.create_connection((hub.hostname, port), timeout=10).close()
    except OSError as error:
        raise _unreachable(name, error) from error


def _cached(name: str, revision: str | None) -> Path | None:
    """The cached folder, if nothing is missing from it."""
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
        check_config(folder / "config.json", name)
        weight_files(folder, name)
    except (LocalEntryNotFoundError, CheckpointError):
        return None
    whole = any((folder / file).is_file() for file in ("tokenizer.json", "vocab.json"))
    return folder if whole else None


def _downloaded(name: str, revision: str | None) -> Path:
    try:
        # The config alone first: an unknown architecture is refused before its weights come.
        check_config(Path(hf_hub_download(name, "config.json", revision=revision)), name)
        return Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
    except GatedRepoError as error:
        raise HubError(
            f"The hub gives '{name}' only to those who have accepted its terms: accept them on its "
            "page, then set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(f"'{name}' has no revision '{revision}' on the hub.") from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"The hub has no model '{name}' (or it is private: then set HF_TOKEN). `patchwright "
            "models` lists names that work; a local folder is given by its path."
        ) from error
    except LocalEntryNotFoundError as error:
        raise _unreachable(name, error) from error
    except EntryNotFoundError as error:
        raise CheckpointError(
            f"'{name}' has no config.json on the hub, so it is no model."
        ) from error
    except PatchwrightError:
        raise
    except Exception as error:
        # The client lets its HTTP library's own exceptions through, and has changed that library.
        raise _unreachable(name, error) from error


def _unreachable(name: str, error: Exception) -> HubError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return HubError(
        f"'{name}' is not in {constants.HF_HUB_CACHE}, and the model hub could not be reached "
        f"({reason[:160]}). `--model demo` and a local folder need no network: put config.json, "
        f"{WEIGHTS} and tokenizer.json (or vocab.json and merges.txt) into a folder and name it. "
        "Files that came whole are kept: try again for the rest."
    )
