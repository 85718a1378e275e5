"""The arithmetic of a block, once: projections, norm, attention, MLP.

Pure functions on packed or batched activations. The plain pass (`plain_forward`), the
batched one (`wave`, `forward`), the graph (`edges`) and the methods all compute with them.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from transformers.activations import ACT2FN

from patchwright.model import kernels
from patchwright.model.weights import Layer, Linear, Norm, Rotary

HALF = (torch.float16, torch.bfloat16)

Rotation = Float[Tensor, "2 position half"]
"""Cosines and sines of the angles by which heads are turned, for consecutive positions."""


def linear(
    x: Float[Tensor, "*rows inputs"], by: Linear, activation: str | None = None
) -> Float[Tensor, "*rows outputs"]:
    """`x` times the weight, plus the bias where there is one; then the nonlinearity, if named."""
    flat = x.reshape(-1, x.shape[-1])
    out = kernels.product(flat, by, activation)
    if out is None:
        out = flat @ by.weight if by.bias is None else torch.addmm(by.bias, flat, by.weight)
        out = out if activation is None else _activated(out, activation)
    return out.view(*x.shape[:-1], out.shape[-1])


def queries_keys_values(
    x: Float[Tensor, "*rows d_model"], layer: Layer
) -> list[Float[Tensor, "*rows _head d_head"]]:
    """Queries, keys and values by head, from the normed input `x`."""
    parts = [linear(x, by) for by in layer.qkv]
    if len(parts) == 1:
        widths = [by.weight.shape[1] for by in (layer.q, layer.k, layer.v)]
        parts = parts[0].split(widths, dim=-1)
    return [part.unflatten(-1, (-1, layer.d_head)) for part in parts]


def norm(
    x: Float[Tensor, "*rows width"],
    by: Norm,
    like: Float[Tensor, "*others width"] | None = None,
) -> Float[Tensor, "*rows width"]:
    """Layer norm (Ba et al. 2016) or RMS norm (Zhang & Sennrich 2019).

    With `like` by its scale: linear in `x`, but for the bias.
    """
    if like is not None:
        centred = x - x.mean(dim=-1, keepdim=True) if by.kind == "layer" else x
        normed = (centred / norm_scale(like, by) * by.weight).to(x.dtype)
        return normed if by.bias is None else normed + by.bias
    if by.kind == "rms":
        return functional.rms_norm(x, by.weight.shape, by.weight, by.eps)
    return functional.layer_norm(x, by.weight.shape, by.weight, by.bias, by.eps)


def norm_scale(x: Float[Tensor, "*rows width"], by: Norm) -> Float[Tensor, "*rows 1"]:
    """What the norm divides `x` by, at least in float32."""
    x = widened(x)
    if by.kind == "rms":
        return (x.square().mean(dim=-1, keepdim=True) + by.eps).sqrt()
    return (x.var(dim=-1, unbiased=False, keepdim=True) + by.eps).sqrt()


def rotation(rotary: Rotary | None, n_positions: int, like: Tensor) -> Rotation | None:
    """What `rotate` turns the first `n_positions` by, with the precision and device of `like`."""
    if rotary is None:
        return None
    # In float64 on the CPU, which every machine has: far positions make large angles.
    frequencies = torch.tensor(rotary.frequencies, dtype=torch.float64)
    angles = torch.arange(n_positions, dtype=torch.float64)[:, None] * frequencies
    return (torch.stack([angles.cos(), angles.sin()]) * rotary.factor).to(like)


def rotate(
    x: Float[Tensor, "*row position head d_head"], by: Rotation | None
) -> Float[Tensor, "*row position head d_head"]:
    """Queries or keys, turned by their positions (Su et al. 2021); without `by` as they are."""
    if by is None:
        return x
    cos, sin = by.unsqueeze(-2)  # each [position, 1, half]
    half = by.shape[-1]
    first, second, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)


def compared(
    x: Float[Tensor, "*row position head d_head"],
    by: Norm | None,
    turned: Rotation | None,
    like: Float[Tensor, "*row position head d_head"] | None = None,
) -> Float[Tensor, "*row position head d_head"]:
    """Queries or keys as attention compares them: normed where the layer does that, then rotated."""
    return rotate(x if by is None else norm(x, by, like), turned)


def widened(values: Tensor) -> Tensor:
    """Half precision as float32, where a sum or a square may overflow; float32 and float64 stay."""
    return values.float() if values.dtype in HALF else values


def visible_keys(
    n_positions: int, device: torch.device, window: int | None = None
) -> Bool[Tensor, "query key"]:
    """Which keys a query may see: its own position's and those before it, `window` in all."""
    causal = torch.ones(n_positions, n_positions, dtype=torch.bool, device=device).tril()
    return causal if window is None else causal.triu(1 - window)


# Where keys have fewer heads than queries, each serves the queries of its group, which
# follow one another. They are laid behind one another as if they were more positions, so
# that no key or value is copied: [*row, head, query, …] <-> [*row, kv_head, group * query, …].


def _by_group(x: Tensor, n_kv_heads: int) -> Tensor:
    return x.unflatten(-3, (n_kv_heads, x.shape[-3] // n_kv_heads)).flatten(-3, -2)


def _by_query_head(x: Tensor, n_heads: int) -> Tensor:
    group = n_heads // x.shape[-3]
    return x.unflatten(-2, (group, x.shape[-2] // group)).flatten(-4, -3)


def attention_pattern(
    q: Float[Tensor, "*row query head d_head"],
    k: Float[Tensor, "*row key kv_head d_head"],
    visible: Bool[Tensor, "query key"],
    scale: float,
) -> Float[Tensor, "*row query head key"]:
    """Softmax of the scaled query-key products over the keys that are `visible`."""
    q, k = q.transpose(-3, -2), k.transpose(-3, -2)  # [*row, head, position, d_head]
    # Scaled before the product, which could overflow in half precision.
    scores = _by_group(q * scale, k.shape[-3]) @ k.transpose(-2, -1)
    scores = _by_query_head(scores, q.shape[-3])  # [*row, head, query, key]
    return scores.masked_fill_(~visible, -torch.inf).softmax(dim=-1).transpose(-3, -2)


def attention_output(
    pattern: Float[Tensor, "*row query head key"], v: Float[Tensor, "*row key kv_head d_head"]
) -> Float[Tensor, "*row query head d_head"]:
    """`z`: each head's values, weighted by its pattern."""
    pattern, v = pattern.transpose(-3, -2), v.transpose(-3, -2)
    z = _by_group(pattern, v.shape[-3]) @ v
    return _by_query_head(z, pattern.shape[-3]).transpose(-3, -2)


def attention(
    q: Float[Tensor, "row query head d_head"],
    k: Float[Tensor, "row key kv_head d_head"],
    v: Float[Tensor, "row key kv_head d_head"],
    visible: Bool[Tensor, "query key"],
    scale: float,
) -> Float[Tensor, "row query head d_head"]:
    """`attention_output` of `attention_pattern` in one fused kernel, which keeps no pattern."""
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    n_heads, n_kv_heads = q.shape[1], k.shape[1]
    visible = visible.repeat(n_heads // n_kv_heads, 1)
    z = functional.scaled_dot_product_attention(
        _by_group(q, n_kv_heads), k, v, attn_mask=visible, scale=scale
    )
    return _by_query_head(z, n_heads).transpose(1, 2)


def mlp_act(x: Float[Tensor, "*rows d_model"], layer: Layer) -> Float[Tensor, "*rows d_mlp"]:
    """The MLP's neurons, as they enter its last projection, from its normed input `x`."""
    if layer.mlp_gate is None:
        return linear(x, layer.mlp_in, layer.activation)
    gate, act = linear(x, layer.mlp_gate, layer.activation), linear(x, layer.mlp_in)
    # In place, for the reason that `_activated` has.
    return act * gate if act.requires_grad else act.mul_(gate)


def _activated(x: Tensor, name: str) -> Tensor:
    """The nonlinearity that a Hugging Face config calls `name`; `x` may be overwritten."""
    if name == "silu":
        return functional.silu(x, inplace=not x.requires_grad)
    if name not in ("gelu_new", "gelu_pytorch_tanh"):
        return ACT2FN[name](x)
    # One fused kernel for what Hugging Face spells out in seven.
    if x.requires_grad:
        return functional.gelu(x, approximate="tanh")
    # In place, because a second tensor of d_mlp per token costs more time than the function.
    return torch.ops.aten.gelu_(x, approximate="tanh")
