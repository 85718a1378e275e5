"""The likeliest next tokens of many altered runs, read beside the metric of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from patchwright.algorithms.readout import VOCAB_TILE, logits
from patchwright.errors import ExperimentError
from patchwright.model import ops
from patchwright.model.weights import Network

MISSING_TOKEN = -1
"""The token of a cell that was not computed."""


@dataclass(frozen=True)
class TopTokens:
    """The most probable next tokens of cells, best first: [*cells, choice].

    `tokens` are ids, `MISSING_TOKEN` where a cell has no value of its own; `probabilities` are NaN there.
    """

    tokens: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @classmethod
    def empty(cls, cells: tuple[int, ...], count: int, n_tokens: int) -> "TopTokens":
        """Of no cell yet. Raises ExperimentError where a model has not as many tokens."""
        if not 0 < count <= n_tokens:
            raise ExperimentError(f"top={count}: the model has 1 to {n_tokens} tokens to list.")
        shape = (*cells, count)
        return cls(np.full(shape, MISSING_TOKEN), np.full(shape, np.nan))

    def pair_view(self) -> "TopTokens":
        """The same as a view: [pair, cell, choice]."""
        pairs, *_, count = self.tokens.shape
        shape = pairs, -1, count
        return TopTokens(self.tokens.reshape(shape), self.probabilities.reshape(shape))

    def fill(
        self,
        network: Network,
        finals: Sequence[Float[Tensor, "_position d_model"]],
        pairs: int | Sequence[int],
        cells: slice | Sequence[int] = slice(None),
    ) -> None:
        """Write down, at these cells, what runs that end in `finals` predict."""
        rows = torch.stack([final[0] for final in finals])
        at = pairs, cells
        self.tokens[at], self.probabilities[at] = top_tokens(network, rows, self.tokens.shape[-1])

    def clear(self, cells: NDArray[np.bool_]) -> None:
        """Let `cells`, [pair, ...], have none."""
        self.tokens[cells] = MISSING_TOKEN
        self.probabilities[cells] = np.nan


def top_tokens(
    network: Network, finals: Float[Tensor, "row d_model"], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The `count` most probable next tokens of each row, and their probabilities: [row, choice]."""
    tokens: list[Tensor] = []
    shares: list[Tensor] = []
    for some in finals.split(max(1, VOCAB_TILE // network.spec.n_vocab)):
        probabilities = ops.upcast(logits(network, some)).softmax(dim=-1)
        best = probabilities[:, : network.spec.n_tokens].topk(count, dim=-1)
        tokens.append(best.indices)
        shares.append(best.values)
    return torch.cat(tokens).cpu().numpy(), torch.cat(shares).double().cpu().numpy()
