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
    network: Network, rows: Sequence[Row], keep: Iterable[Site] = (), hold_norms: bool = False
) -> list[Run]:
    """The finished run of each row, in order; each keeps the sites in `keep`.

    With `hold_norms` every row has a base, and layer norms take its scale.
    """
    wave = BatchedForward(network, rows, frozenset(keep), hold_norms)
    wave.embed()
    for layer, weights in enumerate(network.layers):
        wave.carry(weights.device)
        wave.enter(layer, "resid_pre")
        wave.visit(layer, "resid_pre", "x")
        wave.project(layer, weights)
        if network.spec.parallel:
            _mlp(wave, layer, weights, "resid_pre")
            _middle(wave, layer)
            _attention(wave, layer, weights, "resid_mid")
        else:
            _attention(wave, layer, weights, "resid_pre")
            _middle(wave, layer)
            _mlp(wave, layer, weights, "resid_mid")
        wave.enter(layer, "resid_post")
        wave.visit(layer, "resid_post", "x")
    return wave.finished()


def _middle(wave: BatchedForward, layer: int) -> None:
    """Between the two halves of a layer."""
    wave.enter(layer, "resid_mid")
    wave.visit(layer, "resid_mid", "x")


def _attention(wave: BatchedForward, layer: int, weights: Layer, stream: Site) -> None:
    """From q, k and v to the stream, which is at the site `stream`, plus what attention adds."""

    def output(z: Tensor) -> Tensor:
        held = wave.hold_norms and weights.norm_attn_out is not None
        return ops.attn_out(z, weights, wave.held(layer, "z") if held else None)

    wave.widen(layer, stream)
    wave.enter(layer, "q")
    for site in ("q", "k", "v"):
        wave.visit(layer, site, site)
    wave.merge()
    wave.attend(layer, weights)
    wave.enter(layer, "z")
    wave.visit(layer, "z", "z")
    wave.transform("z", "attn_out", output, consume=True)
    wave.enter(layer, "attn_out")
    wave.visit(layer, "attn_out", "attn_out")
    wave.add("attn_out")


def _mlp(wave: BatchedForward, layer: int, weights: Layer, stream: Site) -> None:
    """From the stream, which is at the site `stream`, to it plus what the MLP adds."""

    def normed(x: Tensor) -> Tensor:
        return wave.norm(x, layer, stream, weights.norm_mlp)

    def hidden(x: Tensor) -> Tensor:
        return ops.mlp_act(normed(x), weights)

    def output(act: Tensor) -> Tensor:
        held = wave.hold_norms and weights.norm_mlp_out is not None
        return ops.mlp_out(act, weights, wave.held(layer, "mlp_act") if held else None)

    if weights.experts is not None:
        wave.transform("x", "mlp_out", lambda x: ops.mlp(normed(x), weights))
    elif wave.touches(layer, "mlp_act"):
        wave.transform("x", "mlp_act", hidden)
        wave.enter(layer, "mlp_act")
        wave.visit(layer, "mlp_act", "mlp_act")
        wave.transform("mlp_act", "mlp_out", output, consume=True)
    else:
        wave.transform("x", "mlp_out", lambda x: output(hidden(x)))
    wave.enter(layer, "mlp_out")
    wave.visit(layer, "mlp_out", "mlp_out")
    wave.add("mlp_out")
