"""What heads look at: patterns of both prompts, and scores of well-known kinds of head.

Scores are mean shares of attention, over queries that have something to look at:
`previous` on the position before, `duplicate` on earlier occurrences of the same
token, `induction` on the positions that follow those (Elhage et al. 2021; Olsson
et al. 2022). `entropy` is the mean entropy of the pattern, in nats: 0 is one key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from patchwright.algorithms.batches import row_bytes
from patchwright.algorithms.pair_runs import PairRuns, check_runs
from patchwright.axes import BUDGET
from patchwright.errors import PromptError
from patchwright.model.forward import forward
from patchwright.model.requests import BASE_SITES, Row
from patchwright.model.spec import ModelSpec
from patchwright.model.weights import Network
from patchwright.places import Place, Site

SCORES = ("previous", "duplicate", "induction", "entropy")

PATTERN_SITES = BASE_SITES | frozenset[Site]({"pattern"})
"""What runs must keep for this module's functions."""


def patterns(network: Network, runs: PairRuns, layer: int, head: int) -> xr.DataArray:
    """The pattern of one head in both runs: dims (run, query, key), shares of attention.

    Raises UnknownPlaceError for a head that the model does not have, PromptError
    for prompts of unequal length, which share no axes.
    """
    Place("pattern", layer, head).within(network.spec, len(runs.pair.clean))
    if len(runs.pair.clean) != len(runs.pair.corrupt):
        raise PromptError(
            "Attention patterns of prompts of unequal length cannot be compared: give prompts of equal "
            "length."
        )
    n = len(runs.pair.clean)
    both = torch.stack(
        [run.kept["pattern"][layer][:n, head, :n] for run in (runs.clean[0], runs.corrupt[0])]
    )
    values = both.double().cpu().numpy()
    return xr.DataArray(
        values,
        dims=["run", "query", "key"],
        coords={"run": ["clean", "corrupt"], "query": range(n), "key": range(n)},
        name="pattern",
    )


@dataclass(frozen=True)
class RepeatedTokens:
    """Prompts that say `length` random tokens twice, after `first`; `repeats` of them.

    The tokens of one are all different where they are drawn from a `pool`; an empty
    pool stands for the whole vocabulary.
    """

    length: int
    repeats: int
    seed: int
    pool: tuple[int, ...] = ()
    first: tuple[int, ...] = ()

    def prompts(self, spec: ModelSpec) -> Iterator[tuple[int, ...]]:
        """The prompts. Raises PromptError where they do not fit the model or the pool."""
        if outside := [token for token in self.pool if not 0 <= token < spec.n_tokens]:
            raise PromptError(
                f"The words have the token id {outside[0]}; the model's vocabulary is "
                f"0-{spec.n_tokens - 1}."
            )
        room = (spec.n_context - len(self.first)) // 2
        most = min(room, len(self.pool)) if self.pool else room
        if not 2 <= self.length <= most or self.repeats < 1:
            of = f" and {len(self.pool)} different ones are given" if self.pool else ""
            raise PromptError(
                f"{self.repeats} random prompts of 2 × {self.length} tokens: the model takes at "
                f"most {spec.n_context} tokens{of}. Choose a length from 2 to {most}."
            )
        draw = np.random.default_rng(self.seed)
        for _ in range(self.repeats):
            if self.pool:
                tokens = draw.choice(self.pool, self.length, False).tolist()
            else:
                tokens = draw.integers(spec.n_tokens, size=self.length).tolist()
            yield (*self.first, *tokens, *tokens)


def head_scores(network: Network, runs: PairRuns, twice: RepeatedTokens) -> dict[str, xr.DataArray]:
    """Each score of `SCORES`, dims (prompt, layer, head), on three kinds of prompt.

    `clean` and `corrupt` are the pair's; `random` is the mean over prompts that say
    random tokens twice. NaN where no query has anything to look at.
    """
    spec = network.spec
    clean, corrupt = runs.clean[0], runs.corrupt[0]
    of_prompts = {
        "clean": _scores(clean.kept["pattern"], runs.pair.clean),
        "corrupt": _scores(corrupt.kept["pattern"], runs.pair.corrupt),
        "random": _mean_scores(network, twice),
    }
    means = torch.stack(list(of_prompts.values()))
    coords = {
        "prompt": list(of_prompts),
        "layer": range(spec.n_layers),
        "head": range(spec.n_heads),
    }
    return {
        name: xr.DataArray(means[:, i].numpy(), dims=list(coords), coords=coords, name=name)
        for i, name in enumerate(SCORES)
    }


def _mean_scores(network: Network, twice: RepeatedTokens) -> Float[Tensor, "score layer head"]:
    """The mean over the random prompts, of which some run at one time."""
    spec, prompts = network.spec, twice.prompts(network.spec)
    length = len(twice.first) + 2 * twice.length
    pattern = network.embed.element_size() * spec.n_layers * spec.n_heads * length**2
    at_once = max(1, BUDGET // (pattern + row_bytes(network, length, length)))
    keep = frozenset[Site]({"pattern"})
    total = torch.zeros(len(SCORES), spec.n_layers, spec.n_heads, dtype=torch.float64)
    while some := list(islice(prompts, at_once)):
        runs = forward(network, [Row(tokens, len(tokens) - 1) for tokens in some], keep)
        check_runs(runs)
        for run in runs:
            total += _scores(run.kept["pattern"], run.tokens)
    return total / twice.repeats


def _scores(kept: Sequence[Tensor], tokens: tuple[int, ...]) -> Float[Tensor, "score layer head"]:
    """The scores of one prompt, in the order of `SCORES`."""
    n = len(tokens)
    pattern = torch.stack([layer[:n, :, :n].cpu() for layer in kept]).double()
    ids = torch.tensor(tokens)
    same = (ids[:, None] == ids[None, :]).tril(-1)
    after = torch.zeros_like(same)
    after[:, 1:] = same[:, :-1]
    previous = torch.ones(n, n, dtype=torch.bool).tril(-1).triu(-1)
    entropy = -torch.xlogy(pattern, pattern).sum(dim=-1).mean(dim=1)
    return torch.stack(
        [*(_mean_attention(pattern, keys) for keys in (previous, same, after)), entropy]
    )


def _mean_attention(
    pattern: Float[Tensor, "layer query head key"], keys: Bool[Tensor, "query key"]
) -> Float[Tensor, "layer head"]:
    """Mean attention to `keys`, over the queries that have any."""
    asking = keys.any(dim=1)
    shares = (pattern * keys[:, None, :]).sum(dim=-1)
    return shares[:, asking].mean(dim=1)
