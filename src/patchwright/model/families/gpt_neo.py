"""GPT-Neo (Black et al. 2021) and its relatives, such as TinyStories (Eldan & Li 2023).

GPT-2's block, its queries and keys without biases and compared unscaled; some layers attend
within a local window.
"""

from typing import Any

from transformers import GPTNeoConfig, GPTNeoForCausalLM, PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model.parts import (
    activation_of,
    layer_norm_of,
    linear_of,
    network_around,
    spec_of,
    window_of,
)
from patchwright.model.weights import Layer, Network

ARCHITECTURE = "GPTNeoForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A GPT-Neo as a network. Raises CheckpointError for what cannot be computed."""
    assert isinstance(module, GPTNeoForCausalLM)
    config, body = module.config, module.transformer
    layers = tuple(_layer(config, block, name) for block in body.h)
    spec = spec_of(config, name, layers, d_mlp=config.intermediate_size or 4 * config.hidden_size)
    norm_final = layer_norm_of(body.ln_f, name)
    return network_around(
        module, spec, layers, body.wte, norm_final, embed_position=body.wpe.weight.detach()
    )


def _layer(config: GPTNeoConfig, block: Any, name: str) -> Layer:
    attn = block.attn.attention
    windows = {"global": None, "local": config.window_size}
    if attn.attention_type not in windows:
        raise CheckpointError(
            f"'{name}' has a layer of the type '{attn.attention_type}', which cannot be computed "
            f"here. The types that can are: {', '.join(windows)}."
        )
    return Layer(
        norm_attn=layer_norm_of(block.ln_1, name),
        q=linear_of(attn.q_proj, name),
        k=linear_of(attn.k_proj, name),
        v=linear_of(attn.v_proj, name),
        o=linear_of(attn.out_proj, name),
        norm_mlp=layer_norm_of(block.ln_2, name),
        mlp_in=linear_of(block.mlp.c_fc, name),
        mlp_out=linear_of(block.mlp.c_proj, name),
        d_head=attn.head_dim,
        attn_scale=1.0,
        activation=activation_of(config.activation_function, name),
        window=window_of(windows[attn.attention_type], name),
    )
