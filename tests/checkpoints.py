"""Tiny checkpoints on disk, of the real class and with a real tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from families import FAMILIES
from patchwright.model.catalog import DEMO

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def save_tiny(
    folder: Path, dtype: torch.dtype = torch.float32, family: str = "gpt2", **changes: Any
) -> Path:
    """A random model of 3 layers, width 16, with the demo model's tokenizer."""
    size = json.loads((DEMO / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    sizes = {"vocab_size": size, "max_position_embeddings": 64}
    if family == "gpt2":
        sizes["n_positions"] = sizes.pop("max_position_embeddings")
    FAMILIES[family](seed=1, dtype=dtype, **sizes | changes).save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copy(DEMO / name, folder)
    return folder
