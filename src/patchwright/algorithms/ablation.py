"""Ablation: replace a place's activation in the clean run by one that says nothing.

`zero` writes zeros: it depends on the parametrisation, here the checkpoint's own
(value biases inside `z`). `mean` writes the mean over reference prompts, at each
position (prompts of the clean prompt's length) or over all their positions;
`resample` writes what one of the reference prompts, drawn by seed, has there
(Chan et al. 2022, causal scrubbing). Ablation understates what a place does
where later layers repair it (McGrath et al. 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from patchwright.algorithms.runs import PairRuns
from patchwright.algorithms.sweep import Source
from patchwright.errors import ExperimentError, UnequalLengthsError
from patchwright.model.base_runs import base_runs
from patchwright.model.rows import CORE, Row, Run
from patchwright.model.weights import Network
from patchwright.places import KEYED_SITES, Site

How = Literal["zero", "mean", "resample"]


@dataclass(frozen=True)
class Ablation:
    """What is written instead: see the module; `prompts` are token ids."""

    how: How
    prompts: tuple[tuple[int, ...], ...]
    by_position: bool
    seed: int

    def check(self) -> None:
        """Raise ExperimentError where reference prompts are missing."""
        if self.how != "zero" and not self.prompts:
            raise ExperimentError(
                f"'{self.how}' needs reference prompts: name those that it takes activations from."
            )


def substitute(network: Network, ablation: Ablation, sites: Sequence[Site]) -> Source:
    """A pair's runs with the ablated activations of `sites` where the corrupted ones were.

    `resample` takes all sites of a pair from one prompt. Raises UnequalLengthsError for reference prompts of another length than the
    clean prompt where positions are kept apart.
    """
    ablation.check()
    rows = [Row(prompt, len(prompt) - 1) for prompt in ablation.prompts]
    references = base_runs(network, rows, CORE | frozenset[Site](sites))
    draw = np.random.default_rng(ablation.seed)

    def replaced(runs: PairRuns) -> PairRuns:
        clean = runs.pair.clean
        same = replace(
            runs.pair,
            corrupt=clean,
            corrupt_texts=runs.pair.clean_texts,
            matching=tuple((i, i) for i in range(len(clean))),
        )
        chosen = _chosen(ablation, references, sites, len(clean), draw)
        ablated = tuple(_written(run, sites, ablation, chosen) for run in runs.clean)
        return replace(runs, pair=same, corrupt=ablated, known=runs.known[:1] * 2)

    return replaced


def _chosen(
    ablation: Ablation,
    references: Sequence[Run],
    sites: Sequence[Site],
    length: int,
    draw: np.random.Generator,
) -> list[Run]:
    """The reference runs to take activations from, of a length that fits."""
    if ablation.how == "zero":
        return []
    keyed = not KEYED_SITES.isdisjoint(sites)
    positions_matter = ablation.by_position or ablation.how == "resample" or keyed
    if positions_matter and any(len(run.tokens) != length for run in references):
        lengths = ", ".join(str(len(run.tokens)) for run in references)
        over = (
            ""
            if keyed
            else (", or choose how='mean', by_position=False (--how mean --over-positions)")
        )
        raise UnequalLengthsError(
            f"The clean prompt has {length} tokens and the reference prompts {lengths}: give "
            f"pairs and reference prompts of one length{over}."
        )
    if ablation.how == "resample":
        return [references[int(draw.integers(len(references)))]]
    return list(references)


def _written(run: Run, sites: Sequence[Site], ablation: Ablation, chosen: Sequence[Run]) -> Run:
    """`run` with what is to be written at `sites` in place of what it kept there."""
    kept = {
        site: [
            _values(own, [other.kept[site][layer] for other in chosen], ablation)
            for layer, own in enumerate(run.kept[site])
        ]
        for site in sites
    }
    return replace(run, kept=run.kept | kept)


def _values(own: Tensor, others: Sequence[Tensor], ablation: Ablation) -> Tensor:
    if not others:
        return torch.zeros_like(own)
    if ablation.how == "resample" or ablation.by_position:
        mean = torch.stack(list(others)).mean(dim=0)
    else:
        mean = torch.cat(list(others)).mean(dim=0).expand(len(own), *others[0].shape[1:])
    # Behind the prompt, where an answer of several tokens is read, nothing is ablated;
    # a pattern is that much wider too.
    values = own.clone()
    values[tuple(slice(size) for size in mean.shape)] = mean
    return values
