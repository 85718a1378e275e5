"""Random tiny models of every family, with what its real checkpoints have: one row each."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    GPTNeoConfig,
    GPTNeoForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

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
}  # fmt: skip
"""By `spec.family`."""

BLOCKS = ("gpt2", "llama", "qwen2", "qwen3")
"""Families whose blocks have parts that others' have not: every method is held to hooks on each.

The others have no other part. They are held to hooks at every site of every layer, and by a
sweep of each site.
"""

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
    "a window of one": ("mistral", {"sliding_window": 1}),
    "the default's windows": ("qwen2", {"use_sliding_window": False}),
}
"""What checkpoints of the families differ in: (family, changes of its config)."""


def variant(name: str, seed: int = 1, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    family, changes = VARIANTS[name]
    return FAMILIES[family](seed=seed, dtype=dtype, **changes)
