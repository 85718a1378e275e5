"""What a folder must hold to be loaded, checked before anything runs.

Weights come from safetensors alone: unpickling a `pytorch_model.bin` runs
whatever code its maker put in.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from patchwright.errors import CheckpointError, reason
from patchwright.model.devices import CPU, check_room
from patchwright.model.families import FAMILIES, unknown_family

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model.pt")
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors", re.ASCII)
_BUFFERS = (".attn.bias", ".attn.masked_bias")
"""Causal masks that old GPT-2 checkpoints carry along; the architecture has its own."""


MOST = {
    "num_hidden_layers": 1000,
    "num_attention_heads": 10_000,
    "num_key_value_heads": 10_000,
    "head_dim": 10**6,
    "hidden_size": 10**6,
    "intermediate_size": 10**7,
    "max_position_embeddings": 10**7,
    "n_layer": 1000,
    "n_head": 10_000,
    "n_embd": 10**6,
    "n_inner": 10**7,
    "n_positions": 10**7,
    "vocab_size": 10**8,
}
"""Sizes in a config.json that could be a model's; many times those of the largest there is."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder that has passed the checks: its architecture and weight files."""

    folder: Path
    architecture: str
    weights: list[Path]


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
    architecture = check_config(folder / "config.json", name)
    files = weight_files(folder, name)
    found = _shapes(files, name)
    expected, tied = _expected(folder, architecture, name)
    _check_shapes(found, expected, tied, name)
    _check_memory(expected, tied, precision, name, devices)
    return Checkpoint(folder, architecture, files)


def check_config(path: Path, name: str) -> str:
    """The architecture that a config.json names, if it can be read."""
    if not path.is_file():
        raise CheckpointError(
            f"'{name}' has no config.json: give a folder that `model.save_pretrained` wrote."
        )
    config = _json(path, name)
    architectures = config.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else None
    architecture = str(named or config.get("model_type", "model without a name"))[:100]
    if architecture not in FAMILIES:
        raise unknown_family(name, architecture)
    _check_sizes(config, name)
    return architecture


def _check_sizes(config: dict[str, Any], name: str) -> None:
    """Refuse sizes that no model has, before anything of that size is made."""
    for field, most in MOST.items():
        size = config.get(field)
        if size is not None and (type(size) is not int or not 1 <= size <= most):
            raise CheckpointError(
                f"'{name}': the {field} in its config.json is {str(size)[:40]}; it must be from 1 to "
                f"{most:,}."
            )


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a folder, one or the shards of an index."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        files = [folder / shard for shard in _shards(_json(folder / INDEX, name), name)]
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
    folder: Path,
    architecture: str,
    precision: torch.dtype,
    name: str,
    devices: Sequence[torch.device] = (CPU,),
) -> None:
    """Raise MemoryBudgetError where the weights are larger than the free memory of `devices`.

    Of the folder only config.json is read, so that it can be asked before weights come.
    """
    _check_memory(*_expected(folder, architecture, name), precision, name, devices)


def _check_memory(
    expected: dict[str, list[int]],
    tied: bool,
    precision: torch.dtype,
    name: str,
    devices: Sequence[torch.device],
) -> None:
    once = [shape for key, shape in expected.items() if not (tied and key == "lm_head.weight")]
    needed = sum(torch.Size(shape).numel() for shape in once) * precision.itemsize
    check_room(needed, devices, name)
    if len(devices) == 1:
        # On its way to a single device a model passes through the main memory whole.
        check_room(needed, [CPU], name)


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"'{name}': {path.name} cannot be read as JSON ({reason(error)})."
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(f"'{name}': {path.name} is not a JSON object.")
    return {str(key): value for key, value in document.items()}


_PRECISIONS = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def stored_dtype(files: Iterable[Path]) -> str:
    """The precisions that checked weight files have their tensors in, such as 'bfloat16'."""
    found: set[str] = set()
    for path in files:
        with safe_open(path, framework="pt") as file:
            found |= {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    return " and ".join(name for stored, name in _PRECISIONS.items() if stored in found)


def _shapes(files: Iterable[Path], name: str) -> dict[str, list[int]]:
    """Tensor name -> shape, from the files' headers."""
    shapes: dict[str, list[int]] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                shapes |= {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"'{name}': {path.name} is cut short or damaged ({reason(error)}). Fetch it again."
            ) from error
    return shapes


def _expected(folder: Path, architecture: str, name: str) -> tuple[dict[str, list[int]], bool]:
    """What the architecture's tensors look like under this config; whether it ties embeddings."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            module = getattr(transformers, architecture)(config)
    except Exception as error:
        raise CheckpointError(
            f"'{name}': its config.json describes no model ({reason(error)})."
        ) from error
    shapes = {key: list(tensor.shape) for key, tensor in module.state_dict().items()}
    return shapes, bool(config.tie_word_embeddings)


def _check_shapes(
    found: dict[str, list[int]], expected: dict[str, list[int]], tied: bool, name: str
) -> None:
    # The first GPT-2 checkpoints name their tensors without the model's prefix.
    body = next(key for key in expected if not key.startswith("lm_head.")).split(".")[0] + "."
    prefix = "" if any(key.startswith(body) for key in found) else body
    heads = ("lm_head.",)
    named = {key if key.startswith(heads) else prefix + key: shape for key, shape in found.items()}
    named = {key: shape for key, shape in named.items() if not key.endswith(_BUFFERS)}
    optional = {"lm_head.weight"} if tied else set[str]()
    missing = sorted(set(expected) - set(named) - optional)
    unknown = sorted(set(named) - set(expected))
    wrong = [key for key, shape in named.items() if key in expected and expected[key] != shape]
    for problem, keys in (("lacks", missing), ("has the unknown", unknown)):
        if keys:
            raise CheckpointError(
                f"'{name}': its weights do not fit its config.json: it {problem} tensor {keys[0]}"
                f"{f' and {len(keys) - 1} more' if keys[1:] else ''}. Fetch or save it again."
            )
    if wrong:
        raise CheckpointError(
            f"'{name}': its weights do not fit its config.json: {wrong[0]} is {named[wrong[0]]} and "
            f"should be {expected[wrong[0]]}. Fetch or save it again."
        )
