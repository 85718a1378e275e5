"""The arithmetic of a block, once: projections, norm, attention, MLP.

Pure functions on packed or batched activations. The plain pass (`plain_forward`), the
batched one (`wave`, `forward`), the graph (`edges`) and the methods all compute with them.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from transformers.activations import ACT2FN

from patchwright.model.weights import Layer, Linear, Norm


def linear(x: Float[Tensor, "*rows inputs"], by: Linear) -> Float[Tensor, "*rows outputs"]:
    """`x` times the weight, plus the bias."""
    flat = torch.addmm(by.bias, x.reshape(-1, x.shape[-1]), by.weight)
    return flat.view(*x.shape[:-1], flat.shape[-1])


def by_head(
    x: Float[Tensor, "*rows d_model"], by: Linear, d_head: int
) -> Float[Tensor, "*rows head d_head"]:
    """Queries, keys or values: `linear`, cut into heads."""
    return linear(x, by).unflatten(-1, (-1, d_head))


def norm(
    x: Float[Tensor, "*rows d_model"],
    by: Norm,
    like: Float[Tensor, "*others d_model"] | None = None,
) -> Float[Tensor, "*rows d_model"]:
    """Layer normalisation (Ba et al. 2016); with `like` by its scale, and so linear in `x`."""
    if like is not None:
        return (x - x.mean(dim=-1, keepdim=True)) / norm_scale(like, by) * by.weight + by.bias
    return functional.layer_norm(x, by.weight.shape, by.weight, by.bias, by.eps)


def norm_scale(x: Float[Tensor, "*rows d_model"], by: Norm) -> Float[Tensor, "*rows 1"]:
    """What the norm divides `x` by."""
    return (x.var(dim=-1, unbiased=False, keepdim=True) + by.eps).sqrt()


def visible_keys(n_positions: int, device: torch.device) -> Bool[Tensor, "query key"]:
    """Which keys a query may see: its own position's, and those before it."""
    return torch.ones(n_positions, n_positions, dtype=torch.bool, device=device).tril()


def attention_pattern(
    q: Float[Tensor, "*row query head d_head"],
    k: Float[Tensor, "*row key head d_head"],
    visible: Bool[Tensor, "query key"],
    scale: float,
) -> Float[Tensor, "*row query head key"]:
    """Softmax of the scaled query-key products over the keys that are `visible`."""
    scores = q.transpose(-3, -2) @ k.transpose(-3, -2).transpose(-2, -1)
    return scores.mul_(scale).masked_fill_(~visible, -torch.inf).softmax(dim=-1).transpose(-3, -2)


def attention_output(
    pattern: Float[Tensor, "*row query head key"], v: Float[Tensor, "*row key head d_head"]
) -> Float[Tensor, "*row query head d_head"]:
    """`z`: each head's values, weighted by its pattern."""
    return (pattern.transpose(-3, -2) @ v.transpose(-3, -2)).transpose(-3, -2)


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


def mlp_act(x: Float[Tensor, "*rows d_model"], layer: Layer) -> Float[Tensor, "*rows d_mlp"]:
    """The MLP's neurons: what its normed input `x` makes of them, after the nonlinearity."""
    return _activation(linear(x, layer.mlp_in), layer.activation)


def _activation(x: Tensor, name: str) -> Tensor:
    """The nonlinearity that a Hugging Face config calls `name`; `x` may be overwritten."""
    if name not in ("gelu_new", "gelu_pytorch_tanh"):
        return ACT2FN[name](x)
    # One fused kernel for what Hugging Face spells out in seven.
    if x.requires_grad:
        return functional.gelu(x, approximate="tanh")
    # In place, because a second tensor of d_mlp per token costs more time than the function.
    return torch.ops.aten.gelu_(x, approximate="tanh")
