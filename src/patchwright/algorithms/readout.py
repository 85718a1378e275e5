"""Reads metrics off a run: from its final residual stream to a number a row."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.axes import Metric
from patchwright.errors import NonFiniteError
from patchwright.model import ops
from patchwright.model.weights import Linear, Network
from patchwright.prompts.pair import TokenPair

VOCAB_TILE = 1 << 24
"""Logits that exist at one time while metrics over the whole vocabulary are read."""

Finals = Sequence[Float[Tensor, "row _position d_model"]]
"""Final residual streams of some rows, one tensor for each continuation of the pair."""

FinalsByPair = Sequence[Sequence[Tensor]]
"""The `Finals` of several pairs, whose numbers of rows differ."""


def logits(
    network: Network,
    final: Float[Tensor, "*rows d_model"],
    tokens: Sequence[int] | None = None,
    like: Float[Tensor, "*others d_model"] | None = None,
) -> Float[Tensor, "*rows token"]:
    """Logits of `tokens` (of the whole vocabulary without), from the final residual stream.

    With `like` the final norm takes its scale. Raises NonFiniteError where one of them is no
    finite number: everything that reads logits reads them here.
    """
    device = network.norm_final.weight.device
    like = None if like is None else like.to(device)
    normed = ops.norm(final.to(device), network.norm_final, like)
    chosen = slice(None) if tokens is None else list(tokens)
    bias = None if network.unembed_bias is None else network.unembed_bias[chosen]
    columns = Linear(network.unembed[chosen].T, bias)
    values = ops.linear(normed.to(columns.weight.device), columns)
    check_finite(values)
    return ops.softcap(values, network.logit_cap)


@dataclass(frozen=True)
class MetricReader:
    """Reads metrics of one pair off final residual streams.

    `clean_final` is the clean run's, [d_model], at the last token of the prompt.
    `like`, where it is given, are those whose scale the final norm takes, one row
    for each continuation.
    """

    network: Network
    pair: TokenPair
    clean_final: Float[Tensor, " d_model"]
    like: Finals | None = None

    def read(self, metric: Metric, finals: Finals) -> Float[Tensor, " row"]:
        """The metric of each row, in its own unit, at least in float32."""
        return read_each(metric, [self], [finals])[0]

    def readout(self, finals: Finals) -> "Readout":
        """Several metrics of the same rows."""
        return Readout(self, finals)


def read_each(
    metric: Metric, readers: Sequence[MetricReader], finals: FinalsByPair
) -> list[Tensor]:
    """What each reader reads of its rows, as `MetricReader.read` does; logits in shared products."""
    if METRIC_TABLE[metric].few_logits:
        return [reader.readout(some)(metric) for reader, some in zip(readers, finals, strict=True)]
    tile = max(1, VOCAB_TILE // readers[0].network.spec.n_vocab) if readers else 1
    tiles = [
        (i, tuple(some))
        for i, own in enumerate(finals)
        for some in zip(*(final.split(tile) for final in own), strict=True)
    ]
    found: list[list[Tensor]] = [[] for _ in readers]
    read = readouts([readers[i] for i, _ in tiles], [some for _, some in tiles])
    for (i, _), reading in zip(tiles, read, strict=True):
        found[i].append(reading(metric))
    return [torch.cat(some) for some in found]


def readouts(readers: Sequence[MetricReader], finals: FinalsByPair) -> Iterator["Readout"]:
    """What each reader makes of its rows; the logits of many come from one product.

    The unembedding is the largest matrix there is: reading it once for each pair costs
    more than a pair's own runs.
    """
    batch: list[tuple[MetricReader, Sequence[Tensor]]] = []
    size = 0
    for reader, some in zip(readers, finals, strict=True):
        more = sum(final.shape[0] * final.shape[1] for final in some) * reader.network.spec.n_vocab
        if batch and size + more > VOCAB_TILE:
            yield from _batch_readouts(batch)
            batch, size = [], 0
        batch.append((reader, some))
        size += more
    yield from _batch_readouts(batch)


def _batch_readouts(batch: Sequence[tuple[MetricReader, Sequence[Tensor]]]) -> Iterator["Readout"]:
    if len(batch) < 2 or any(reader.like is not None for reader, _ in batch):
        yield from (reader.readout(some) for reader, some in batch)
        return
    flat = [final.flatten(0, 1) for _, some in batch for final in some]
    values = ops.upcast(logits(batch[0][0].network, torch.cat(flat)))
    parts = iter(values.split([len(one) for one in flat]))
    for reader, some in batch:
        own = [part.unflatten(0, final.shape[:2]) for final, part in zip(some, parts, strict=False)]
        yield Readout(reader, some, own)


class Readout:
    """Metrics of some rows, each by the method of its name.

    The logits over the vocabulary are computed at most once, unless they are given, as one tensor
    for each of `finals`.
    """

    def __init__(
        self, reader: MetricReader, finals: Finals, known: Sequence[Tensor] | None = None
    ) -> None:
        self._network, self._pair = reader.network, reader.pair
        self._clean_final = reader.clean_final
        self._finals = finals
        self._known = known
        self._like = [None] * len(finals) if reader.like is None else reader.like

    def __call__(self, metric: Metric) -> Float[Tensor, " row"]:
        """The metric of each row, in its own unit, at least in float32.

        Raises NonFiniteError where it is no finite number, as a difference of huge logits is.
        """
        values: Tensor = getattr(self, metric)()
        check_finite(values)
        return values

    def logit(self) -> Float[Tensor, " row"]:
        """The mean logit of the answers."""
        return self._mean_logit(compared=False)

    def logit_diff(self) -> Float[Tensor, " row"]:
        """The mean logit of the answers minus that of the wrong answers."""
        return self._mean_logit(compared=True)

    def probability(self) -> Float[Tensor, " row"]:
        """Probability that any of the answers comes next."""
        return self.logprob().exp()

    def prob_diff(self) -> Float[Tensor, " row"]:
        """The same minus the probability of the wrong answers."""
        return self.probability() - self._joint_logprob(self._pair.wrongs).exp()

    def logprob(self) -> Float[Tensor, " row"]:
        """Log-probability that any of the answers comes next."""
        return self._joint_logprob(self._pair.answers)

    def logprob_diff(self) -> Float[Tensor, " row"]:
        """The same minus the log-probability of the wrong answers."""
        return self.logprob() - self._joint_logprob(self._pair.wrongs)

    def kl(self) -> Float[Tensor, " row"]:
        """KL(clean || row): what is lost by taking the row's distribution for the clean one."""
        clean = ops.upcast(logits(self._network, self._clean_final)).log_softmax(dim=-1)
        return (clean.exp() * (clean - self._logprobs[0][:, 0])).sum(dim=-1)

    def rank(self) -> Float[Tensor, " row"]:
        """1 and how many tokens are likelier than the likeliest of the answers."""
        values = self._without_padding(self._logits[0][:, 0])
        best = values[:, [answer[0] for answer in self._pair.answers]].amax(dim=1, keepdim=True)
        return (values > best).sum(dim=1).to(values.dtype) + 1

    def top(self, row: int, count: int) -> list[tuple[int, float]]:
        """The `count` most probable next tokens of a row, with their probabilities."""
        probabilities = self._without_padding(self._logits[0][row, 0].softmax(dim=-1))
        best = probabilities.topk(min(count, probabilities.shape[-1]))
        return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))

    def top_token_each(self) -> tuple[list[int], NDArray[np.float64]]:
        """The most probable next token of each row, and its probability."""
        best = self._without_padding(self._logits[0][:, 0].softmax(dim=-1)).max(dim=-1)
        return best.indices.tolist(), best.values.double().cpu().numpy()

    @property
    def pair(self) -> TokenPair:
        """The pair whose answers are read."""
        return self._pair

    def __len__(self) -> int:
        return len(self._finals[0])

    def _without_padding(
        self, values: Float[Tensor, "*rows vocab"]
    ) -> Float[Tensor, "*rows token"]:
        """Without the rows of padding, which come last: nothing lists or counts them."""
        return values[..., : self._network.spec.n_tokens]

    @cached_property
    def _logits(self) -> list[Float[Tensor, "row _position vocab"]]:
        if self._known is not None:
            return list(self._known)
        finals = zip(self._finals, self._like, strict=True)
        return [ops.upcast(logits(self._network, final, like=like)) for final, like in finals]

    @cached_property
    def _logprobs(self) -> list[Float[Tensor, "row _position vocab"]]:
        return [values.log_softmax(dim=-1) for values in self._logits]

    def _mean_logit(self, compared: bool) -> Float[Tensor, " row"]:
        """Of the first token of each answer; `compared` with the wrong answers, if there are any."""
        answers = [answer[0] for answer in self._pair.answers]
        wrongs = [wrong[0] for wrong in self._pair.wrongs] if compared else []
        final, like = self._finals[0][:, 0], self._like[0]
        like = None if like is None else like[:, 0]
        values = ops.upcast(logits(self._network, final, [*answers, *wrongs], like))
        value = values[:, : len(answers)].mean(dim=1)
        return value - values[:, len(answers) :].mean(dim=1) if wrongs else value

    def _joint_logprob(self, answers: Sequence[tuple[int, ...]]) -> Float[Tensor, " row"]:
        """Log-probability that any of `answers` comes next, token by token."""
        behind = self._pair.continuations
        of_each = [
            self._logprobs[behind.index(answer[:-1])][:, range(len(answer)), answer].sum(dim=1)
            for answer in answers
        ]
        return torch.stack(of_each).logsumexp(dim=0)


def check_finite(values: Tensor) -> None:
    """Raise NonFiniteError where `values`, which the model gave, hold NaN or infinity."""
    # The least and the largest tell as much as all of them, ten times as fast.
    if values.numel() and not all(
        map(math.isfinite, torch.stack(values.detach().aminmax()).tolist())
    ):
        raise NonFiniteError(
            "The model gave logits that are not finite numbers. Its weights are damaged or "
            "overflow in this precision: load it in float32, or another copy of it."
        )
