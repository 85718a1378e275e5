"""The engine: runs that begin where they differ from a run already made.

`forward` takes many rows, each a base run plus edits, and computes of each row
only what its edits can change: nothing below the first edited layer, nothing to
the left of the first edited position (attention is causal, so there the base
run's activations stand), and in the last layer only the positions that are read.
Rows enter the batch at the layer and stage of their first edit, and all rows
that are under way share each matrix product.

A prompt's own run is a row without a base, or a row over the run of another
prompt that begins with the same tokens. Where layers lie on several devices, rows
move on with the layers; what a run keeps of a layer stays on that layer's device.
"""

from collections.abc import Iterable, Sequence

from torch import Tensor

from patchwright.model import ops
from patchwright.model.batched_forward import BatchedForward
from patchwright.model.requests import Row, Run
from patchwright.model.weights import Layer, Network
from patchwright.places import Site


def forward(
    network: Network, rows: Sequence[Row], keep: Iterable[Site] = (), freeze_norms: bool = False
) -> list[Run]:
    """The finished run of each row, in order; each keeps the sites in `keep`.

    With `freeze_norms` every row has a base, and layer norms take its scale.
    """
    batch = BatchedForward(network, rows, frozenset(keep), freeze_norms)
    batch.embed()
    for layer, weights in enumerate(network.layers):
        batch.to_device(weights.device)
        batch.admit(layer, "resid_pre")
        batch.apply_edits(layer, "resid_pre", "x")
        batch.project(layer, weights)
        if network.spec.parallel:
            _mlp(batch, layer, weights, "resid_pre")
            _middle(batch, layer)
            _attention(batch, layer, weights, "resid_mid")
        else:
            _attention(batch, layer, weights, "resid_pre")
            _middle(batch, layer)
            _mlp(batch, layer, weights, "resid_mid")
        batch.admit(layer, "resid_post")
        batch.apply_edits(layer, "resid_post", "x")
    return batch.finished_runs()


def _middle(batch: BatchedForward, layer: int) -> None:
    """Between the two halves of a layer."""
    batch.admit(layer, "resid_mid")
    batch.apply_edits(layer, "resid_mid", "x")


def _attention(batch: BatchedForward, layer: int, weights: Layer, stream: Site) -> None:
    """From q, k and v to the stream, which is at the site `stream`, plus what attention adds."""

    def output(z: Tensor) -> Tensor:
        frozen = batch.freeze_norms and weights.norm_attn_out is not None
        return ops.attn_out(z, weights, batch.base_values(layer, "z") if frozen else None)

    batch.widen(layer, stream)
    batch.admit(layer, "q")
    for site in ("q", "k", "v"):
        batch.apply_edits(layer, site, site)
    batch.join_groups()
    batch.attend(layer, weights)
    batch.admit(layer, "z")
    batch.apply_edits(layer, "z", "z")
    batch.per_token("z", "attn_out", output, consume=True)
    batch.admit(layer, "attn_out")
    batch.apply_edits(layer, "attn_out", "attn_out")
    batch.add_to_stream("attn_out")


def _mlp(batch: BatchedForward, layer: int, weights: Layer, stream: Site) -> None:
    """From the stream, which is at the site `stream`, to it plus what the MLP adds."""

    def normed(x: Tensor) -> Tensor:
        return batch.norm(x, layer, stream, weights.norm_mlp)

    def hidden(x: Tensor) -> Tensor:
        return ops.mlp_act(normed(x), weights)

    def output(act: Tensor) -> Tensor:
        frozen = batch.freeze_norms and weights.norm_mlp_out is not None
        return ops.mlp_out(act, weights, batch.base_values(layer, "mlp_act") if frozen else None)

    if weights.experts is not None:
        batch.per_token("x", "mlp_out", lambda x: ops.mlp(normed(x), weights))
    elif batch.needs_site(layer, "mlp_act"):
        batch.per_token("x", "mlp_act", hidden)
        batch.admit(layer, "mlp_act")
        batch.apply_edits(layer, "mlp_act", "mlp_act")
        batch.per_token("mlp_act", "mlp_out", output, consume=True)
    else:
        batch.per_token("x", "mlp_out", lambda x: output(hidden(x)))
    batch.admit(layer, "mlp_out")
    batch.apply_edits(layer, "mlp_out", "mlp_out")
    batch.add_to_stream("mlp_out")
