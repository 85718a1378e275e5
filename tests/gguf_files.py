"""GGUF files of tiny models, written as llama.cpp's converter writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import (
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    GGUFWriter,
    get_tensor_name_map,
    quantize,
)
from transformers import PreTrainedModel

from families import FAMILIES
from patchwright.model.catalog import DEMO

ARCHITECTURES = {
    "gpt2": "gpt2",
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
    "qwen3_moe": "qwen3moe",
}
"""`general.architecture` by the family's name."""

Tokenizer = dict[str, Any]
"""Keys below `tokenizer.ggml.`, and their values."""


def demo_tokenizer() -> Tokenizer:
    """The demo model's byte-level tokenizer."""
    whole = json.loads((DEMO / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = whole["model"]["vocab"] | {one["content"]: one["id"] for one in whole["added_tokens"]}
    special = {one["content"] for one in whole["added_tokens"]}
    tokens = sorted(vocab, key=vocab.__getitem__)
    return {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": tokens,
        "token_type": [3 if one in special else 1 for one in tokens],
        "merges": [" ".join(pair) for pair in whole["model"]["merges"]],
        "bos_token_id": vocab["<|endoftext|>"],
        "eos_token_id": vocab["<|endoftext|>"],
    }


def tiny(family: str, dtype: torch.dtype = torch.float32, **changes: Any) -> PreTrainedModel:
    """A random model whose rows can be quantised in blocks of 32, with the demo's vocabulary."""
    sizes = {"vocab_size": len(demo_tokenizer()["tokens"]), "hidden_size": 32}
    own = (
        {"n_positions": 64, "n_inner": 64}
        if family == "gpt2"
        else {"max_position_embeddings": 64, "intermediate_size": 64}
    )
    module = FAMILIES[family](seed=1, dtype=dtype, **sizes | own | changes)
    if family.startswith("gemma"):
        # Files have 1 more than these weights, in float32.
        with torch.no_grad():
            for name, one in module.named_parameters():
                if name.endswith("norm.weight"):
                    one.copy_((one.float() + 1) - 1)
    return module


def save_gguf(
    path: Path,
    module: PreTrainedModel,
    family: str,
    kind: str = "F32",
    tokenizer: Tokenizer | None = None,
    tensors: dict[str, np.ndarray[Any, Any]] | None = None,
    without: str = "",
    **keys: Any,
) -> Path:
    """Write `module`, its matrices as `kind`, with more `tensors`, `without` one, and with `keys` changed.

    A key is written with __ for each dot; None leaves it out.
    """
    architecture = ARCHITECTURES[family]
    writer = GGUFWriter(path, architecture)
    for key, value in (_metadata(module, architecture) | _dotted(keys)).items():
        _add(writer, key, value)
    for key, value in (demo_tokenizer() if tokenizer is None else tokenizer).items():
        _add(writer, f"tokenizer.ggml.{key}", value)
    for name, values in (_tensors(module, architecture) | (tensors or {})).items():
        if name == without:
            continue
        stored = GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
        writer.add_tensor(name, quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _dotted(keys: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in keys.items()}


def _metadata(module: PreTrainedModel, architecture: str) -> dict[str, Any]:
    config: Any = module.config
    own: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "attention.head_count": config.num_attention_heads,
    }
    if architecture == "gpt2":
        own["feed_forward_length"] = config.n_inner
        own["attention.layer_norm_epsilon"] = config.layer_norm_epsilon
    else:
        width = module.model.layers[0].self_attn.head_dim
        rotary = config.rope_parameters
        rotary = rotary.get("full_attention", rotary)
        own |= {
            "feed_forward_length": config.intermediate_size,
            "attention.head_count_kv": config.num_key_value_heads,
            "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
            "attention.key_length": width,
            "attention.value_length": width,
            "rope.dimension_count": width,
            "rope.freq_base": rotary["rope_theta"],
        }
        if architecture in ("gemma2", "gemma3", "phi3"):
            own["attention.sliding_window"] = config.sliding_window or 0
        if architecture == "qwen3moe":
            own["expert_count"] = config.num_experts
            own["expert_used_count"] = config.num_experts_per_tok
            own["expert_feed_forward_length"] = config.moe_intermediate_size
        if architecture == "phi3":
            own["rope.scaling.original_context_length"] = config.max_position_embeddings
        if architecture == "gemma2":
            own["attn_logit_softcapping"] = config.attn_logit_softcapping
            own["final_logit_softcapping"] = config.final_logit_softcapping
    return {f"{architecture}.{key}": value for key, value in own.items()}


def _tensors(module: PreTrainedModel, architecture: str) -> dict[str, np.ndarray[Any, Any]]:
    config: Any = module.config
    kind = next(one for one, name in MODEL_ARCH_NAMES.items() if name == architecture)
    named = get_tensor_name_map(kind, config.num_hidden_layers)
    found: dict[str, np.ndarray[Any, Any]] = {}
    for key, tensor in module.state_dict().items():
        stem, _, ending = key.rpartition(".")
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if stem.endswith("mlp.experts"):
            layer = stem.split(".")[-3]
            kinds = ("gate", "up") if ending == "gate_up_proj" else ("down",)
            for what, part in zip(kinds, np.split(values, len(kinds), axis=1), strict=True):
                found[f"blk.{layer}.ffn_{what}_exps.weight"] = np.ascontiguousarray(part)
            continue
        if architecture == "gpt2" and values.ndim == 2 and ".h." in key:
            values = values.T
        if architecture == "llama" and stem.endswith(("q_proj", "k_proj")):
            heads = "num_attention_heads" if "q_proj" in stem else "num_key_value_heads"
            values = _interleaved(values, getattr(config, heads))
        if architecture.startswith("gemma") and stem.endswith("norm"):
            values = values + 1
        found[f"{named.get_name(stem)}.{ending}"] = np.ascontiguousarray(values)
    return found


def _interleaved(values: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rotated pairs beside each other, as llama.cpp has them; Transformers has halves."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
