"""What is measured: four sweeps over one random model of GPT-2 small's size.

Only the standard library is imported, so that every contestant's interpreter,
and the one that only compares, can read this file.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple

N_TOKENS = 15
SEED = 20240217

By = Literal["position", "head", "position_head"]


@dataclass(frozen=True)
class Sizes:
    """Of GPT-2 small, unless told otherwise."""

    n_layers: int = 12
    n_heads: int = 12
    d_model: int = 768
    d_mlp: int = 3072
    n_vocab: int = 50257

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


class Spot(NamedTuple):
    """One place of a sweep; None means all."""

    layer: int
    position: int | None
    head: int | None


class Prompts(NamedTuple):
    """Token ids of the two prompts, and the two answers whose logits are compared."""

    clean: list[int]
    corrupt: list[int]
    answer: int
    wrong: int


@dataclass(frozen=True)
class Case:
    """A sweep: which site, how finely, and at which positions the prompts differ."""

    name: str
    title: str
    site: Literal["resid_pre", "z"]
    by: By
    differing: tuple[int, ...]

    def prompts(self, sizes: Sizes) -> Prompts:
        """The same ones for every contestant."""
        draw = Random(SEED)
        ids = draw.sample(range(sizes.n_vocab), 2 * N_TOKENS + 2)
        clean, others = ids[:N_TOKENS], ids[N_TOKENS : 2 * N_TOKENS]
        corrupt = [others[i] if i in self.differing else clean[i] for i in range(N_TOKENS)]
        return Prompts(clean, corrupt, answer=ids[-2], wrong=ids[-1])

    def spots(self, sizes: Sizes) -> list[Spot]:
        """Every place, the last-named axis running fastest."""
        positions = [None] if self.by == "head" else range(N_TOKENS)
        heads = [None] if self.by == "position" else range(sizes.n_heads)
        return [
            Spot(layer, position, head)
            for layer in range(sizes.n_layers)
            for position in positions
            for head in heads
        ]


_EVERY = tuple(range(N_TOKENS))

CASES = {
    case.name: case
    for case in (
        Case("resid_pre", "`resid_pre`, every position differs", "resid_pre", "position", _EVERY),
        Case(
            "resid_pre_one",
            "`resid_pre`, one token differs, at position 10 of 15",
            "resid_pre",
            "position",
            (10,),
        ),
        Case("z_head", "`z` per head, every position differs", "z", "head", _EVERY),
        Case(
            "z_head_position",
            "`z` per head and position, every position differs",
            "z",
            "position_head",
            _EVERY,
        ),
    )
}
