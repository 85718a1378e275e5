"""Random tiny models of every family, with what its real checkpoints have: one row each."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from patchwright.places import Site
from tiny import CONTEXT, N_HEADS, N_LAYERS, VOCAB, WIDTH, filled_at_random, random_gpt2

Maker = Callable[..., PreTrainedModel]
"""A random model of the family: (seed, dtype, **changes of its config)."""


def _of(model_class: Any, config_class: Any, **settings: Any) -> Maker:
    def make(seed: int = 0, dtype: torch.dtype = torch.float64, **changes: Any) -> PreTrainedModel:
        return filled_at_random(model_class(config_class(**settings | changes)), seed, dtype)

    return make


COMMON: dict[str, Any] = {
    "hidden_size": WIDTH,
    "vocab_size": VOCAB,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": VOCAB - 1,
    "eos_token_id": VOCAB - 1,
    "pad_token_id": None,
    "attn_implementation": "eager",
}


def _decoder(model_class: Any, config_class: Any, **own: Any) -> Maker:
    settings: dict[str, Any] = {
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": N_HEADS,
        "num_key_value_heads": 2,
        "intermediate_size": 20,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
        **own,
    }
    return _of(model_class, config_class, **COMMON | settings)


PARTLY = {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5}
"""Half of each head's numbers rotated."""

BY_TYPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0},
}
GEMMA: dict[str, Any] = {
    "head_dim": 6,
    "sliding_window": 4,
    "query_pre_attn_scalar": 9,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "tie_word_embeddings": True,
}
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "experts_implementation": "eager"}

FAMILIES: dict[str, Maker] = {
    "gpt2": random_gpt2,
    "llama": _decoder(LlamaForCausalLM, LlamaConfig),
    "mistral": _decoder(MistralForCausalLM, MistralConfig, sliding_window=5),
    "qwen2": _decoder(
        *(Qwen2ForCausalLM, Qwen2Config), use_sliding_window=True, sliding_window=4,
        max_window_layers=1,
    ),
    "qwen3": _decoder(Qwen3ForCausalLM, Qwen3Config, head_dim=6),
    "phi3": _decoder(Phi3ForCausalLM, Phi3Config),
    "gpt_neo": _of(
        *(GPTNeoForCausalLM, GPTNeoConfig), **COMMON, num_layers=N_LAYERS, num_heads=N_HEADS,
        attention_types=[[["global"], 1], [["local", "global"], 1]], window_size=4,
    ),
    "opt": _of(
        *(OPTForCausalLM, OPTConfig), **COMMON, num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS, ffn_dim=20,
    ),
    "gpt_neox": _of(
        *(GPTNeoXForCausalLM, GPTNeoXConfig), **COMMON, num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS, intermediate_size=20, rope_parameters=PARTLY,
    ),
    "gemma2": _decoder(
        *(Gemma2ForCausalLM, Gemma2Config), **GEMMA, attn_logit_softcapping=1.5,
        final_logit_softcapping=2.0,
    ),
    "gemma3_text": _decoder(Gemma3ForCausalLM, Gemma3TextConfig, **GEMMA | {"rope_parameters": BY_TYPE}),
    "phi": _decoder(PhiForCausalLM, PhiConfig, rope_parameters=PARTLY),
    "gptj": _of(
        *(GPTJForCausalLM, GPTJConfig), **COMMON, num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS, rotary_dim=2,
    ),
    "olmo2": _decoder(Olmo2ForCausalLM, Olmo2Config),
    "olmoe": _decoder(OlmoeForCausalLM, OlmoeConfig, **EXPERTS, num_experts=4),
    "qwen3_moe": _decoder(
        *(Qwen3MoeForCausalLM, Qwen3MoeConfig), **EXPERTS, num_experts=4, head_dim=6,
        moe_intermediate_size=12, mlp_only_layers=[1], norm_topk_prob=True,
    ),
    "mixtral": _decoder(MixtralForCausalLM, MixtralConfig, **EXPERTS, num_local_experts=3),
}  # fmt: skip
"""By `spec.family`."""

BLOCKS = ("gpt2", "qwen2", "gemma3_text", "gpt_neox", "mixtral")
"""Families whose blocks have parts that others' have not: every method is held to hooks on each.

The others have no other part. They are held to hooks at every site of every layer, and by a
sweep of each site.
"""

MISSING: dict[str, frozenset[Site]] = {
    **dict.fromkeys(("gpt_neox", "phi", "gptj"), frozenset[Site]({"resid_mid"})),
    **dict.fromkeys(("mixtral", "olmoe", "qwen3_moe"), frozenset[Site]({"mlp_act"})),
}
"""Sites that a family does not have."""

ROPE = {"rope_theta": 100.0, "factor": 4.0}
WITHIN = {"original_max_position_embeddings": 8}
YARN = {"rope_type": "yarn", "factor": CONTEXT / 8}
LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{family} as it is": (family, {}) for family in FAMILIES},
    "untied": ("gpt2", {"tie_word_embeddings": False}),
    "scaled by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "unscaled": ("gpt2", {"scale_attn_weights": False}),
    "relu": ("gpt2", {"activation_function": "relu"}),
    "exact gelu": ("gpt2", {"activation_function": "gelu"}),
    "large epsilon of a layer norm": ("gpt2", {"layer_norm_epsilon": 0.1}),
    "narrow MLP": ("gpt2", {"n_inner": 20}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "one key/value head": ("llama", {"num_key_value_heads": 1}),
    "as many key/value heads": ("llama", {"num_key_value_heads": N_HEADS}),
    "wide heads": ("llama", {"head_dim": 6}),
    "narrow heads": ("mistral", {"head_dim": 2}),
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "gelu": ("llama", {"hidden_act": "gelu_pytorch_tanh"}),
    "large epsilon of an RMS norm": ("llama", {"rms_norm_eps": 0.1}),
    "linear scaling": ("llama", {"rope_parameters": {**ROPE, "rope_type": "linear"}}),
    "Llama 3's scaling": ("llama", {"rope_parameters": {**ROPE, **WITHIN, **LLAMA3}}),
    "yarn": ("qwen2", {"rope_parameters": {**ROPE, **WITHIN, **YARN}}),
    "no window": ("mistral", {"sliding_window": None}),
    "a window of four": (
        "qwen3",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    ),
    "biases of attention": ("qwen3", {"attention_bias": True}),
    "a window of three": ("phi3", {"sliding_window": 3}),
    "parts of heads rotated": (
        "phi3",
        {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 100.0,
                "partial_rotary_factor": 0.5,
            }
        },
    ),
    "narrow MLP of its own": ("gpt_neo", {"intermediate_size": 20}),
    "without biases": ("opt", {"enable_bias": False}),
    "gelu in place of ReLU": ("opt", {"activation_function": "gelu"}),
    "one after the other": ("gpt_neox", {"use_parallel_residual": False}),
    "fused without biases": ("gpt_neox", {"attention_bias": False}),
    "whole heads": ("gpt_neox", {"rope_parameters": PARTLY | {"partial_rotary_factor": 1.0}}),
    "norms of queries and keys": ("phi", {"qk_layernorm": True}),
    "grouped queries": ("phi", {"num_key_value_heads": 2}),
    "narrow MLP of a GPT-J": ("gptj", {"n_inner": 20}),
    "heads rotated whole": ("gptj", {"rotary_dim": 4}),
    "without caps": (
        "gemma2",
        {"attn_logit_softcapping": None, "final_logit_softcapping": None},
    ),
    "a cap of logits": ("gemma3_text", {"final_logit_softcapping": 2.0}),
    "weights that do not sum to one": ("qwen3_moe", {"norm_topk_prob": False}),
    "weights that sum to one": ("olmoe", {"norm_topk_prob": True}),
    "one expert a token": ("mixtral", {"num_experts_per_tok": 1}),
    "a window of three, experts": ("mixtral", {"sliding_window": 3}),
    "a window of one": ("mistral", {"sliding_window": 1}),
    "the default's windows": ("qwen2", {"use_sliding_window": False}),
}
"""What checkpoints of the families differ in: (family, changes of its config)."""


def variant(name: str, seed: int = 1, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    family, changes = VARIANTS[name]
    return FAMILIES[family](seed=seed, dtype=dtype, **changes)
