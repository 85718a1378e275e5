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


def norm(
    x: Float[Tensor, "*rows d_model"],
    by: Norm,
    eps: float,
    like: Float[Tensor, "*others d_model"] | None = None,
) -> Float[Tensor, "*rows d_model"]:
    """Layer normalisation (Ba et al. 2016); with `like` by its scale, and so linear in `x`."""
    if like is not None:
        scale = (like.var(dim=-1, unbiased=False, keepdim=True) + eps).sqrt()
        return (x - x.mean(dim=-1, keepdim=True)) / scale * by.weight + by.bias
    return functional.layer_norm(x, by.weight.shape, by.weight, by.bias, eps)


def activation(name: str) -> Activation:
    """The nonlinearity that a Hugging Face config calls `name`; it may overwrite its argument."""
    if name in ("gelu_new", "gelu_pytorch_tanh"):
        # One fused kernel for what Hugging Face spells out in seven; in place, because
        # a second tensor of d_mlp per token costs more time than the function itself.
        return lambda x: torch.ops.aten.gelu_(x, approximate="tanh")
    return ACT2FN[name]


def attention_pattern(
    q: Float[Tensor, "row query head d_head"],
    k: Float[Tensor, "row key head d_head"],
    visible: Bool[Tensor, "query key"],
    scale: float,
) -> Float[Tensor, "row query head key"]:
    """Softmax of the scaled query-key products; `visible` says which keys a query may see."""
    scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1)
    hidden = ~visible
    return scores.mul_(scale).masked_fill_(hidden, -torch.inf).softmax(dim=-1).transpose(1, 2)


def attention_output(
    pattern: Float[Tensor, "row query head key"], v: Float[Tensor, "row key head d_head"]
) -> Float[Tensor, "row query head d_head"]:
    """`z`: each head's values, weighted by its pattern."""
    return (pattern.transpose(1, 2) @ v.transpose(1, 2)).transpose(1, 2)


def attention(
    q: Float[Tensor, "row query head d_head"],
    k: Float[Tensor, "row key head d_head"],
    v: Float[Tensor, "row key head d_head"],
    visible: Bool[Tensor, "query key"],
    scale: float,
) -> Float[Tensor, "row query head d_head"]:
    """`attention_output` of `attention_pattern` in one fused kernel, which keeps no pattern."""
    heads = (part.transpose(1, 2) for part in (q, k, v))
    z = functional.scaled_dot_product_attention(*heads, attn_mask=visible, scale=scale)
    return z.transpose(1, 2)
