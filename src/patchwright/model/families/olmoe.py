"""OLMoE (Muennighoff et al. 2024): Llama's attention, queries and keys normed over all heads together.

In place of the MLP are a router and experts.
"""

from typing import Any

from patchwright.errors import CheckpointError
from patchwright.model.families.llama import read_decoder
from patchwright.model.families.mixtral import experts_of
from patchwright.model.weights import Network

ARCHITECTURE = "OlmoeForCausalLM"


def read(module: Any, name: str) -> Network:
    """An OLMoE as a network. Raises CheckpointError for what cannot be computed."""
    config = module.config
    if config.clip_qkv is not None:
        raise CheckpointError(
            f"'{name}' has clip_qkv={config.clip_qkv}; only clip_qkv=None can be computed here."
        )
    return read_decoder(module, name, mlp=experts_of, routed=True)
