"""The planted models as plain Hugging Face models, which know nothing of the engine."""

from importlib import import_module

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from patchwright.model.catalog import local_path
from patchwright.model.planted.builder import PlantedCheckpoint


def checkpoint_of(name: str) -> PlantedCheckpoint:
    file = local_path(name)
    assert file is not None
    return import_module(f"patchwright.model.planted.{file.stem}").build(name)


def module_of(name: str, dtype: torch.dtype = torch.float64) -> GPT2LMHeadModel:
    """The model of Transformers with these weights, its attention computed step by step."""
    made = checkpoint_of(name)
    settings = made.config.settings
    assert isinstance(settings, GPT2Config)
    module = GPT2LMHeadModel(settings)
    module.load_state_dict(made.tensors())
    torch.nn.Module.to(module, dtype)
    return module.eval()
