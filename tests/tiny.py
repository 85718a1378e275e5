"""Random tiny models of the real classes, and prompts for them."""

from typing import Any, TypeVar

import torch
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

import patchwright as pw
from patchwright.model.load import TextTokenizer

N_LAYERS, N_HEADS, WIDTH, VOCAB, CONTEXT = 3, 4, 16, 50, 24


def random_gpt2(
    seed: int = 0, dtype: torch.dtype = torch.float64, **changes: Any
) -> GPT2LMHeadModel:
    """A GPT-2 whose every parameter is random, so that nothing is zero by chance."""
    settings: dict[str, Any] = {
        "n_layer": N_LAYERS,
        "n_head": N_HEADS,
        "n_embd": WIDTH,
        "vocab_size": VOCAB,
        "n_positions": CONTEXT,
        "bos_token_id": VOCAB - 1,
        "eos_token_id": VOCAB - 1,
        "attn_implementation": "eager",
        "initializer_range": 0.3,
    }
    return filled_at_random(GPT2LMHeadModel(GPT2Config(**settings | changes)), seed, dtype)


Module = TypeVar("Module", bound=PreTrainedModel)


def filled_at_random(model: Module, seed: int, dtype: torch.dtype) -> Module:
    """Every parameter random, so that nothing is zero by chance, and norms near one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.3
            parameter.copy_(noise + (1.0 if parameter.ndim == 1 else 0.0))
    torch.nn.Module.to(model, dtype)
    return model.eval()


def loud_model() -> pw.Model:
    """The tiny model with logits 20 times as large: gaps of logits, which are a scale for effects."""
    gpt2 = random_gpt2(seed=0)
    with torch.no_grad():
        gpt2.transformer.ln_f.weight.mul_(20)
        gpt2.transformer.ln_f.bias.mul_(20)
    return pw.wrap_model(gpt2, name="tiny")


def pair_of(clean: list[int], corrupt: list[int], **changes: Any) -> pw.Pair:
    """A pair of token ids with answers that are not in either prompt's way."""
    settings: dict[str, Any] = {"answer": [7], "wrong": [11]}
    return pw.Pair(clean=clean, corrupt=corrupt, **settings | changes)


@st.composite
def token_pairs(draw: st.DrawFn, longest: int = 8) -> tuple[list[int], list[int]]:
    """Two different prompts of equal length."""
    length = draw(st.integers(1, longest))
    token = st.integers(0, VOCAB - 1)
    prompt = st.lists(token, min_size=length, max_size=length)
    clean, corrupt = draw(prompt), draw(prompt)
    if clean == corrupt:
        place = draw(st.integers(0, length - 1))
        corrupt[place] = (corrupt[place] + 1) % VOCAB
    return clean, corrupt


class Splitting(TextTokenizer):
    """A tokenizer of a few words, some of several tokens."""

    def __init__(self, words: dict[str, list[int]]) -> None:
        object.__setattr__(self, "words", words)

    @property
    def bos_ids(self) -> tuple[int, ...]:
        return ()

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        return ()

    @property
    def puts_space(self) -> bool:
        return False

    def encode(self, text: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...] | None]:
        words: dict[str, list[int]] = vars(self)["words"]
        return tuple(words[text]), None

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool = False) -> str:
        return "".join(f"<{token}>" for token in token_ids)
