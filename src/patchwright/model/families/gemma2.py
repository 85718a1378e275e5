"""Gemma 2 (Riviere et al. 2024): Llama's block with a norm behind attention and behind the MLP.

Scores and logits are bent to within a cap, embeddings multiplied by the root of their width;
every other layer attends within a sliding window.
"""

from typing import Any

from patchwright.errors import CheckpointError
from patchwright.model import parts
from patchwright.model.families.llama import read_decoder, windows_by_type
from patchwright.model.weights import Network

ARCHITECTURE = "Gemma2ForCausalLM"


def read(module: Any, name: str) -> Network:
    """A Gemma 2 as a network. Raises CheckpointError for what cannot be computed."""
    return read_gemma(module, name, attn_cap=module.config.attn_logit_softcapping)


def read_gemma(module: Any, name: str, **own: Any) -> Network:
    """A module built as Gemma 2's; `own` is what `read_decoder` takes.

    Raises CheckpointError for what cannot be computed.
    """
    config = module.config
    if getattr(config, "use_bidirectional_attention", None):
        raise CheckpointError(
            f"'{name}' has use_bidirectional_attention={config.use_bidirectional_attention}; only models "
            "whose tokens see those before them can be read."
        )
    return read_decoder(
        module,
        name,
        windows_by_type(config, name),
        norms=_norms,
        activation=config.hidden_activation,
        logit_cap=config.final_logit_softcapping,
        **own,
    )


def _norms(block: Any, name: str) -> parts.LayerFields:
    return {
        "norm_attn": parts.rms_norm_of(block.input_layernorm, name),
        "norm_attn_out": parts.rms_norm_of(block.post_attention_layernorm, name),
        "norm_mlp": parts.rms_norm_of(block.pre_feedforward_layernorm, name),
        "norm_mlp_out": parts.rms_norm_of(block.post_feedforward_layernorm, name),
    }
