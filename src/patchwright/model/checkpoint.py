"""What a folder must hold to be loaded, checked before anything runs.

Weights come from safetensors alone: unpickling a `pytorch_model.bin` runs
whatever code its maker put in.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.core_model_loading import revert_weight_conversion

from patchwright.errors import CheckpointError, convert_errors, quoted
from patchwright.model.config import ModelConfig, config_error, read_config, read_json
from patchwright.model.devices import CPU, check_room

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model.pt")
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors", re.ASCII)
_BUFFERS = (
    ".attn.bias",
    ".attn.masked_bias",
    ".attention.bias",
    ".attention.masked_bias",
    ".rotary_emb.inv_freq",
)
"""Causal masks and frequencies that old checkpoints carry along; the architecture has its own."""

_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What PyTorch puts into the names of a model that was trained in parallel, or compiled."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder that has passed the checks.

    `names` says for each tensor in the `weights` files that is read what Transformers calls it
    where it saves such a model.
    """

    folder: Path
    name: str
    config: ModelConfig
    weights: list[Path]
    names: dict[str, str]

    quantization: None = None

    @property
    def files(self) -> list[Path]:
        """All that is read."""
        texts = (sorted(self.folder.glob(pattern)) for pattern in ("*.json", "*.txt", "*.jinja"))
        return [*self.weights, *chain(*texts)]

    @property
    def stored_dtype(self) -> str:
        """The precisions that the files have their tensors in, such as 'bfloat16'."""
        found: set[str] = set()
        for path in self.weights:
            with safe_open(path, framework="pt") as file:
                found |= {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        return " and ".join(name for stored, name in PRECISIONS.items() if stored in found)

    def tensors(self) -> dict[str, Tensor]:
        """The weights by the names that Transformers saves them under, mapped from their files."""
        found: dict[str, Tensor] = {}
        for path in self.weights:
            with safe_open(path, framework="pt") as file:
                stored = [key for key in file.keys() if key in self.names]  # noqa: SIM118
                found |= {self.names[key]: file.get_tensor(key) for key in stored}
        return found

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The folder's tokenizer. Raises CheckpointError."""
        if not any((self.folder / file).is_file() for file in ("tokenizer.json", "vocab.json")):
            raise CheckpointError(
                f"'{self.name}' has no tokenizer: put tokenizer.json (or vocab.json and merges.txt) "
                "beside its weights, for instance with `tokenizer.save_pretrained(folder)`."
            )
        with convert_errors(
            lambda why: CheckpointError(f"The tokenizer of '{self.name}' cannot be read: {why}.")
        ):
            return AutoTokenizer.from_pretrained(
                self.folder,
                config=self.config.settings,
                local_files_only=True,
                trust_remote_code=False,
            )


def check_checkpoint(
    folder: Path, name: str, precision: torch.dtype, devices: Sequence[torch.device] = (CPU,)
) -> Checkpoint:
    """Check config, architecture, weight files, tensor shapes and memory.

    Raises CheckpointError or UnknownFamilyError with what is wrong and what to
    do; MemoryBudgetError where the weights are larger than the free memory of `devices`.
    """
    if not any(folder.iterdir()):
        raise CheckpointError(
            f"The folder '{name}' is empty: it needs config.json, {WEIGHTS} and tokenizer.json."
        )
    config = read_config(folder / "config.json", name)
    files = weight_files(folder, name)
    found = _tensor_shapes(files, name)
    module = empty_model(config, name)
    names = _tensor_names(found, module, name)
    check_shapes({names[key]: shape for key, shape in found.items() if key in names}, module, name)
    check_memory(module, precision, name, devices)
    return Checkpoint(folder, name, config, files, names)


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a folder, one or the shards of an index."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        files = [folder / shard for shard in _shards(read_json(folder / INDEX, name), name)]
        if missing := [file.name for file in files if not file.is_file()]:
            raise CheckpointError(f"'{name}' lacks the weight file {missing[0]}: copy it there.")
        return files
    if pickle := next((file for file in _PICKLES if (folder / file).exists()), None):
        raise CheckpointError(
            f"'{name}' holds its weights only as a pickle ({pickle}), and unpickling runs whatever "
            'code is in it. If you trust the file, convert it once: python -c "from transformers '
            "import AutoModelForCausalLM as M; M.from_pretrained('FOLDER').save_pretrained('NEW')\"."
        )
    raise CheckpointError(
        f"'{name}' has no weights: it needs {WEIGHTS} (or {INDEX} and its shards)."
    )


def _shards(index: dict[str, Any], name: str) -> list[str]:
    """The weight files that an index names, each in its folder. Raises CheckpointError."""
    shards = index.get("weight_map")
    named: list[object] = list(shards.values()) if isinstance(shards, dict) else [None]
    found: set[str] = set()
    for one in named:
        if not isinstance(one, str) or not _SHARD.fullmatch(one):
            raise CheckpointError(
                f"'{name}': {INDEX} must name .safetensors files of its own folder, and names "
                f"{str(one)[:60]!r}."
            )
        found.add(one)
    return sorted(found)


def check_memory(
    module: PreTrainedModel,
    precision: torch.dtype,
    name: str,
    devices: Sequence[torch.device] = (CPU,),
) -> None:
    """Raise MemoryBudgetError where the weights are larger than the free memory of `devices`.

    It asks for the model as `empty_model` makes it of its config alone, before weights come.
    """
    # A tied unembedding is the embedding's own parameter, and counts once.
    needed = sum(one.numel() * precision.itemsize for one in module.parameters())
    needed += sum(buffer.nbytes for buffer in module.buffers())
    check_room(needed, devices, name)
    if len(devices) == 1:
        # On its way to a single device a model passes through the main memory whole.
        check_room(needed, [CPU], name)


def empty_model(config: ModelConfig, name: str) -> PreTrainedModel:
    """The model without memory for its weights. Raises CheckpointError."""
    model_class: Any = config.model_class
    try:
        with torch.device("meta"):
            return model_class(config.settings)
    except Exception as error:
        raise config_error(name, error, config.written_in) from error


PRECISIONS = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def _tensor_shapes(files: Iterable[Path], name: str) -> dict[str, list[int]]:
    """Tensor name -> shape, from the files' headers."""
    shapes: dict[str, list[int]] = {}
    for path in files:
        with (
            convert_errors(_damaged_file_error(path, name)),
            safe_open(path, framework="pt") as file,
        ):
            shapes |= {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    return shapes


def _damaged_file_error(path: Path, name: str) -> Callable[[str], CheckpointError]:
    return lambda why: CheckpointError(
        f"'{name}': {path.name} is cut short or damaged ({why}). Fetch it again."
    )


def _tensor_names(stored: Iterable[str], module: PreTrainedModel, name: str) -> dict[str, str]:
    """What Transformers calls each tensor that is read. Raises CheckpointError for two of one name."""
    own = {
        key: ".".join(part for part in key.split(".") if part not in _WRAPPERS)
        for key in stored
        if not key.endswith(_BUFFERS)
    }
    prefix = f"{module.base_model_prefix}."
    if not any(one.startswith(prefix) for one in own.values()):
        # The body's own names: the first GPT-2 checkpoints have them, and a body saved alone.
        # They may be saved under other names, or divided.
        expected = {**module.state_dict(), **revert_weight_conversion(module, module.state_dict())}
        own = {key: one if one in expected else prefix + one for key, one in own.items()}
    seen: dict[str, str] = {}
    for key, one in own.items():
        if one in seen:
            raise CheckpointError(
                f"'{name}': its weights have {quoted(one)} twice, as {quoted(seen[one])} "
                f"and as {quoted(key)}. Save it again."
            )
        seen[one] = key
    return own


def check_shapes(found: dict[str, list[int]], module: PreTrainedModel, name: str) -> None:
    """Raise CheckpointError where tensors are missing, unknown or of another shape.

    `found` has the tensors' shapes by the model's names, or by those that its class saves.
    """
    tied, own = module.all_tied_weights_keys, module.state_dict()
    needed = {key: tensor for key, tensor in own.items() if key not in tied}
    if not set(found) <= set(own):
        own, needed = (revert_weight_conversion(module, some) for some in (own, needed))
    expected = {key: list(tensor.shape) for key, tensor in own.items()}
    missing = sorted(set(needed) - set(found))
    unknown = sorted(set(found) - set(expected))
    wrong = [key for key, shape in found.items() if key in expected and expected[key] != shape]
    if missing and not any(key.startswith(f"{module.base_model_prefix}.") for key in missing):
        raise CheckpointError(
            f"'{name}' lacks {missing[0]}, without which its states give no next token: save the "
            f"whole {type(module).__name__}, not its body alone."
        )
    for problem, keys in (("lacks", missing), ("has the unknown", unknown)):
        if keys:
            raise CheckpointError(
                f"'{name}': its weights do not fit its config: it {problem} tensor {quoted(keys[0])}"
                f"{f' and {len(keys) - 1} more' if keys[1:] else ''}. Fetch or save it again."
            )
    if wrong:
        raise CheckpointError(
            f"'{name}': its weights do not fit its config: {wrong[0]} is {found[wrong[0]]} and "
            f"should be {expected[wrong[0]]}. Fetch or save it again."
        )
