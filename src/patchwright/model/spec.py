"""Sizes and variants of a model, frozen."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """What the engine must know of a model besides its weights.

    `attn_scale` holds, for each layer, the factor on query-key products.
    `activation` is the name that the checkpoint's config gives the nonlinearity.
    """

    name: str
    family: str
    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    n_vocab: int
    n_context: int
    activation: str
    norm_eps: float
    attn_scale: tuple[float, ...]

    @property
    def sizes(self) -> str:
        """The sizes that tell models apart, in words."""
        return f"{self.n_layers} layers, {self.n_heads} heads, width {self.d_model}"
