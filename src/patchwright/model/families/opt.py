"""OPT (Zhang et al. 2022): GPT-2's block with ReLU, and positions counted from the third row."""

from typing import Any

from transformers import OPTConfig, OPTForCausalLM, PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model.parts import activation_of, layer_norm_of, linear_of, network_around, spec_of
from patchwright.model.weights import Layer, Network

ARCHITECTURE = "OPTForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """An OPT as a network.

    Raises CheckpointError for one that norms after attention and MLP, as the one of 350 M does,
    embeds in another width, or lacks norms or their weights.
    """
    assert isinstance(module, OPTForCausalLM)
    config, body = module.config, module.model.decoder
    _check(config, name)
    assert body.final_layer_norm is not None
    layers = tuple(_layer(config, block, name) for block in body.layers)
    spec = spec_of(config, name, layers, d_mlp=config.ffn_dim)
    norm_final = layer_norm_of(body.final_layer_norm, name)
    return network_around(
        module,
        spec,
        layers,
        body.embed_tokens,
        norm_final,
        embed_position=body.embed_positions.weight.detach()[body.embed_positions.offset :],
    )


def _check(config: OPTConfig, name: str) -> None:
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
    attn = block.self_attn
    return Layer(
        norm_attn=layer_norm_of(block.self_attn_layer_norm, name),
        q=linear_of(attn.q_proj, name),
        k=linear_of(attn.k_proj, name),
        v=linear_of(attn.v_proj, name),
        o=linear_of(attn.out_proj, name),
        norm_mlp=layer_norm_of(block.final_layer_norm, name),
        mlp_in=linear_of(block.fc1, name),
        mlp_out=linear_of(block.fc2, name),
        d_head=attn.head_dim,
        attn_scale=attn.scaling,
        activation=activation_of(config.activation_function, name),
    )
