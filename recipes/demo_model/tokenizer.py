"""A byte-level BPE tokenizer in the GPT-2 format, small enough for a teaching model."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer

from recipes.demo_model import words
from recipes.demo_model.corpus import training_texts

END = "<|endoftext|>"
SAMPLE = 60_000
"""Documents that the merges are learnt from."""


def end_token(tokens: GPT2Tokenizer) -> int:
    """The id of the token that stands before every document."""
    return int(str(tokens.bos_token_id))


def build(folder: Path, seed: int) -> GPT2Tokenizer:
    """Learn the tokenizer, write it to `folder`, and load it as anybody would."""
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=20,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learnt.train_from_iterator(_texts_to_learn(seed), trainer)
    merges = [tuple(merge) for merge in json.loads(learnt.to_str())["model"]["merges"]]
    merges = [*_digit_merges(), *merges]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges), END]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    settings: dict[str, Any] = {"vocab": vocabulary, "merges": merges}
    tokenizer = GPT2Tokenizer(**settings, unk_token=END, bos_token=END, eos_token=END)
    tokenizer.save_pretrained(folder)
    return GPT2Tokenizer.from_pretrained(folder)


def _texts_to_learn(seed: int) -> Iterator[str]:
    """The corpus without digits and rare words, so that those stay in pieces."""
    for text in islice(training_texts(seed), SAMPLE):
        kept = [word for word in text.split(" ") if word.strip(".,") not in words.RARE_WORDS]
        yield " ".join(word for word in kept if not any(c.isdigit() for c in word))


def _digit_merges() -> list[tuple[str, str]]:
    """' 1732' -> ' 17' + '32': the century merges come before all other pairs."""
    centuries = [(f"Ġ{c // 10}", str(c % 10)) for c in range(10, 21)]
    pairs = [(str(tens), str(ones)) for tens in range(10) for ones in range(10)]
    return [("Ġ", "1"), ("Ġ", "2"), *centuries, *pairs]
