"""A tokenizer of whole words, each with the space before it; other words are refused."""

from collections.abc import Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

BOS = "<|endoftext|>"

PROBE = "a"
"""The letter by which `TextTokenizer` finds out what a tokenizer adds to a text: a word of all of them."""


class WordTokenizer(PreTrainedTokenizerFast):
    """One token a word. Raises ValueError, with the words that there are, for any other."""

    def __call__(self, text: Any = None, *args: Any, **settings: Any) -> Any:
        """The tokens of a text, as any Hugging Face tokenizer gives them."""
        try:
            return super().__call__(text, *args, **settings)
        except Exception as error:
            known = sorted({word.strip() for word in self.get_vocab() if word not in (BOS, PROBE)})
            raise ValueError(f"this small model knows only {' '.join(known)}") from error


def word_tokenizer(words: Sequence[str]) -> WordTokenizer:
    """The tokenizer of these words, in their order; they begin with `BOS`."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}))
    # A word, or a sign, takes the one space before it along.
    word = Regex(r" ?(\w+|[^\w\s])")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(word, "isolated")
    tokenizer.decoder = decoders.Fuse()
    return WordTokenizer(tokenizer_object=tokenizer, bos_token=BOS, eos_token=BOS)
