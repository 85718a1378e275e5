"""Tiny tokenizers of every kind that models come with, and random models of their vocabularies."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

import patchwright as pw
from tiny import random_gpt2

START, END, SPACE = "<|endoftext|>", "</s>", "▁"
SPECIAL = [START, END, "[CLS]", "[SEP]"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SENTENCES = [
    "The capital of France is Paris in the city of Rome",
    "Romeo and Juliet are in Berlin, and Mary is in the city of Paris",
    "When Mary and John went to the store, John gave a drink to Mary",
    "Москва", "北京市", "café", " · → ↵",
]  # fmt: skip


def _trained(
    tokenizer: Tokenizer, special: list[str], sentences: Sequence[str] = SENTENCES, **settings: Any
) -> Tokenizer:
    """`tokenizer` with merges of the sentences."""
    trainer: Any = trainers.BpeTrainer(
        vocab_size=3000, special_tokens=special, show_progress=False, **settings
    )
    tokenizer.train_from_iterator([*sentences] * 20, trainer)
    return tokenizer


def _byte_level(prefix: bool = False, trim: bool = False, normal: Any = None) -> Tokenizer:
    one = Tokenizer(models.BPE())
    if normal is not None:
        one.normalizer = normal
    one.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    one.decoder = decoders.ByteLevel()
    one.post_processor = processors.ByteLevel(trim_offsets=trim)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # Words are split off letters alone, so that Москва and 北京市 stay bytes.
    return _trained(one, SPECIAL, initial_alphabet=alphabet, max_token_length=9)


def sentence_piece(normalised: bool, sentences: Sequence[str] = SENTENCES) -> Tokenizer:
    """SentencePiece's way in BPE, with a space before every text; `normalised` as Llama 2 has it."""
    one = Tokenizer(models.BPE(byte_fallback=True))
    if normalised:
        one.normalizer = normalizers.Sequence(
            [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
        )
        one.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_next")
    else:
        one.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE)
    one.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )  # fmt: skip
    return _trained(one, [*SPECIAL, *BYTES], sentences, limit_alphabet=50)


def _around(template: str) -> Tokenizer:
    one = _byte_level()
    ids = [(name, SPECIAL.index(name)) for name in SPECIAL if name in template]
    one.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    return one


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "bytes": _byte_level,
    "bytes, offsets without spaces": lambda: _byte_level(trim=True),
    "bytes, a space before every text": lambda: _byte_level(prefix=True, trim=True),
    "bytes, NFC": lambda: _byte_level(normal=normalizers.NFC()),
    "bytes, NFD": lambda: _byte_level(normal=normalizers.NFD()),
    "SentencePiece": lambda: sentence_piece(False),
    "SentencePiece, Llama 2": lambda: sentence_piece(True),
    "start put": lambda: _around(f"{START} $A"),
    "end put": lambda: _around(f"$A {END}"),
    "both put": lambda: _around(f"{START} $A {END}"),
}
"""Their beginning-of-text token is `START`."""


@cache
def tokenizer_of(kind: str, start: str | None = START) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=KINDS[kind](), bos_token=start, eos_token=END)


@cache
def model_of(kind: str, start: str | None = START) -> pw.Model:
    """A random GPT-2 with a tokenizer of that kind."""
    tokenizer = tokenizer_of(kind, start)
    module = random_gpt2(vocab_size=len(tokenizer), n_positions=64, n_layer=2)
    return pw.wrap_model(module, tokenizer, name=kind)
