"""The arithmetic of a block, once: projections, norm, attention, MLP.

Pure functions on packed or batched activations. The plain pass (`plain_forward`), the
batched one (`batched_forward`), the graph (`graph`) and the methods all compute with them.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from transformers.activations import ACT2FN

from patchwright.model import kernels
from patchwright.model.weights import Experts, Layer, Linear, Network, Norm, Rotary

HALF = (torch.float16, torch.bfloat16)


class Rotation(NamedTuple):
    """The angles by which heads are turned at consecutive positions."""

    cos: Float[Tensor, "position frequency"]
    sin: Float[Tensor, "position frequency"]
    interleaved: bool

    def at_positions(self, first: int, last: int) -> "Rotation":
        """Those of the positions from `first` to `last`."""
        return Rotation(self.cos[first:last], self.sin[first:last], self.interleaved)


def embedding(network: Network, ids: Int[Tensor, " *tokens"]) -> Float[Tensor, "*tokens d_model"]:
    """What tokens put into the residual stream, before positions are added."""
    found = network.embed[ids]
    if network.embed_scale == 1:
        return found
    # A factor in the embedding's own precision, as the Hugging Face modules have it.
    return found * torch.tensor(network.embed_scale, dtype=found.dtype, device=found.device)


def linear(
    x: Float[Tensor, "*rows inputs"], by: Linear, activation: str | None = None
) -> Float[Tensor, "*rows outputs"]:
    """`x` times the weight, plus the bias where there is one; then the nonlinearity, if named."""
    flat = x.reshape(-1, x.shape[-1])
    out = kernels.product(flat, by, activation)
    if out is None:
        out = flat @ by.weight if by.bias is None else torch.addmm(by.bias, flat, by.weight)
        out = out if activation is None else _apply_activation(out, activation)
    return out.view(*x.shape[:-1], out.shape[-1])


def queries_keys_values(
    x: Float[Tensor, "*rows d_model"], layer: Layer
) -> list[Float[Tensor, "*rows _head d_head"]]:
    """Queries, keys and values by head, from the normed input `x`."""
    parts = [linear(x, by) for by in layer.qkv]
    if len(parts) == 1 and layer.q.weight.ndim == 3:
        return list(parts[0].unflatten(-1, (-1, 3, layer.d_head)).unbind(-2))
    if len(parts) == 1:
        widths = [by.weight.shape[1] for by in (layer.q, layer.k, layer.v)]
        parts = parts[0].split(widths, dim=-1)
    return [part.unflatten(-1, (-1, layer.d_head)) for part in parts]


def norm(
    x: Float[Tensor, "*rows width"],
    by: Norm | None,
    like: Float[Tensor, "*others width"] | None = None,
) -> Float[Tensor, "*rows width"]:
    """Layer norm (Ba et al. 2016) or RMS norm (Zhang & Sennrich 2019); without `by` as it is.

    With `like` by its scale: linear in `x`, but for the bias.
    """
    if by is None:
        return x
    if like is not None:
        centred = x - x.mean(dim=-1, keepdim=True) if by.kind == "layer" else x
        normed = (centred / norm_scale(like, by) * by.gain).to(x.dtype)
        return normed if by.bias is None else normed + by.bias
    if by.kind == "rms":
        gain = by.gain
        return functional.rms_norm(x.to(gain.dtype), gain.shape, gain, by.eps).to(x.dtype)
    return functional.layer_norm(x, by.weight.shape, by.weight, by.bias, by.eps)


def norm_scale(x: Float[Tensor, "*rows width"], by: Norm) -> Float[Tensor, "*rows 1"]:
    """What the norm divides `x` by, at least in float32."""
    x = upcast(x)
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
    cos, sin = (torch.stack([angles.cos(), angles.sin()]) * rotary.factor).to(like)
    return Rotation(cos, sin, rotary.interleaved)


def rotate(
    x: Float[Tensor, "*row position head d_head"], by: Rotation | None
) -> Float[Tensor, "*row position head d_head"]:
    """Queries or keys, turned by their positions (Su et al. 2021); without `by` as they are."""
    if by is None:
        return x
    cos, sin = by.cos.unsqueeze(-2), by.sin.unsqueeze(-2)  # each [position, 1, frequency]
    half = cos.shape[-1]
    turned, rest = x[..., : 2 * half], x[..., 2 * half :]
    parts = (half, 2) if by.interleaved else (2, half)
    first, second = turned.unflatten(-1, parts).unbind(-1 if by.interleaved else -2)
    pairs = first * cos - second * sin, second * cos + first * sin
    whole = torch.stack(pairs, dim=-1 if by.interleaved else -2).flatten(-2)
    return torch.cat([whole, rest], dim=-1)


def norm_and_rotate(
    x: Float[Tensor, "*row position head d_head"],
    by: Norm | None,
    turned: Rotation | None,
    like: Float[Tensor, "*row position head d_head"] | None = None,
) -> Float[Tensor, "*row position head d_head"]:
    """Queries or keys as attention compares them: normed where the layer does that, then rotated."""
    if by is None or len(by.weight) == x.shape[-1]:
        return rotate(norm(x, by, like), turned)
    joint = norm(x.flatten(-2), by, None if like is None else like.flatten(-2))
    return rotate(joint.view(x.shape), turned)


def softcap(values: Tensor, cap: float | None) -> Tensor:
    """Values bent to within ± `cap` by tanh; without one as they are."""
    return values if cap is None else (values / cap).tanh() * cap


def upcast(values: Tensor) -> Tensor:
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
    layer: Layer,
) -> Float[Tensor, "*row query head key"]:
    """Softmax of the scaled query-key products over the keys that are `visible`."""
    q, k = q.transpose(-3, -2), k.transpose(-3, -2)  # [*row, head, position, d_head]
    # Scaled before the product, which could overflow in half precision.
    scores = _by_group(q * layer.attn_scale, k.shape[-3]) @ k.transpose(-2, -1)
    scores = softcap(scores, layer.attn_cap)
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
    layer: Layer,
) -> Float[Tensor, "row query head d_head"]:
    """`attention_output` of `attention_pattern`, where it can in one kernel, which keeps no pattern."""
    if layer.attn_cap is not None:
        pattern = attention_pattern(at_least_two_rows(q), at_least_two_rows(k), visible, layer)
        return attention_output(pattern, at_least_two_rows(v))[: len(q)]
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    n_heads, n_kv_heads = q.shape[1], k.shape[1]
    visible = visible.repeat(n_heads // n_kv_heads, 1)
    z = functional.scaled_dot_product_attention(
        _by_group(q, n_kv_heads), k, v, attn_mask=visible, scale=layer.attn_scale
    )
    return _by_query_head(z, n_heads).transpose(1, 2)


def at_least_two_rows(x: Float[Tensor, " row *features"]) -> Float[Tensor, " _row *features"]:
    """A single row as two: alone it would take another kernel, with other bits."""
    return x.repeat(2, *[1] * (x.ndim - 1)) if len(x) == 1 else x


def attn_out(
    z: Float[Tensor, "*rows head d_head"],
    layer: Layer,
    like: Float[Tensor, "*rows head d_head"] | None = None,
) -> Float[Tensor, "*rows d_model"]:
    """What attention adds to the stream; a norm behind it takes the scale that it has for `like`."""
    written = None if like is None else linear(like.flatten(-2), layer.o)
    return norm(linear(z.flatten(-2), layer.o), layer.norm_attn_out, written)


def mlp(x: Float[Tensor, "token d_model"], layer: Layer) -> Float[Tensor, "token d_model"]:
    """What the MLP adds to the stream, from its normed input `x`."""
    if layer.experts is None:
        return mlp_out(mlp_act(x, layer), layer)
    return norm(mixture_of_experts(x, layer.experts, layer.activation), layer.norm_mlp_out)


def mlp_out(
    act: Float[Tensor, "*rows d_mlp"],
    layer: Layer,
    like: Float[Tensor, "*rows d_mlp"] | None = None,
) -> Float[Tensor, "*rows d_model"]:
    """What neurons add to the stream; a norm behind them takes the scale that it has for `like`."""
    assert layer.mlp_out is not None, "experts have no neurons of their own"
    written = None if like is None else linear(like, layer.mlp_out)
    return norm(linear(act, layer.mlp_out), layer.norm_mlp_out, written)


def mixture_of_experts(
    x: Float[Tensor, "token d_model"], experts: Experts, activation: str
) -> Float[Tensor, "token d_model"]:
    """The sum of what the chosen experts make of each token, each times its weight.

    Two experts with the same score may be exchanged by rounding, where only one is chosen.
    """
    shares = upcast(linear(x, Linear(experts.router.T, None))).softmax(dim=-1)
    weights, chosen = shares.topk(experts.n_chosen, dim=-1)  # each [token, choice]
    if experts.normalised:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    out = torch.zeros_like(x)
    for expert in chosen.unique().tolist():
        tokens, choices = torch.where(chosen == expert)
        both = linear(x[tokens], Linear(experts.gate_up[expert].T, None))
        gate, act = both.chunk(2, dim=-1)
        made = linear(
            _apply_activation(gate, activation) * act, Linear(experts.down[expert].T, None)
        )
        out = out.index_add(0, tokens, (made * weights[tokens, choices, None]).to(x.dtype))
    return out


def mlp_act(x: Float[Tensor, "*rows d_model"], layer: Layer) -> Float[Tensor, "*rows d_mlp"]:
    """The MLP's neurons, as they enter its last projection, from its normed input `x`."""
    assert layer.mlp_in is not None, "experts have no neurons of their own"
    if layer.mlp_gate is None:
        return linear(x, layer.mlp_in, layer.activation)
    gate, act = linear(x, layer.mlp_gate, layer.activation), linear(x, layer.mlp_in)
    # In place, for the reason that `_apply_activation` has.
    return act * gate if act.requires_grad else act.mul_(gate)


def _apply_activation(x: Tensor, name: str) -> Tensor:
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
