"""GGUF files: one file with config, tokenizer and weights, most of them quantised.

The header is read here, within the file's own bounds; the values are unpacked by the `gguf`
package, and their names and layouts, and the tokenizer, are Transformers' reading of them.
The config is read here, since Transformers drops what it does not know: a key that says what the
network would not do is refused by name.
"""

import mmap
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gguf import (
    GGML_QUANT_SIZES,
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    dequantize,
    get_tensor_name_map,
)
from gguf.quants import quant_shape_to_byte_shape
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.integrations.gguf.gguf_tokenizer_mapping import (
    convert_gguf_tokenizer,
    get_gguf_tokenizer,
)
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
)

from patchwright.errors import CheckpointError, UnknownFamilyError, convert_errors, quoted
from patchwright.model.checkpoint import PRECISIONS, check_memory, check_shapes, empty_model
from patchwright.model.config import ModelConfig, parse_config
from patchwright.model.devices import CPU

GGUF_SUFFIX = ".gguf"

_FIELDS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}
"""A config's fields by what GGUF calls them behind the architecture's name."""

_EXPERT_TENSORS = {
    "gate_up_proj": ("ffn_gate_exps", "ffn_up_exps"),
    "down_proj": ("ffn_down_exps",),
}
"""A file's tensors by what a layer's experts call theirs."""

_WIDE_QUERIES = 46
"""Layers of the one Gemma 2 whose queries are scaled by the model's width, not a head's (llama.cpp)."""

_NEEDED = (
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
)
"""Keys that no file may lack."""

_RMS, _WIDTH = "attention.layer_norm_rms_epsilon", "attention.key_length"


@dataclass(frozen=True)
class _Architecture:
    """A class of Transformers, and what the metadata of its files say beside what all say.

    `needed` are keys that they may not lack either; `own` and `optional` are further fields of its
    config by their keys, of which they may not lack those of `own`; `settled` are fields that no
    key says.
    """

    model_class: str
    needed: tuple[str, ...] = (_RMS,)
    own: Mapping[str, str] = field(default_factory=dict[str, str])
    optional: Mapping[str, str] = field(default_factory=dict[str, str])
    settled: Mapping[str, object] = field(default_factory=dict[str, object])


_WINDOW = {"attention.sliding_window": "sliding_window"}
_CAPS = {one: one for one in ("attn_logit_softcapping", "final_logit_softcapping")}
_EXPERTS = {
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
_NO_WINDOW = {"use_sliding_window": False}
# Experts are weighed as llama.cpp weighs them, whatever a file says.
_ROUTED = _NO_WINDOW | {"norm_topk_prob": True}

# Where a width is needed, the class would take heads of another one than llama.cpp does. Phi-3's
# padding token is not in every vocabulary.
_ARCHITECTURES = {
    "gpt2": _Architecture("GPT2LMHeadModel", ("attention.layer_norm_epsilon",)),
    "llama": _Architecture("LlamaForCausalLM"),
    "qwen2": _Architecture("Qwen2ForCausalLM", settled=_NO_WINDOW),
    "qwen3": _Architecture("Qwen3ForCausalLM", (_RMS, _WIDTH), settled=_NO_WINDOW),
    "gemma2": _Architecture("Gemma2ForCausalLM", (_RMS, _WIDTH), _WINDOW, _CAPS),
    "gemma3": _Architecture("Gemma3ForCausalLM", (_RMS, _WIDTH), _WINDOW, _CAPS),
    "phi3": _Architecture("Phi3ForCausalLM", own=_WINDOW, settled={"pad_token_id": None}),
    "qwen3moe": _Architecture("Qwen3MoeForCausalLM", (_RMS, _WIDTH), _EXPERTS, settled=_ROUTED),
}
"""By `general.architecture`. Mistral's models call themselves llama."""

_GEMMA = ("gemma2", "gemma3")

_ORDINARY: dict[str, object] = {
    "attention.causal": True,
    "attention.sliding_window": 0,
    "expert_count": 0,
    "expert_used_count": 0,
    "rope.scaling.type": "none",
}
"""Keys that would make another network, with the value that makes none of it."""

_HARMLESS = ("rope.scaling.original_context_length",)
"""Keys that change nothing without others, which are refused: that of Phi-3 without its factors."""

_WIDTHS = ("attention.key_length", "attention.value_length", "rope.dimension_count")
"""Keys that must all have a head's width."""

_ROTARY_BASE = 10_000.0
"""The base of rotary angles where a file has none (llama.cpp)."""

_MOST_AXES = 4

_STRUCT_FORMATS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_STRING, _ARRAY = 8, 9
"""How metadata say what a value is: numbers by `struct`'s letters, strings, arrays."""


class TensorInfo(NamedTuple):
    """A tensor as the file holds it: `shape` in PyTorch's order, bytes from `start` on."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    start: int

    @property
    def n_bytes(self) -> int:
        """Its size in the file."""
        return prod(quant_shape_to_byte_shape(self.shape, self.kind))


@dataclass(frozen=True)
class Header:
    """What a file says before its weights. Of an array only the length is kept."""

    metadata: Mapping[str, Any]
    tensors: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class GgufCheckpoint:
    """A GGUF file that has passed the checks; `names` is what the model calls its tensors."""

    path: Path
    name: str
    config: ModelConfig
    header: Header
    names: Mapping[str, str]

    @property
    def files(self) -> list[Path]:
        """All that is read."""
        return [self.path]

    @property
    def stored_dtype(self) -> str | None:
        """The precisions of its weights; None where any of them are quantised."""
        kinds = {one.kind.name for one in self.header.tensors}
        known = [name for kind, name in PRECISIONS.items() if kind in kinds]
        return " and ".join(known) if len(known) == len(kinds) else None

    @property
    def quantization(self) -> str | None:
        """The kinds of its quantised weights, most weights first, as 'Q4_1 and Q8_0'."""
        counted: Counter[str] = Counter()
        for one in self.header.tensors:
            if one.kind.name not in PRECISIONS:
                counted[one.kind.name] += prod(one.shape)
        return " and ".join(kind for kind, _ in counted.most_common()) or None

    def tensors(self) -> dict[str, Tensor]:
        """The weights by the model's names, in float32. Raises CheckpointError."""
        with convert_errors(_damaged_file_error(self.name)):
            found = _dequantize_tensors(self.path, self.header, self.config, self.names)
        shapes = {key: list(one.shape) for key, one in found.items()}
        check_shapes(shapes, empty_model(self.config, self.name), self.name)
        return found

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that the metadata describe. Raises CheckpointError."""
        metadata = self.header.metadata
        _check_tokenizer(metadata, self.name)
        with convert_errors(
            lambda why: CheckpointError(f"The tokenizer of '{self.name}' cannot be read: {why}.")
        ):
            architecture, described, special = get_gguf_tokenizer(str(self.path))
            backend, _ = convert_gguf_tokenizer(architecture, described)
            _adjust_tokenizer(backend, metadata.get("tokenizer.ggml.pre"))
            tokens = {key: special.get(f"{key}_token") for key in ("bos", "eos", "unk", "pad")}
            if metadata.get("tokenizer.ggml.pre") in _WITHOUT_BOS:
                tokens["bos"] = None
            return PreTrainedTokenizerFast(
                tokenizer_object=backend,
                chat_template=metadata.get("tokenizer.chat_template"),
                **{f"{key}_token": one for key, one in tokens.items()},
            )


def is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF files do."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def check_gguf(
    path: Path, name: str, precision: torch.dtype, devices: Sequence[torch.device] = (CPU,)
) -> GgufCheckpoint:
    """Check header, architecture, tensor names, the file's length and memory.

    Raises CheckpointError, UnknownFamilyError or MemoryBudgetError as `check_checkpoint` does.
    """
    with convert_errors(_damaged_file_error(name)):
        header = read_header(path)
    config = parse_config(_config_document(header, name), name, "metadata")
    module = empty_model(config, name)
    # The values are unpacked to float32, whatever precision comes after.
    check_memory(module, max(precision, torch.float32, key=lambda one: one.itemsize), name, devices)
    architecture = header.metadata["general.architecture"]
    names = _tensor_names(module, architecture)
    own = {one.name for one in header.tensors}
    if "rope_freqs.weight" in own:
        raise CheckpointError(
            f"'{name}' scales its rotary positions by a tensor of its own (rope_freqs.weight), as "
            "Llama 3.1 and later do, which cannot be read from GGUF: load the checkpoint that it "
            "was made from, as safetensors."
        )
    if unknown := sorted(own - set(names)):
        raise CheckpointError(
            f"'{name}': it has {quoted(unknown[0])}, a tensor that the architecture {architecture} does "
            f"not have ({len(unknown)} unknown in all). Convert the model again with a newer llama.cpp."
        )
    # Of one tensor in two parts the half that is missing would be zeros.
    if missing := sorted(one for one in set(names) - own if "_exps." in one):
        raise CheckpointError(f"'{name}' lacks the tensor {missing[0]}. Fetch it again.")
    return GgufCheckpoint(path, name, config, header, names)


def read_header(path: Path) -> Header:
    """The header of a GGUF file. Raises ValueError or struct.error for one that is not sound."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        cursor = _Cursor(data)
        magic, version = cursor.bytes(4), cursor.number("I")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError(f"it begins with {magic!r} and version {version}, not GGUF 2 or 3")
        n_tensors, n_keys = cursor.number("Q"), cursor.number("Q")
        metadata: dict[str, Any] = {}
        for _ in range(n_keys):
            key = cursor.text()
            if key in metadata:
                raise ValueError(f"it has {quoted(key)} twice")
            metadata[key] = cursor.value(cursor.number("I"))
        found = [_read_tensor_info(cursor) for _ in range(n_tensors)]
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise ValueError(f"its alignment is {quoted(str(alignment))}, not a power of two")
        start = -(-cursor.at // alignment) * alignment
        tensors = tuple(one._replace(start=start + one.start) for one in found)
        if len({one.name for one in tensors}) < len(tensors):
            raise ValueError("it has a tensor twice")
        end = max((one.start + one.n_bytes for one in tensors), default=start)
        if end > len(data):
            raise ValueError(f"it has {len(data):,} of {end:,} bytes")
        return Header(metadata, tensors)


class _Cursor:
    """Reads one value after another; beyond the end it raises."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def number(self, letter: str) -> Any:
        (value,) = struct.unpack_from(f"<{letter}", self.data, self.at)
        self.at += struct.calcsize(f"<{letter}")
        return value

    def bytes(self, length: int) -> bytes:
        self.skip(length)
        return self.data[self.at - length : self.at]

    def skip(self, length: int) -> None:
        if length > len(self.data) - self.at:
            raise ValueError("it ends within its header")
        self.at += length

    def text(self) -> str:
        return self.bytes(self.number("Q")).decode("utf-8")

    def value(self, kind: int) -> Any:
        """A value; of an array its length."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_struct_format(kind))
        kind, length = self.number("I"), self.number("Q")
        if kind == _STRING:
            for _ in range(length):
                self.skip(self.number("Q"))
        else:
            self.skip(length * struct.calcsize(f"<{_struct_format(kind)}"))
        return _Length(length)


class _Length(NamedTuple):
    """That a value is an array, and how long."""

    items: int

    def __str__(self) -> str:
        return f"a list of {self.items}"


def _struct_format(kind: int) -> str:
    if kind not in _STRUCT_FORMATS:
        raise ValueError(f"it has a value of the unknown kind {kind}")
    return _STRUCT_FORMATS[kind]


def _read_tensor_info(cursor: _Cursor) -> TensorInfo:
    name = cursor.text()
    n_axes = cursor.number("I")
    if not 1 <= n_axes <= _MOST_AXES:
        raise ValueError(f"its tensor {quoted(name)} has {n_axes} axes")
    shape = tuple(cursor.number("Q") for _ in range(n_axes))[::-1]
    kind, start = GGMLQuantizationType(cursor.number("I")), cursor.number("Q")
    if kind not in GGML_QUANT_SIZES or 0 in shape:
        raise ValueError(f"its tensor {quoted(name)} is {list(shape)} of {kind.name}")
    return TensorInfo(name, shape, kind, start)


def _config_document(header: Header, name: str) -> dict[str, Any]:
    """The metadata by the names of a config.json. Raises CheckpointError, UnknownFamilyError."""
    metadata = header.metadata
    architecture = _architecture_of(metadata, name)
    known, prefix = _ARCHITECTURES[architecture], f"{architecture}."
    own = {
        key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)
    }
    if missing := [key for key in (*_NEEDED, *known.needed, *known.own) if key not in own]:
        raise CheckpointError(f"'{name}': its metadata lack {prefix}{missing[0]}. Fetch it again.")
    fields = {**_FIELDS, **known.own, **known.optional}
    _check_ordinary(own, fields, prefix, name)
    names = {one.name for one in header.tensors}
    tokens = metadata.get("tokenizer.ggml.tokens", _Length(0))
    found = {field: own[key] for key, field in fields.items() if key in own}
    found |= {
        "architectures": [known.model_class],
        "vocab_size": own.get("vocab_size", getattr(tokens, "items", None)),
        "tie_word_embeddings": "output.weight" not in names,
        **known.settled,
    }
    if architecture == "gpt2":
        return found | {"n_inner": found.pop("intermediate_size")}
    if architecture == "phi3":
        found["sliding_window"] = found["sliding_window"] or None  # Files say 0 for none.
    if architecture in _GEMMA:
        by_width = architecture == "gemma2" and found["num_hidden_layers"] == _WIDE_QUERIES
        per_head = found["hidden_size"] // found["num_attention_heads"]
        found["query_pre_attn_scalar"] = per_head if by_width else found["head_dim"]
    return {
        "num_key_value_heads": found["num_attention_heads"],
        "rope_theta": _ROTARY_BASE,
        "attention_bias": "blk.0.attn_q.bias" in names,
        "mlp_bias": "blk.0.ffn_up.bias" in names,
        **found,
    }


def _architecture_of(metadata: Mapping[str, Any], name: str) -> str:
    """The architecture of a whole model that can be read."""
    architecture = metadata.get("general.architecture")
    if architecture not in _ARCHITECTURES:
        raise UnknownFamilyError(
            f"'{name}' is a GGUF file of the architecture {quoted(str(architecture))}. Those that "
            f"can be read are: {', '.join(_ARCHITECTURES)}."
        )
    is_model = metadata.get("general.type", "model") == "model"
    if not is_model or metadata.get("split.count", 1) not in (0, 1):
        raise CheckpointError(
            f"'{name}' is a part of a model: give a single file that holds all of it (the parts of a "
            "split file are joined by `llama-gguf-split --merge`)."
        )
    return architecture


def _check_ordinary(
    own: Mapping[str, Any], fields: Mapping[str, str], prefix: str, name: str
) -> None:
    """Refuse what a key says and the network would not do."""
    for key, value in own.items():
        if key in fields or key in (*_WIDTHS, *_HARMLESS):
            continue
        if key not in _ORDINARY or value != _ORDINARY[key]:
            raise CheckpointError(
                f"'{name}': its metadata say {quoted(prefix + key)} is {quoted(str(value))}, which "
                "cannot be computed from GGUF: load the checkpoint that it was made from, as "
                "safetensors."
            )
    widths = {key: own[key] for key in _WIDTHS if key in own}
    heads, whole = own["attention.head_count"], own["embedding_length"]
    usual = whole // heads if type(heads) is int and type(whole) is int and heads else None
    expected = widths.get("attention.key_length", usual)
    for key, width in widths.items():
        if width != expected:
            raise CheckpointError(
                f"'{name}': its metadata say {quoted(prefix + key)} is {quoted(str(width))} where a "
                f"head has {expected} values: only heads of one width, rotated whole, can be read."
            )


def _tensor_names(module: PreTrainedModel, architecture: str) -> dict[str, str]:
    """What the model calls each tensor, by the file's name of it."""
    kind = next(one for one, name in MODEL_ARCH_NAMES.items() if name == architecture)
    known = get_tensor_name_map(kind, module.config.num_hidden_layers)
    names: dict[str, str] = {}
    for key in module.state_dict():
        stem, ending = key.rsplit(".", 1)
        if ending in _EXPERT_TENSORS:
            layer = stem.split(".")[-3]
            names |= {f"blk.{layer}.{one}.weight": key for one in _EXPERT_TENSORS[ending]}
        else:
            names[f"{known.get_name(stem)}.{ending}"] = key
    return names


def _dequantize_tensors(
    path: Path, header: Header, config: ModelConfig, names: Mapping[str, str]
) -> dict[str, Tensor]:
    """The weights as Transformers names them and lays them out."""
    settings = config.settings
    heads = {
        "num_attention_heads": settings.num_attention_heads,
        "num_key_value_heads": getattr(settings, "num_key_value_heads", None),
    }
    architecture = header.metadata["general.architecture"]
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=heads)
    # Of experts the processor asks for names without their ending.
    stems = {key.removesuffix(".weight"): one for key, one in names.items()}
    data = np.memmap(path, np.uint8, "r")
    found: dict[str, Tensor] = {}
    for one in header.tensors:
        raw = data[one.start : one.start + one.n_bytes]
        values = dequantize(raw.reshape(quant_shape_to_byte_shape(one.shape, one.kind)), one.kind)
        laid_out: Any = processor.process(
            weights=values,
            name=one.name,
            tensor_key_mapping={**names, **stems},
            parsed_parameters={"tensors": found},
        )
        if laid_out.name is not None:
            whole = np.require(laid_out.weights, np.float32, ["C", "W"])
            found[names[laid_out.name]] = torch.from_numpy(whole)
    return found


def _check_tokenizer(metadata: Mapping[str, Any], name: str) -> None:
    """Refuse a tokenizer that would be read as another one."""
    model, split = (metadata.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    if model == "gpt2":
        plain = metadata["general.architecture"] == "gpt2" and split in (None, "default")
        known = plain or split in _ADJUSTMENTS
    else:
        # Gemma's puts no space before a text, and its reader none either.
        puts_space = metadata.get("tokenizer.ggml.add_space_prefix", True)
        is_gemma = metadata["general.architecture"] in _GEMMA
        known = model == "llama" and bool(puts_space) is not is_gemma
    if not known:
        raise CheckpointError(
            f"'{name}': its tokenizer ({quoted(str(model))}, which splits text as "
            f"{quoted(str(split))}) cannot be read from GGUF: load the checkpoint that it was made "
            "from, as safetensors."
        )


def _split_digits(backend: Tokenizer) -> None:
    """Each digit is a piece by itself, the rest is split as GPT-2 does."""
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _ignore_merges(backend: Tokenizer) -> None:
    """What is in the vocabulary whole is one token, whatever the merges say."""
    backend.model.ignore_merges = True


def _normalize_unicode(backend: Tokenizer) -> None:
    backend.normalizer = normalizers.NFC()


def _change_nothing(_: Tokenizer) -> None:
    pass


_ADJUSTMENTS: Mapping[object, Callable[[Tokenizer], None]] = {
    "gpt-2": _change_nothing,
    "smollm": _split_digits,
    "llama-bpe": _ignore_merges,
    "llama3": _ignore_merges,
    "llama-v3": _ignore_merges,
    "tekken": _ignore_merges,
    "qwen2": _normalize_unicode,
}
"""What a byte-level tokenizer does beside what Transformers reads of it, by `tokenizer.ggml.pre`.

From llama.cpp (`llama-vocab.cpp`) and the models' own tokenizer.json."""


_WITHOUT_BOS = ("qwen2",)
"""Ways of splitting text of tokenizers that have no beginning-of-text token; their files name one."""


def _adjust_tokenizer(backend: Tokenizer, split: object) -> None:
    _ADJUSTMENTS.get(split, _change_nothing)(backend)


def _damaged_file_error(name: str) -> Callable[[str], CheckpointError]:
    return lambda why: CheckpointError(
        f"'{name}' is cut short or damaged, or no GGUF file ({why}). Fetch it again."
    )
