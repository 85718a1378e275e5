"""A SHA-256 over weights and tokenizer: which model exactly gave a result."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import platformdirs
import torch
from transformers import PreTrainedTokenizerBase

from patchwright.atomic_files import write_atomic
from patchwright.errors import CheckpointError, OutputError, convert_errors
from patchwright.model.tokenizer import TextTokenizer
from patchwright.model.weights import Layer, Network, Norm, named_tensors

CACHE_VERSION = 4
"""Version of what a fingerprint covers: those of another are computed again."""


def fingerprint(network: Network, tokenizer: PreTrainedTokenizerBase | None) -> str:
    """`sha256:` and the digest over the weights as loaded, and over the tokenizer.

    Each tensor counts with its name, dtype, shape and bytes, in the order of
    `Network`; tied unembeddings count once. So does what is computed with them, where
    it is not what GPT-2 computes.
    """
    digest = hashlib.sha256()
    tied = network.unembed.data_ptr() == network.embed.data_ptr()
    for name, tensor in named_tensors(network, ""):
        if tied and name == ".unembed":
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        raw = tensor.detach().cpu().contiguous().view(torch.uint8)
        digest.update(raw.numpy().data)
    if own := _network_arithmetic(network):
        digest.update(f"{own}\n".encode())
    for i, layer in enumerate(network.layers):
        if own := _layer_arithmetic(layer):
            digest.update(f"{i} {own}\n".encode())
    digest.update(_tokenizer_json(tokenizer).encode())
    return f"sha256:{digest.hexdigest()}"


def _network_arithmetic(network: Network) -> dict[str, object]:
    """What a network computes around its layers, as far as it differs from GPT-2's."""
    own: dict[str, object] = {
        "parallel": network.spec.parallel,
        "embed_scale": network.embed_scale,
        "logit_cap": network.logit_cap,
        "norm_final": network.norm_final.around_one,
    }
    usual = {"parallel": False, "embed_scale": 1.0, "logit_cap": None, "norm_final": False}
    return {name: value for name, value in own.items() if value != usual[name]}


def _layer_arithmetic(layer: Layer) -> dict[str, object]:
    """What a layer computes, as far as it differs from GPT-2's and no tensor says it."""
    norms = {name: norm for name, norm in vars(layer).items() if isinstance(norm, Norm)}
    usual: dict[str, object] = {
        "d_head": 64,
        "attn_scale": layer.d_head**-0.5,
        "activation": "gelu_new",
        "rotary": None,
        "window": None,
        "attn_cap": None,
    }
    own = {name: getattr(layer, name) for name in usual}
    usual |= dict.fromkeys(norms, ("layer", 1e-5))
    own |= {name: (norm.kind, norm.eps) for name, norm in norms.items()}
    own |= {f"{name}_around": True for name, norm in norms.items() if norm.around_one}
    if layer.rotary is not None and layer.rotary.interleaved:
        own["interleaved"] = True
    if layer.experts is not None:
        own |= {"chosen": layer.experts.n_chosen, "normalised": layer.experts.normalised}
    return {name: value for name, value in own.items() if value != usual.get(name)}


def file_digest(path: Path) -> str:
    """`sha256:` and the digest of a file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def cached_digest(files: Sequence[Path], what: str, compute: Callable[[], str]) -> str:
    """`compute()`, or what it gave before for the same files, unchanged since.

    `what` tells apart what is computed of the same files: the weights' precision, say. Files are
    the same if path, size and time of change are. The memory is a file in the user's cache
    folder; if it cannot be read or written nothing is lost.
    """
    if not files:  # What is made in memory has nothing to be remembered by.
        return compute()
    there = [(str(path.resolve()), path.stat()) for path in files]
    key = json.dumps(
        [CACHE_VERSION, what, *((name, stat.st_size, stat.st_mtime_ns) for name, stat in there)]
    )
    memory = _cache_file()
    known = _read_cache(memory)
    if key not in known:
        known[key] = compute()
        try:
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(memory, json.dumps(known))
        except (OSError, OutputError):
            return known[key]
    return known[key]


def _cache_file() -> Path:
    return platformdirs.user_cache_path("patchwright", False) / "fingerprints.json"


def _read_cache(memory: Path) -> dict[str, str]:
    try:
        known: Any = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {str(key): str(value) for key, value in known.items()}


def _tokenizer_json(tokenizer: PreTrainedTokenizerBase | None) -> str:
    """What decides how a tokenizer splits text, as canonical JSON."""
    if tokenizer is None:
        return ""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json.dumps(tokenizer.get_vocab(), sort_keys=True)
    # Padding and truncation are settings of a call, not of the tokenizer.
    with convert_errors(lambda why: CheckpointError(f"The tokenizer cannot be read: {why}.")):
        whole: dict[str, Any] = json.loads(backend.to_str())
    parts = ("added_tokens", "normalizer", "pre_tokenizer", "model")
    return json.dumps(
        {part: whole.get(part) for part in parts} | _tokenizer_extras(tokenizer), sort_keys=True
    )


def _tokenizer_extras(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What surrounds a text, where that is not as in GPT-2, and how a chat is written.

    There the beginning-of-text token is the end token too, nothing is put behind a text, and
    no space before it, and there is no chat template.
    """
    text = TextTokenizer(tokenizer)
    end_token = getattr(tokenizer, "eos_token_id", None)
    usual = text.bos_ids == (end_token,) and not text.suffix_ids and not text.puts_space
    found = (
        {} if usual else {"start": text.bos_ids, "end": text.suffix_ids, "space": text.puts_space}
    )
    return found | ({"chat": tokenizer.chat_template} if text.has_template else {})
