"""The network as a graph: who writes to the residual stream, and who reads what of it.

Senders are the embedding (tokens and positions), each head, each MLP; receivers are
each head's query, key and value inputs, each MLP, and the logits. A receiver's input
is the sum of what the senders below it wrote, so that every edge can carry either
this run's or another run's activation. Output biases of attention belong to nobody.
Where heads share keys and values, each query head has its own copy of them: `L9H4.k` is
what head 4 reads for the keys of its group.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from patchwright.edges import LOGITS, Edge
from patchwright.model import ops
from patchwright.model.spec import ModelSpec
from patchwright.model.weights import Layer, Linear, Network


@dataclass(frozen=True)
class Graph:
    """Names of senders and receivers, both from the bottom up."""

    spec: ModelSpec

    @property
    def senders(self) -> list[str]:
        """`embed`, then of each layer its heads and its MLP."""
        names = ["embed"]
        for layer in range(self.spec.n_layers):
            names += [f"L{layer}H{head}" for head in range(self.spec.n_heads)]
            names.append(f"L{layer}.mlp")
        return names

    @property
    def receivers(self) -> list[str]:
        """Of each layer the heads' q, k and v and its MLP; then the logits."""
        names: list[str] = []
        for layer in range(self.spec.n_layers):
            for part in ("q", "k", "v"):
                names += [f"L{layer}H{head}.{part}" for head in range(self.spec.n_heads)]
            names.append(f"L{layer}.mlp")
        return [*names, LOGITS]

    def edge_mask(self) -> Tensor:
        """[receiver, sender], true where the sender lies below the receiver."""
        per_layer = self.spec.n_heads + 1
        rows = torch.zeros(len(self.receivers), len(self.senders), dtype=torch.bool)
        at = 0
        for layer in range(self.spec.n_layers):
            below = 1 + layer * per_layer
            rows[at : at + 3 * self.spec.n_heads, :below] = True
            at += 3 * self.spec.n_heads
            rows[at, : below + (0 if self.spec.parallel else self.spec.n_heads)] = True
            at += 1
        rows[at] = True
        return rows

    @property
    def edges(self) -> list[Edge]:
        """Every edge there is, as (sender, receiver)."""
        senders, receivers = self.senders, self.receivers
        return [(senders[s], receivers[r]) for r, s in self.edge_mask().nonzero().tolist()]


@dataclass(frozen=True)
class GraphRun:
    """One run through the graph.

    `written` is what each sender wrote, [sender, position, d_model]; `read` what each
    receiver took in, in groups of those that read at once, [receiver, position,
    d_model], each where its layer is; `final` is what the logits are read from,
    [position, d_model].
    """

    written: Float[Tensor, "sender position d_model"]
    read: list[Float[Tensor, "_receiver position d_model"]]
    final: Float[Tensor, "position d_model"]


def embed_prompt(network: Network, tokens: Sequence[int]) -> Float[Tensor, "position d_model"]:
    """What the embedding writes for a prompt."""
    found = ops.embedding(network, torch.tensor(tokens, device=network.embed.device))
    if network.embed_position is None:
        return found
    return found + network.embed_position[: len(tokens)]


def run_graph(
    network: Network,
    embedding: Float[Tensor, "position d_model"],
    kept: Float[Tensor, "receiver sender"] | None = None,
    other: Float[Tensor, "sender position d_model"] | None = None,
) -> GraphRun:
    """Run the graph; an edge carries this run's activation to the share `kept`, else `other`'s."""
    spec = network.spec
    written, read = [embedding], list[Tensor]()
    bias = torch.zeros_like(embedding)

    def inputs(count: int) -> Tensor:
        stack = torch.stack(written)
        if kept is None or other is None:
            taken = stack.sum(dim=0).expand(count, *embedding.shape).clone()
        else:
            first = sum(len(one) for one in read)
            share = kept[first : first + count, : len(stack)]
            taken = torch.tensordot(share, stack, dims=1)
            taken = taken + torch.tensordot(1 - share, other[: len(stack)], dims=1)
        taken = taken + bias
        read.append(taken)
        return taken

    def move_to(device: torch.device) -> None:
        # Every layer reads what all below it wrote, wherever they are.
        nonlocal bias, kept, other
        written[:] = [one.to(device) for one in written]
        bias = bias.to(device)
        if kept is not None and other is not None:
            kept, other = kept.to(device), other.to(device)

    at = None
    for layer in network.layers:
        if layer.device != at:
            at = layer.device
            move_to(at)
        taken = inputs(3 * spec.n_heads)
        beside = inputs(1)[0] if spec.parallel else None
        heads, unheaded = _heads(layer, taken)
        written.extend(heads)
        bias = bias + unheaded
        normed = ops.norm(inputs(1)[0] if beside is None else beside, layer.norm_mlp)
        written.append(ops.mlp(normed, layer))
    final = inputs(1)[0]
    return GraphRun(torch.stack(written), read, final)


def _heads(
    layer: Layer, taken: Float[Tensor, "input position d_model"]
) -> tuple[Float[Tensor, "head position d_model"], Float[Tensor, "*position d_model"]]:
    """What each head writes, and what attention writes besides.

    `taken` are the inputs to the heads' queries, keys and values. A norm behind attention has
    the scale that it has for all heads together.
    """
    q, k, v = (
        _by_head(inputs, by, layer.d_head)  # each [position, head, d_head]
        for inputs, by in zip(
            ops.norm(taken, layer.norm_attn).chunk(3), (layer.q, layer.k, layer.v), strict=True
        )
    )
    rotation = ops.rotation(layer.rotary, len(q), q)
    q = ops.norm_and_rotate(q, layer.q_norm, rotation)
    k = ops.norm_and_rotate(k, layer.k_norm, rotation)
    visible = ops.visible_keys(len(q), q.device, layer.window)
    pattern = ops.attention_pattern(q, k, visible, layer)  # [query, head, key]
    z = ops.attention_output(pattern, v)
    into = layer.o.weight.unflatten(0, (-1, layer.d_head))
    heads = torch.einsum("phe,hed->hpd", z, into)
    bias = heads.new_zeros(heads.shape[-1]) if layer.o.bias is None else layer.o.bias
    by = layer.norm_attn_out
    if by is None:
        return heads, bias
    whole = heads.sum(dim=0) + bias
    shares = ops.norm(
        torch.cat([heads, bias.expand(1, *whole.shape)]), replace(by, bias=None), whole
    )
    return shares[:-1], shares[-1] if by.bias is None else shares[-1] + by.bias


def _by_head(
    inputs: Float[Tensor, "head position d_model"], by: Linear, d_head: int
) -> Float[Tensor, "position head d_head"]:
    """`ops.by_head` where each query head has an input of its own, to keys and values too."""
    weight, bias = by.by_head(d_head)
    group = len(inputs) // weight.shape[1]
    moved = torch.einsum("hpd,dhe->phe", inputs, weight.repeat_interleave(group, dim=1))
    return moved if bias is None else moved + bias.repeat_interleave(group, dim=0)
