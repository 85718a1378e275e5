"""Hugging Face modules -> the common weights: one file a family.

A family's file has `ARCHITECTURE`, the name of the Hugging Face class as a config's
`architectures` has it, and `read`, which describes a module of that class as a `Network`.
What a config says and the engine cannot do is refused there by name.
"""

import re
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from transformers import PreTrainedModel

from patchwright.errors import UnknownFamilyError
from patchwright.model.weights import Network

FamilyReader = Callable[[PreTrainedModel, str], Network]
"""From a module, and what the model is called. Raises CheckpointError."""


def _readers() -> dict[str, FamilyReader]:
    found = [import_module(f"{__name__}.{one.name}") for one in iter_modules(__path__)]
    return {family.ARCHITECTURE: family.read for family in found}


FAMILIES: dict[str, FamilyReader] = _readers()
"""The readers by architecture."""


def network_of(module: PreTrainedModel, name: str) -> Network:
    """The common weights of a loaded Hugging Face model, called `name`.

    Raises UnknownFamilyError for an architecture that is not in `FAMILIES`, CheckpointError
    for one that has what the engine cannot compute.
    """
    reader = FAMILIES.get(type(module).__name__)
    if reader is None:
        raise unknown_family_error(name, type(module).__name__)
    return reader(module, name)


def unknown_family_error(name: str, architecture: str) -> UnknownFamilyError:
    """The refusal of `architecture`, with what can be read instead."""
    known = ", ".join(re.sub("(ForCausalLM|LMHeadModel)$", "", one) for one in FAMILIES)
    return UnknownFamilyError(
        f"'{name}' is a {architecture}. The architectures that can be read are: {known}. Choose a model "
        "of one of them, or add a reader for yours (docs/extend/family.md)."
    )
