"""The models that Patchwright offers by name; any other hub name or folder works too."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """Sizes as published with the checkpoint; `download` in MB of safetensors."""

    name: str
    layers: int
    heads: int
    d_model: int
    parameters: str
    download: int
    note: str


KNOWN = (
    KnownModel("demo", 6, 6, 192, "3 M", 0, "in the package; a teaching model, not GPT-2"),
    KnownModel("distilgpt2", 6, 12, 768, "82 M", 353, "a smaller copy distilled from gpt2"),
    KnownModel("gpt2", 12, 12, 768, "124 M", 548, "GPT-2 small: the most studied"),
    KnownModel("gpt2-medium", 24, 16, 1024, "355 M", 1520, ""),
    KnownModel("gpt2-large", 36, 20, 1280, "774 M", 3250, ""),
    KnownModel("gpt2-xl", 48, 25, 1600, "1.6 B", 6430, "the model of Meng et al. 2022"),
)
"""Sizes from the GPT-2 release (Radford et al. 2019) and the checkpoints' files."""
