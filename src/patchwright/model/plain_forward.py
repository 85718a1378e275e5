"""Read this first: one prompt through the whole network, as plainly as it can be written.

Everything else that runs the network is held to these lines by the tests: the engine
(`forward`), which computes only what an edit can change, and the graph (`edges`). The
arithmetic is in `ops`. Autograd can follow it, which is what `gradients` uses it for.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from patchwright.model import ops
from patchwright.model.weights import Network
from patchwright.places import Site

Taps = dict[Site, list[Tensor]]
"""What passed at each site: one tensor a layer, shaped as in `rows.Run.kept`."""


def plain_forward(
    network: Network, embedding: Float[Tensor, "position d_model"], sites: frozenset[Site]
) -> tuple[Float[Tensor, "position d_model"], Taps]:
    """The final residual stream of one prompt, and what it passed at `sites`.

    `embedding` are the prompt's token embeddings, before positions are added.
    """
    taps: Taps = {site: [] for site in sites}

    def tap(site: Site, live: Tensor) -> Tensor:
        if site in taps:
            taps[site].append(live)
        return live

    n = len(embedding)
    x = tap("embed", embedding)  # [position, d_model]
    if network.embed_position is not None:
        x = x + network.embed_position[:n]
    for layer in network.layers:
        x = tap("resid_pre", x.to(layer.device))

        normed = ops.norm(x, layer.norm_attn)
        q, k, v = ops.queries_keys_values(normed, layer)
        q = tap("q", q)  # [position, head, d_head]
        k, v = tap("k", k), tap("v", v)  # [position, kv_head, d_head]
        pre = x
        rotation = ops.rotation(layer.rotary, n, x)
        q = ops.norm_and_rotate(q, layer.q_norm, rotation)
        k = ops.norm_and_rotate(k, layer.k_norm, rotation)
        visible = ops.visible_keys(n, layer.device, layer.window)  # [query, key]
        pattern = ops.attention_pattern(q, k, visible, layer)  # [query, head, key]
        z = tap("z", ops.attention_output(tap("pattern", pattern), v))  # [position, head, d_head]
        x = x + tap("attn_out", ops.attn_out(z, layer))  # [position, d_model]
        x = x if network.spec.parallel else tap("resid_mid", x)

        normed = ops.norm(pre if network.spec.parallel else x, layer.norm_mlp)
        if layer.experts is None:
            act = tap("mlp_act", ops.mlp_act(normed, layer))  # [position, d_mlp]
            x = x + tap("mlp_out", ops.mlp_out(act, layer))
        else:
            x = x + tap("mlp_out", ops.mlp(normed, layer))
        x = tap("resid_post", x)
    return x, taps


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
            plain_forward(network, one.detach().requires_grad_(), wanted) for one in embeddings
        ]
        value = measure([final for final, _ in passed])
        flat = [tap for _, taps in passed for layers in taps.values() for tap in layers]
        found = iter(torch.autograd.grad(value, flat, allow_unused=True, materialize_grads=True))
    return [
        {site: [next(found) for _ in layers] for site, layers in taps.items()} for _, taps in passed
    ]
