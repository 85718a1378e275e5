"""Gemma 3 (Kamath et al. 2025), the text models: Gemma 2's block without caps, queries and keys normed.

Layers within a sliding window have rotary positions of a base of their own.
"""

from typing import Any

from patchwright.errors import CheckpointError
from patchwright.model import parts
from patchwright.model.families.gemma2 import read_gemma
from patchwright.model.weights import Network

ARCHITECTURE = "Gemma3ForCausalLM"


def read(module: Any, name: str) -> Network:
    """A Gemma 3 as a network. Raises CheckpointError for what cannot be computed."""
    config, body = module.config, module.model
    if config.attn_logit_softcapping is not None:
        raise CheckpointError(
            f"'{name}' has attn_logit_softcapping={config.attn_logit_softcapping}, which its architecture "
            "does not compute: its config.json belongs to another one."
        )
    attn = body.layers[0].self_attn
    rotaries = {
        one: parts.rotary_of(body.rotary_emb, attn.head_dim, name, layer_type=one)
        for one in set(config.layer_types)
    }
    return read_gemma(module, name, rotaries=[rotaries[one] for one in config.layer_types])
