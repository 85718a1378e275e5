"""Tiny checkpoints on disk, of the real class and with a real tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from patchwright.model.load import DEMO
from tiny import random_gpt2

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def save_tiny(folder: Path, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    """A random GPT-2 of 3 layers, width 16, with the demo model's tokenizer."""
    size = json.loads((DEMO / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    random_gpt2(seed=1, dtype=dtype, vocab_size=size, n_positions=64, **changes).save_pretrained(
        folder
    )
    for name in TOKENIZER:
        shutil.copy(DEMO / name, folder)
    return folder
