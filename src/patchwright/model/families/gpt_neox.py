"""GPT-NeoX (Black et al. 2022) and its relatives, such as Pythia (Biderman et al. 2023).

Attention and MLP read the same stream where the config says so, as it mostly does; parts of
heads are rotated, and one projection has each head's query, key and value in turn.
"""

from typing import Any

from patchwright.model import parts
from patchwright.model.weights import Layer, Linear, Network, Rotary

ARCHITECTURE = "GPTNeoXForCausalLM"


def read(module: Any, name: str) -> Network:
    """A GPT-NeoX as a network. Raises CheckpointError for what cannot be computed."""
    config, body = module.config, module.gpt_neox
    d_head = body.layers[0].attention.head_size
    rotary = parts.rotary_of(body.rotary_emb, d_head, name, partial=True)
    layers = tuple(_layer(config, block, rotary, name) for block in body.layers)
    norm_final, parallel = (
        parts.layer_norm_of(body.final_layer_norm, name),
        config.use_parallel_residual,
    )
    return parts.assemble_network(
        module, name, layers, body.embed_in, norm_final, parallel=parallel
    )


def _layer(config: Any, block: Any, rotary: Rotary, name: str) -> Layer:
    attn = block.attention
    q, k, v = _split_by_head(parts.linear_of(attn.query_key_value, name), attn.head_size)
    return Layer(
        norm_attn=parts.layer_norm_of(block.input_layernorm, name),
        q=q,
        k=k,
        v=v,
        o=parts.linear_of(attn.dense, name),
        norm_mlp=parts.layer_norm_of(block.post_attention_layernorm, name),
        mlp_in=parts.linear_of(block.mlp.dense_h_to_4h, name),
        mlp_out=parts.linear_of(block.mlp.dense_4h_to_h, name),
        d_head=attn.head_size,
        attn_scale=attn.scaling,
        activation=parts.activation_of(config.hidden_act, name),
        rotary=rotary,
    )


def _split_by_head(joint: Linear, d_head: int) -> list[Linear]:
    """Queries, keys and values by head, each as a view."""
    weights = joint.weight.unflatten(1, (-1, 3, d_head)).unbind(2)
    if joint.bias is None:
        return [Linear(weight, None) for weight in weights]
    return list(map(Linear, weights, joint.bias.unflatten(0, (-1, 3, d_head)).unbind(1)))
