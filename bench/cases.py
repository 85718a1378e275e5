"""What is measured: sweeps over random models of the sizes of GPT-2 small and SmolLM2.

Only the standard library is imported, so that every contestant's interpreter,
and the one that only compares, can read this file.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple

SEED = 20240217

By = Literal["position", "head", "position_head"]


@dataclass(frozen=True)
class Shape:
    """Of which architecture and how large a random model is, and how long its prompts are.

    `section` is the heading of its tables in a file of measurements.
    """

    name: str
    section: str
    family: Literal["gpt2", "llama"]
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_mlp: int
    n_vocab: int
    n_tokens: int

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_heads


GPT2_SMALL = Shape(
    "GPT-2 small", "Exact sweeps", "gpt2", n_layers=12, n_heads=12, n_kv_heads=12,
    d_model=768, d_mlp=3072, n_vocab=50257, n_tokens=15,
)  # fmt: skip
SMOLLM2 = Shape(
    "SmolLM2-135M", "Exact sweeps of SmolLM2's size", "llama", n_layers=30, n_heads=9, n_kv_heads=3,
    d_model=576, d_mlp=1536, n_vocab=49152, n_tokens=14,
)  # fmt: skip
SHAPES = (GPT2_SMALL, SMOLLM2)


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
    """A sweep: over which model, which site, how finely, and where the prompts differ.

    `differing` are the positions whose tokens differ; None means all.
    """

    name: str
    title: str
    shape: Shape
    site: Literal["resid_pre", "z"]
    by: By
    differing: tuple[int, ...] | None = None

    def with_layers(self, n_layers: int | None) -> "Case":
        """The same with fewer layers, for a quick try; with its own number for None."""
        if n_layers is None:
            return self
        return replace(self, shape=replace(self.shape, n_layers=n_layers))

    @property
    def changed(self) -> tuple[int, ...]:
        """The positions whose tokens differ."""
        return tuple(range(self.shape.n_tokens)) if self.differing is None else self.differing

    def prompts(self) -> Prompts:
        """The same ones for every contestant."""
        draw, n = Random(SEED), self.shape.n_tokens
        ids = draw.sample(range(self.shape.n_vocab), 2 * n + 2)
        clean, others = ids[:n], ids[n : 2 * n]
        corrupt = [others[i] if i in self.changed else clean[i] for i in range(n)]
        return Prompts(clean, corrupt, answer=ids[-2], wrong=ids[-1])

    def spots(self) -> list[Spot]:
        """Every place, the last-named axis running fastest."""
        positions = [None] if self.by == "head" else range(self.shape.n_tokens)
        heads = [None] if self.by == "position" else range(self.shape.n_heads)
        return [
            Spot(layer, position, head)
            for layer in range(self.shape.n_layers)
            for position in positions
            for head in heads
        ]


_RESID_PRE = "`resid_pre`, every position differs"
_Z_HEAD = "`z` per head, every position differs"

CASES = {
    case.name: case
    for case in (
        Case("resid_pre", _RESID_PRE, GPT2_SMALL, "resid_pre", "position"),
        Case(
            "resid_pre_one",
            "`resid_pre`, one token differs, at position 10 of 15",
            GPT2_SMALL,
            "resid_pre",
            "position",
            (10,),
        ),
        Case("z_head", _Z_HEAD, GPT2_SMALL, "z", "head"),
        Case(
            "z_head_position",
            "`z` per head and position, every position differs",
            GPT2_SMALL,
            "z",
            "position_head",
        ),
        Case("smollm2_resid_pre", _RESID_PRE, SMOLLM2, "resid_pre", "position"),
        Case("smollm2_z_head", _Z_HEAD, SMOLLM2, "z", "head"),
    )
}
