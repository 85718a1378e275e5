"""Sizes of a model, frozen."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """A model's name and sizes; what a layer computes stands with its weights."""

    name: str
    family: str
    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    n_vocab: int
    n_context: int
