"""What is measured: sweeps over random models of the sizes of GPT-2 and SmolLM2.

Only the standard library is imported, so that every contestant's interpreter,
and the one that only compares, can read this file.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any, Literal, NamedTuple

SEED = 20240217

By = Literal["position", "head", "position_head"]


@dataclass(frozen=True)
class Shape:
    """Of which architecture and how large a random model is, and how long its prompts are."""

    name: str
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


def _gpt2(name: str, n_layers: int, n_heads: int, d_model: int) -> Shape:
    return Shape(
        name, "gpt2", n_layers, n_heads, n_heads, d_model, 4 * d_model, n_vocab=50257, n_tokens=15
    )


GPT2_SMALL = _gpt2("GPT-2 small", 12, 12, 768)
GPT2_MEDIUM = _gpt2("GPT-2 medium", 24, 16, 1024)
GPT2_LARGE = _gpt2("GPT-2 large", 36, 20, 1280)
GPT2_XL = _gpt2("GPT-2 XL", 48, 25, 1600)
SMOLLM2 = Shape(
    "SmolLM2-135M", "llama", n_layers=30, n_heads=9, n_kv_heads=3,
    d_model=576, d_mlp=1536, n_vocab=49152, n_tokens=14,
)  # fmt: skip

SECTIONS = {
    "Exact sweeps": GPT2_SMALL.name,
    "Exact sweeps of SmolLM2's size": SMOLLM2.name,
}
"""The headings of the shapes' sweeps in the file of measurements."""


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

    def pairs(self, count: int) -> list[Prompts]:
        """The same ones for every contestant; of more pairs the first are the same."""
        draw, n = Random(SEED), self.shape.n_tokens
        found: list[Prompts] = []
        for _ in range(count):
            ids = draw.sample(range(self.shape.n_vocab), 2 * n + 2)
            clean, others = ids[:n], ids[n : 2 * n]
            corrupt = [others[i] if i in self.changed else clean[i] for i in range(n)]
            found.append(Prompts(clean, corrupt, answer=ids[-2], wrong=ids[-1]))
        return found

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Case":
        """What `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        shape, differing = fields.pop("shape"), fields.pop("differing")
        changed = None if differing is None else tuple(differing)
        return cls(**fields, shape=Shape(**shape), differing=changed)

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


def named(*cases: Case) -> Mapping[str, Case]:
    """The cases by their names."""
    return {case.name: case for case in cases}


def resid_pre(name: str, shape: Shape) -> Case:
    """All layers and positions, every position differing."""
    return Case(name, _RESID_PRE, shape, "resid_pre", "position")


_RESID_PRE = "`resid_pre`, every position differs"
_Z_HEAD = "`z` per head, every position differs"

CASES = named(
    resid_pre("resid_pre", GPT2_SMALL),
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
    resid_pre("smollm2_resid_pre", SMOLLM2),
    Case("smollm2_z_head", _Z_HEAD, SMOLLM2, "z", "head"),
)
"""One pair, by all contestants."""

MANY_PAIRS = Case(
    "many_pairs",
    "`z` per head, one token differs, at position 10 of 15",
    GPT2_SMALL,
    "z",
    "head",
    (10,),
)

SIZES = named(
    resid_pre("small", GPT2_SMALL),
    resid_pre("smollm2", SMOLLM2),
    resid_pre("medium", GPT2_MEDIUM),
    resid_pre("large", GPT2_LARGE),
    resid_pre("xl", GPT2_XL),
)
"""The same sweep over ever larger models."""


def doubled(shape: Shape) -> Mapping[str, Case]:
    """The sweep over a shape with one of its sizes doubled."""
    return named(
        resid_pre("layers", replace(shape, n_layers=2 * shape.n_layers)),
        resid_pre("positions", replace(shape, n_tokens=2 * shape.n_tokens)),
        resid_pre(
            "width",
            replace(
                shape,
                n_heads=2 * shape.n_heads,
                n_kv_heads=2 * shape.n_kv_heads,
                d_model=2 * shape.d_model,
                d_mlp=2 * shape.d_mlp,
            ),
        ),
    )
