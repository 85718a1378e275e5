"""Sizes of a model, frozen."""

from dataclasses import dataclass
from math import prod

from patchwright.places import SITE_TABLE, SITES, Site


@dataclass(frozen=True)
class ModelSpec:
    """A model's name and sizes; what a layer computes stands with its weights.

    `n_vocab` counts the rows of the embedding and the logits; the last `n_padding` of them
    stand for no token. In a `parallel` block the MLP reads what attention reads; in a `routed`
    model each token has experts of its own, with `d_mlp` neurons each.
    """

    name: str
    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    n_vocab: int
    n_context: int
    n_padding: int = 0
    parallel: bool = False
    routed: bool = False

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites that the model has, in the order of the table."""
        absent = {"parallel": self.parallel, "routed": self.routed, None: False}
        return tuple(site for site in SITES if not absent[SITE_TABLE[site].absent_if])

    @property
    def n_tokens(self) -> int:
        """How many token ids stand for something: prompts, answers and lists have no others.

        The rows of padding keep their share of every probability.
        """
        return self.n_vocab - self.n_padding

    @property
    def sizes(self) -> str:
        """The sizes that tell models apart, in words."""
        return f"{self.n_layers} layers, {self.n_heads} heads, width {self.d_model}"

    def width_of(self, site: Site, n_positions: int) -> int:
        """How many numbers a site has at one position of a prompt of `n_positions`."""
        return prod(self.shape_of(site, n_positions)[1:])

    def shape_of(self, site: Site, n_positions: int) -> tuple[int, ...]:
        """What a run of `n_positions` keeps of a site in a layer, on the axes of the table."""
        sizes = {
            **dict.fromkeys(("position", "query", "key"), n_positions),
            "head": self.n_heads,
            "kv_head": self.n_kv_heads,
            "d_head": self.d_head,
            "d_model": self.d_model,
            "neuron": self.d_mlp,
        }
        return tuple(sizes[axis] for axis in SITE_TABLE[site].shape)
