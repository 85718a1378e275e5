"""GPT-Neo (Black et al. 2021) and its relatives, such as TinyStories (Eldan & Li 2023).

GPT-2's block, its queries and keys without biases and compared unscaled; some layers attend
within a local window.
"""

from typing import Any

from transformers import GPTNeoConfig, GPTNeoForCausalLM, PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model import parts
from patchwright.model.weights import Layer, Network

ARCHITECTURE = "GPTNeoForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A GPT-Neo as a network. Raises CheckpointError for what cannot be computed."""
    assert isinstance(module, GPTNeoForCausalLM)
    config, body = module.config, module.transformer
    layers = tuple(_layer(config, block, name) for block in body.h)
    norm_final, positions = parts.layer_norm_of(body.ln_f, name), body.wpe.weight.detach()
    return parts.assemble_network(module, name, layers, body.wte, norm_final, positions)


def _layer(config: GPTNeoConfig, block: Any, name: str) -> Layer:
    attn = block.attn.attention
    windows = {"global": None, "local": config.window_size}
    if attn.attention_type not in windows:
        raise CheckpointError(
            f"'{name}' has a layer of the type '{attn.attention_type}', which cannot be computed "
            f"here. The types that can are: {', '.join(windows)}."
        )
    return Layer(
        norm_attn=parts.layer_norm_of(block.ln_1, name),
        norm_mlp=parts.layer_norm_of(block.ln_2, name),
        mlp_in=parts.linear_of(block.mlp.c_fc, name),
        mlp_out=parts.linear_of(block.mlp.c_proj, name),
        activation=parts.activation_of(config.activation_function, name),
        window=parts.window_of(windows[attn.attention_type], name),
        **parts.heads_of(attn, name, "out_proj", scale=1.0),
    )
