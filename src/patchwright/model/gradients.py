"""A plain forward pass that autograd can follow, for gradients at every site.

It computes the whole network for one prompt, without the engine's shortcuts;
`tests/model` holds it to the engine's activations.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers.activations import ACT2FN

from patchwright.model import ops
from patchwright.model.weights import Layer, Network
from patchwright.places import Site

Taps = dict[Site, list[Tensor]]
"""One tensor a layer, shaped as in `forward.Run.kept`."""


def gradients(
    network: Network,
    embeddings: Sequence[Float[Tensor, "_position d_model"]],
    sites: Iterable[Site],
    measure: Callable[[list[Float[Tensor, "_position d_model"]]], Tensor],
) -> list[Taps]:
    """The gradient of a number at every place of `sites`, for each prompt.

    `embeddings` are the prompts' token embeddings, before positions are added;
    `measure` takes their final residual streams to the number.
    """
    wanted = frozenset(sites)
    with torch.enable_grad():
        passed = [
            differentiable(network, one.detach().requires_grad_(), wanted) for one in embeddings
        ]
        value = measure([final for final, _ in passed])
        flat = [tap for _, taps in passed for layers in taps.values() for tap in layers]
        found = iter(torch.autograd.grad(value, flat, allow_unused=True, materialize_grads=True))
    return [
        {site: [next(found) for _ in layers] for site, layers in taps.items()} for _, taps in passed
    ]


def differentiable(
    network: Network, embedding: Float[Tensor, "position d_model"], sites: frozenset[Site]
) -> tuple[Float[Tensor, "position d_model"], Taps]:
    """The final residual stream of one prompt, and what it passed at `sites`."""
    taps: Taps = {site: [] for site in sites}
    n = embedding.shape[0]
    visible = torch.ones(n, n, dtype=torch.bool, device=embedding.device).tril()

    def tap(site: Site, live: Tensor) -> Tensor:
        if site in taps:
            taps[site].append(live)
        return live

    x = tap("embed", embedding) + network.embed_position[:n]
    for index, layer in enumerate(network.layers):
        x, visible = x.to(layer.device), visible.to(layer.device)
        x = tap("resid_pre", x)
        x = tap("resid_mid", x + _attention(network, index, layer, x, visible, tap))
        x = tap("resid_post", x + _mlp(network, layer, x, tap))
    return x, taps


Tap = Callable[[Site, Tensor], Tensor]


def _attention(
    network: Network, index: int, layer: Layer, x: Tensor, visible: Tensor, tap: Tap
) -> Float[Tensor, "position d_model"]:
    spec = network.spec
    normed = ops.norm(x, layer.norm_attn, spec.norm_eps)
    heads = (spec.n_heads, spec.d_head)
    q = tap("q", ops.linear(normed, layer.q).unflatten(-1, heads))
    k = tap("k", ops.linear(normed, layer.k).unflatten(-1, heads))
    v = tap("v", ops.linear(normed, layer.v).unflatten(-1, heads))
    pattern = ops.attention_pattern(q[None], k[None], visible, spec.attn_scale[index])[0]
    z = ops.attention_output(tap("pattern", pattern)[None], v[None])[0]
    return tap("attn_out", ops.linear(tap("z", z).flatten(1), layer.o))


def _mlp(network: Network, layer: Layer, x: Tensor, tap: Tap) -> Float[Tensor, "position d_model"]:
    spec = network.spec
    hidden = ops.linear(ops.norm(x, layer.norm_mlp, spec.norm_eps), layer.mlp_in)
    if spec.activation in ("gelu_new", "gelu_pytorch_tanh"):
        act = functional.gelu(hidden, approximate="tanh")
    else:
        act = ACT2FN[spec.activation](hidden)
    return tap("mlp_out", ops.linear(tap("mlp_act", act), layer.mlp_out))
