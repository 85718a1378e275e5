"""Mistral (Jiang et al. 2023): Llama's block; its first version attends within a sliding window."""

from transformers import PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model.families.llama import read_decoder
from patchwright.model.weights import Network

ARCHITECTURE = "MistralForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A Mistral as a network. Raises CheckpointError for what cannot be computed."""
    config = module.config
    if len(set(getattr(config, "layer_types", None) or [None])) > 1:
        raise CheckpointError(
            f"'{name}' names layers of several types (layer_types), which its architecture does not "
            "compute: its config.json belongs to another one."
        )
    return read_decoder(module, name, config.sliding_window)
