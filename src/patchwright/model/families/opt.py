"""OPT (Zhang et al. 2022): GPT-2's block with ReLU, and positions counted from the third row."""

from typing import Any

from transformers import OPTConfig, OPTForCausalLM, PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model import parts
from patchwright.model.weights import Layer, Network

ARCHITECTURE = "OPTForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """An OPT as a network.

    Raises CheckpointError for one that norms after attention and MLP, as the one of 350 M does,
    embeds in another width, or lacks norms or their weights.
    """
    assert isinstance(module, OPTForCausalLM)
    config, body = module.config, module.model.decoder
    _check_config(config, name)
    assert body.final_layer_norm is not None
    layers = tuple(_layer(config, block, name) for block in body.layers)
    norm_final, embed = parts.layer_norm_of(body.final_layer_norm, name), body.embed_positions
    positions = embed.weight.detach()[embed.offset :]
    return parts.assemble_network(module, name, layers, body.embed_tokens, norm_final, positions)


def _check_config(config: OPTConfig, name: str) -> None:
    ordinary = {
        "do_layer_norm_before": True,
        "layer_norm_elementwise_affine": True,
        "_remove_final_layer_norm": False,
        "word_embed_proj_dim": config.hidden_size,
    }
    for setting, value in ordinary.items():
        found = getattr(config, setting)
        if found != value:
            raise CheckpointError(
                f"'{name}' has {setting}={found}; only {setting}={value} can be computed here."
            )


def _layer(config: OPTConfig, block: Any, name: str) -> Layer:
    return Layer(
        norm_attn=parts.layer_norm_of(block.self_attn_layer_norm, name),
        norm_mlp=parts.layer_norm_of(block.final_layer_norm, name),
        mlp_in=parts.linear_of(block.fc1, name),
        mlp_out=parts.linear_of(block.fc2, name),
        activation=parts.activation_of(config.activation_function, name),
        **parts.heads_of(block.self_attn, name, "out_proj"),
    )
