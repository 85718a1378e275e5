"""Norm, attention, MLP: pure functions on packed or batched activations."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from transformers.activations import ACT2FN

from patchwright.model.weights import Linear, Norm

Activation = Callable[[Tensor], Tensor]


def linear(x: Float[Tensor, "*rows inputs"], by: Linear) -> Float[Tensor, "*rows outputs"]:
    """`x` times the weight, plus the bias."""
    flat = torch.addmm(by.bias, x.reshape(-1, x.shape[-1]), by.weight)
    return flat.view(*x.shape[:-1], flat.shape[-1])


def norm(x: Float[Tensor, "*rows d_model"], by: Norm, eps: float) -> Float[Tensor, "*rows d_model"]:
    """Layer normalisation (Ba et al. 2016)."""
    return functional.layer_norm(x, by.weight.shape, by.weight, by.bias, eps)


def activation(name: str) -> Activation:
    """The nonlinearity that a Hugging Face config calls `name`."""
    if name in ("gelu_new", "gelu_pytorch_tanh"):
        # One fused kernel for what Hugging Face spells out in seven.
        return lambda x: functional.gelu(x, approximate="tanh")
    return ACT2FN[name]


def attention_pattern(
    q: Float[Tensor, "row query head d_head"],
    k_base: Float[Tensor, "base_key head d_head"],
    k_own: Float[Tensor, "row own_key head d_head"],
    visible: Bool[Tensor, "query key"],
    scale: float,
) -> Float[Tensor, "row head query key"]:
    """Softmax of the scaled query-key products.

    The keys are the base run's, the same for every row, followed by each row's
    own; neither is copied. `visible` says which keys a query may see.
    """
    q = q.transpose(1, 2)
    scores = torch.cat([q @ k_base.permute(1, 2, 0), q @ k_own.permute(0, 2, 3, 1)], dim=-1)
    return scores.mul_(scale).masked_fill_(~visible, -torch.inf).softmax(dim=-1)


def attention_output(
    pattern: Float[Tensor, "row head query key"],
    v_base: Float[Tensor, "base_key head d_head"],
    v_own: Float[Tensor, "row own_key head d_head"],
) -> Float[Tensor, "row query head d_head"]:
    """`z`: each head's values, weighted by its pattern."""
    n_base = v_base.shape[0]
    z = pattern[..., :n_base] @ v_base.transpose(0, 1)
    z += pattern[..., n_base:] @ v_own.transpose(1, 2)
    return z.transpose(1, 2)
