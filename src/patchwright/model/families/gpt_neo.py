"""GPT-Neo (Black et al. 2021) and its relatives, such as TinyStories (Eldan & Li 2023).

GPT-2's block, its queries and keys without biases and compared unscaled; some layers attend
within a local window.
"""

from typing import Any

from transformers import GPTNeoConfig, GPTNeoForCausalLM, PreTrainedModel

from patchwright.errors import CheckpointError
from patchwright.model.parts import activation_of, bias_of, layer_norm_of, linear_of, window_of
from patchwright.model.spec import ModelSpec
from patchwright.model.weights import Layer, Network

ARCHITECTURE = "GPTNeoForCausalLM"


def read(module: PreTrainedModel, name: str) -> Network:
    """A GPT-Neo as a network. Raises CheckpointError for what cannot be computed."""
    assert isinstance(module, GPTNeoForCausalLM)
    config, body = module.config, module.transformer
    return Network(
        spec=_spec(config, name),
        embed=body.wte.weight.detach(),
        embed_position=body.wpe.weight.detach(),
        layers=tuple(_layer(config, block, name) for block in body.h),
        norm_final=layer_norm_of(body.ln_f, name),
        unembed=module.lm_head.weight.detach(),
        unembed_bias=bias_of(module.lm_head),
    )


def _spec(config: GPTNeoConfig, name: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="gpt_neo",
        n_layers=config.num_layers,
        n_heads=config.num_heads,
        n_kv_heads=config.num_heads,
        d_model=config.hidden_size,
        d_head=config.hidden_size // config.num_heads,
        d_mlp=config.intermediate_size or 4 * config.hidden_size,
        n_vocab=config.vocab_size,
        n_context=config.max_position_embeddings,
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
