"""A GPT-2 of zeros into which a circuit is written, part by part of the residual stream.

The stream is cut into named parts, such as `word` (which word stands here, one-hot) or `output`
(which word comes next). A head or an MLP is described by what it reads from which part and what
it writes into which part; everything else in the weights is 0.

The layer norms do nothing. A norm divides by the root of the variance plus an epsilon; the epsilon is
2**26, far above any variance here, so that it divides by 2**13, and the gain is 2**13. In float32
that is exact to the last bit. The mean that a norm subtracts cancels as well: nothing is ever
written into the stream's last dimension, and all that read subtract it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from patchwright.model.checkpoint import empty_model
from patchwright.model.config import ModelConfig, parse_config
from patchwright.model.families.gpt2 import ARCHITECTURE
from patchwright.model.planted.words import BOS, PROBE, WordTokenizer, word_tokenizer

D_MODEL, N_HEADS, D_HEAD, N_NEURONS = 256, 4, 64, 4

CONTEXT = 64
"""Positions; the head scores' random prompts have 41."""

EPSILON, GAIN = 2.0**26, 2.0**13

SHARP = 256.0
"""The score of a key that matches. e**-128 is 0 beside 1 in float32, so half of it is enough."""

REST = 0.5
"""Where nothing matches a head attends to the first token: that has this share of a match's score."""

LOGIT = 10.0
"""What a 1 in `output` gives to the logit of its word."""

Map = Float[Tensor, "_width _columns"]

Maps = Mapping[str, Map]
"""By part of the stream: a matrix from that part to what is computed, or the other way round."""


@dataclass(frozen=True)
class PlantedCheckpoint:
    """The finished weights, as `load_model` takes those of a folder."""

    name: str
    config: ModelConfig
    weights: Mapping[str, Tensor]
    words: tuple[str, ...]

    files: ClassVar[tuple[Path, ...]] = ()
    stored_dtype: ClassVar[str] = "float32"
    quantization: ClassVar[None] = None

    def tensors(self) -> dict[str, Tensor]:
        """The weights by the names that Transformers saves them under."""
        return dict(self.weights)

    def tokenizer(self) -> WordTokenizer:
        """One token a word."""
        return word_tokenizer(self.words)


class CircuitBuilder:
    """The weights of one model while they are written.

    `words` are its tokens beside the beginning-of-text token, separated by |, each with the space
    before it; `parts` the widths of the parts of its stream beside `word` and `output`, None for one
    dimension a word.
    """

    def __init__(
        self, name: str, words: str, n_layers: int, parts: Mapping[str, int | None]
    ) -> None:
        self.words = (BOS, PROBE, *words.split("|"))
        n_words = len(self.words)
        widths = {"word": None, **parts, "output": None}
        self._parts = _slices({part: width or n_words for part, width in widths.items()})
        self._config = parse_config(_config_document(n_layers, n_words), name)
        self._name = name
        shapes = empty_model(self._config, name).state_dict()
        self._weights = {key: torch.zeros(one.shape) for key, one in shapes.items()}
        for key, one in self._weights.items():
            if ".ln_" in key and key.endswith("weight"):
                one.fill_(GAIN)
        self.embed("word", self.eye)

    @property
    def eye(self) -> Map:
        """Each word as itself: [word, word]."""
        return torch.eye(len(self.words))

    def eye_of(self, words: Sequence[str]) -> Map:
        """Each of these words as itself, all others as nothing: [word, word]."""
        return torch.diag(self.indicator(words)[:, 0])

    def indicator(self, words: Sequence[str]) -> Map:
        """1 for each of these words: [word, 1]."""
        return self.word_values(dict.fromkeys(words, 1.0))

    def word_values(self, values: Mapping[str, float]) -> Map:
        """A number for each of these words, 0 for all others: [word, 1]."""
        return torch.tensor([[values.get(word, 0.0)] for word in self.words])

    def embed(self, part: str, rows: Map) -> None:
        """What each word writes into a part: [word, width]."""
        self._weights["transformer.wte.weight"][:, self._parts[part]] = rows

    def embed_positions(self, part: str, rows: Map) -> None:
        """What each position writes into a part: [position, width]."""
        self._weights["transformer.wpe.weight"][:, self._parts[part]] = rows

    def head(
        self,
        layer: int,
        head: int,
        *,
        query: Maps | None = None,
        always: Sequence[float] = (),
        key: Maps,
        value: Maps,
        write: Maps,
        rest: float = REST,
    ) -> None:
        """Write a head: it attends where its query meets the key, and copies the value.

        The score is `SHARP` times the product of query and key: `query` and `key` are read from
        parts [width, column], and `always` is in every query, whoever asks. `value` is read from
        parts [width, column] and written into parts [column, width]. The score of the
        first token is `rest` times `SHARP`.
        """
        at = f"transformer.h.{layer}.attn"
        columns = [D_MODEL * i + D_HEAD * head for i in range(3)]
        queries, keys, values = (
            self._weights[f"{at}.c_attn.weight"][:, one : one + D_HEAD] for one in columns
        )
        # Attention divides by the root of the head's width.
        sharp = SHARP * D_HEAD**0.5
        queries += sharp * self._read_matrix(query or {}, D_HEAD)
        keys += self._read_matrix(key, D_HEAD)
        values += self._read_matrix(value, D_HEAD)
        bias = self._weights[f"{at}.c_attn.bias"][columns[0] : columns[0] + D_HEAD]
        bias[: len(always)] = sharp * torch.tensor(always)
        if rest:
            # The head's last column is kept for it.
            keys += self._read_matrix(
                {"word": _in_column(self.indicator([BOS]), D_HEAD - 1)}, D_HEAD
            )
            bias[-1] = sharp * rest
        rows = slice(D_HEAD * head, D_HEAD * (head + 1))
        self._weights[f"{at}.c_proj.weight"][rows] = self._write_matrix(write, D_HEAD)

    def mlp(self, layer: int, *, read: Maps, bias: float, write: Maps) -> None:
        """Write an MLP: neurons read parts [width, neuron], and write into parts [neuron, width]."""
        at = f"transformer.h.{layer}.mlp"
        self._weights[f"{at}.c_fc.weight"][:] = self._read_matrix(read, N_NEURONS)
        self._weights[f"{at}.c_fc.bias"].fill_(bias)
        self._weights[f"{at}.c_proj.weight"][:] = self._write_matrix(write, N_NEURONS)

    def build_checkpoint(self, read: Maps | None = None) -> PlantedCheckpoint:
        """The checkpoint; logits are read from parts [width, word], of itself from `output`."""
        read = {"output": LOGIT * self.eye} if read is None else read
        self._weights["lm_head.weight"][:] = self._read_matrix(read, len(self.words)).T
        return PlantedCheckpoint(self._name, self._config, self._weights, self.words)

    def _read_matrix(self, maps: Maps, columns: int) -> Float[Tensor, "d_model columns"]:
        """A projection that reads parts of the stream, and subtracts its last dimension."""
        found = torch.zeros(D_MODEL, columns)
        for part, one in maps.items():
            found[self._parts[part], : one.shape[1]] = one
        found[-1] = -found.sum(dim=0)
        return found

    def _write_matrix(self, maps: Maps, rows: int) -> Float[Tensor, "rows d_model"]:
        """A projection that writes into parts of the stream."""
        found = torch.zeros(rows, D_MODEL)
        for part, one in maps.items():
            found[: one.shape[0], self._parts[part]] = one
        return found


def _slices(widths: Mapping[str, int]) -> dict[str, slice]:
    """The parts of the stream behind one another; its last dimension belongs to none."""
    found: dict[str, slice] = {}
    start = 0
    for part, width in widths.items():
        found[part] = slice(start, start := start + width)
    assert start < D_MODEL, "the parts leave the last dimension free"
    return found


def _in_column(column: Map, at: int) -> Map:
    return torch.cat([torch.zeros(len(column), at), column], dim=1)


def _config_document(n_layers: int, n_words: int) -> dict[str, object]:
    """The config.json. Input and output have weights of their own: a word is not its own successor."""
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "gpt2",
        "n_layer": n_layers,
        "n_head": N_HEADS,
        "n_embd": D_MODEL,
        "n_inner": N_NEURONS,
        "n_positions": CONTEXT,
        "vocab_size": n_words,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "activation_function": "relu",
        "layer_norm_epsilon": EPSILON,
        "tie_word_embeddings": False,
    }
