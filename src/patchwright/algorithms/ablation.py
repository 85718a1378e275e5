"""Ablation: replace a place's activation in the clean run by one that says nothing.

`zero` writes zeros: it depends on the parametrisation, here the checkpoint's own
(value biases inside `z`). `mean` writes the mean over reference prompts, at each
position (prompts of the clean prompt's length) or over all their positions;
`resample` writes what one of the reference prompts, drawn by seed, has there
(Chan et al. 2022, causal scrubbing). Ablation understates what a place does
where later layers repair it (McGrath et al. 2023).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from patchwright.algorithms.pair_runs import PairRuns
from patchwright.algorithms.sweep import Source
from patchwright.errors import ExperimentError, UnequalLengthsError
from patchwright.model.base_runs import base_runs
from patchwright.model.load import Model
from patchwright.model.requests import BASE_SITES, Row, Run
from patchwright.model.weights import Network
from patchwright.places import KEYED_SITES, Site
from patchwright.prompts.pair import Prompt, prompt_ids


def reference_tokens(prompts: Sequence[Prompt], model: Model, bos: bool) -> list[tuple[int, ...]]:
    """Reference prompts in tokens. Raises ExperimentError for one that the model does not take."""
    tokens = [prompt_ids(one, model.tokenizer, bos) for one in prompts]
    longest = max(map(len, tokens), default=0)
    if longest > model.spec.n_context:
        raise ExperimentError(
            f"A reference prompt has {longest} tokens, and {model.name} takes at most "
            f"{model.spec.n_context}: shorten it."
        )
    return tokens


def ablation_source(
    network: Network,
    prompts: Sequence[tuple[int, ...]],
    sites: Sequence[Site],
    ablation: str,
    by_position: bool,
    seed: int,
) -> Source:
    """A pair's runs with the ablated activations of `sites` where the corrupted ones were.

    `ablation` is zero, mean or resample, which takes all sites of a pair from one of `prompts`. Raises
    ExperimentError where these are missing, UnequalLengthsError where they have another length
    than the clean prompt and positions are kept apart.
    """
    if ablation != "zero" and not prompts:
        raise ExperimentError(
            f"'{ablation}' needs reference prompts: name those that it takes activations from."
        )
    rows = [Row(prompt, len(prompt) - 1) for prompt in prompts]
    references = base_runs(network, rows, BASE_SITES | frozenset[Site](sites))
    draw = np.random.default_rng(seed)
    apart = by_position or ablation == "resample"

    def ablate_runs(runs: PairRuns) -> PairRuns:
        clean = runs.pair.clean
        same = replace(
            runs.pair,
            corrupt=clean,
            corrupt_texts=runs.pair.clean_texts,
            matching=tuple((i, i) for i in range(len(clean))),
        )
        chosen: Sequence[Run] = []
        if ablation != "zero":
            _check_lengths(references, len(clean), sites, apart)
            chosen = references
        if ablation == "resample":
            chosen = [references[int(draw.integers(len(references)))]]
        ablated = tuple(_ablated_run(run, sites, chosen, apart) for run in runs.clean)
        return replace(runs, pair=same, corrupt=ablated, known=runs.known[:1] * 2)

    return ablate_runs


def _check_lengths(
    references: Sequence[Run], length: int, sites: Sequence[Site], apart: bool
) -> None:
    keyed = not KEYED_SITES.isdisjoint(sites)
    if not (apart or keyed) or all(len(run.tokens) == length for run in references):
        return
    lengths = ", ".join(str(len(run.tokens)) for run in references)
    over = ", or choose ablation='mean', by_position=False (--ablation mean --over-positions)"
    raise UnequalLengthsError(
        f"The clean prompt has {length} tokens and the reference prompts {lengths}: give "
        f"pairs and reference prompts of one length{'' if keyed else over}."
    )


def _ablated_run(run: Run, sites: Sequence[Site], chosen: Sequence[Run], apart: bool) -> Run:
    """`run` with what is to be written at `sites` in place of what it kept there."""
    kept = {
        site: [
            _replacement_values(own, [other.kept[site][layer] for other in chosen], apart)
            for layer, own in enumerate(run.kept[site])
        ]
        for site in sites
    }
    return replace(run, kept=run.kept | kept)


def _replacement_values(own: Tensor, others: Sequence[Tensor], apart: bool) -> Tensor:
    if not others:
        return torch.zeros_like(own)
    if apart:
        mean = torch.stack(list(others)).mean(dim=0)
    else:
        mean = torch.cat(list(others)).mean(dim=0).expand(len(own), *others[0].shape[1:])
    # Behind the prompt, where an answer of several tokens is read, nothing is ablated;
    # a pattern is that much wider too.
    values = own.clone()
    values[tuple(slice(size) for size in mean.shape)] = mean
    return values
