"""Activation patching done the slow way: one hooked run of the whole model a cell."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

import patchwright as pw
from hooks import Step, activation, changed_logits, logits
from patchwright.axes import DIMS, Per
from patchwright.places import Site


def metric_of(
    name: str, values: Tensor, clean: Tensor, answers: list[int], wrongs: list[int]
) -> float:
    """A metric of last-token logits [vocab]; `clean` are those of the clean run."""
    shares, clean_shares = values.softmax(-1), clean.softmax(-1)
    answer, wrong = shares[answers].sum(), shares[wrongs].sum()
    return {
        "logit": lambda: values[answers].mean(),
        "logit_diff": lambda: values[answers].mean() - values[wrongs].mean(),
        "probability": lambda: answer,
        "prob_diff": lambda: answer - wrong,
        "logprob": lambda: answer.log(),
        "logprob_diff": lambda: answer.log() - wrong.log(),
        "kl": lambda: (clean_shares * (clean_shares.log() - shares.log())).sum(),
        "rank": lambda: 1 + (values > values[answers].max()).sum(),
    }[name]().item()


def writing(place: pw.Place, value: Tensor) -> Step:
    """The step that writes `value`, a whole activation of the site, at a place."""
    at = slice(None) if place.position is None else place.position
    index = place.neuron if place.head is None else place.head
    where = (at,) if index is None else (at, index)

    def change(live: Tensor) -> None:
        live[where] = value[where]

    return place.site, place.layer or 0, change


def cell_logits(
    module: PreTrainedModel,
    into: list[int],
    out_of: list[int],
    place: pw.Place,
) -> Tensor:
    """[position, vocab] of the run of `into` with one place copied from the run of `out_of`."""
    source = activation(module, out_of, place.site, place.layer or 0)
    return changed_logits(module, into, [writing(place, source)])


def sweep(
    module: PreTrainedModel,
    clean: list[int],
    corrupt: list[int],
    site: Site,
    per: Per,
    direction: str,
    metric: str,
    answers: list[int],
    wrongs: list[int],
    layers: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """What `pw.patch` returns as `patched`, one whole run a cell."""
    swept = sweeps(module, clean, corrupt, site, per, direction, [metric], answers, wrongs, layers)
    return swept[metric]


def sweeps(
    module: PreTrainedModel,
    clean: list[int],
    corrupt: list[int],
    site: Site,
    per: Per,
    direction: str,
    metrics: Sequence[str],
    answers: list[int],
    wrongs: list[int],
    layers: Sequence[int] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The same for several metrics."""
    into, out_of = (corrupt, clean) if direction == "denoise" else (clean, corrupt)
    unpatched = logits(module, clean)[-1]
    if layers is None:
        layers = range(1) if site == "embed" else range(module.config.num_hidden_layers)
    heads = module.config.num_attention_heads
    if site in ("k", "v"):
        heads = getattr(module.config, "num_key_value_heads", heads)
    sizes = {"layer": layers, "position": range(len(into)), "head": range(heads)}
    wide = getattr(module.config, "intermediate_size", None) or 4 * module.config.hidden_size
    sizes["neuron"] = range(wide)
    axes = [sizes[dim] for dim in DIMS[per]]
    shape = [len(axis) for axis in axes]
    values = {metric: np.empty(shape) for metric in metrics}
    for cell in np.ndindex(*shape):
        named = {dim: int(axis[i]) for dim, axis, i in zip(DIMS[per], axes, cell, strict=True)}
        if site == "embed":
            named.pop("layer")
        last = cell_logits(module, into, out_of, pw.Place(site, **named))[-1]
        for metric in metrics:
            values[metric][cell] = metric_of(metric, last, unpatched, answers, wrongs)
    return values


def next_logprob(module: PreTrainedModel, run: Tensor, answer: list[int]) -> float:
    """Summed log-probability of `answer`; `run` is [position, vocab] of prompt + answer[:-1]."""
    logprobs = run[-len(answer) :].log_softmax(-1)
    return sum(logprobs[i, token].item() for i, token in enumerate(answer))
