"""Whether a device computes what the CPU computes, tried before its numbers are used.

MPS has given GPT-2's logit differences with the wrong sign, without an error
(TransformerLens issue 1178), on some versions of PyTorch and macOS.
"""

import torch
from torch import Tensor

from patchwright.model.devices import CPU, to_devices
from patchwright.model.forward import forward
from patchwright.model.requests import Row
from patchwright.model.weights import Network

UNTRUSTED_DEVICES = {"mps"}
"""Types of device that are not used before a pass on them agreed with the CPU."""

_LENGTH = 8


def agrees_with_cpu(network: Network, source: Network) -> bool:
    """Whether a short pass gives the same where `network` lies as on the CPU.

    `source` has the same weights, where they came from. The states at the end and their
    products with the unembedding are compared, each position by itself; they agree where the
    largest difference is below the square root of the precision's rounding error (3.5e-4 in
    float32) of the largest value. Without a layer on an unproven device nothing is run.
    """
    if not any(layer.device.type in UNTRUSTED_DEVICES for layer in network.layers):
        return True
    on_cpu = to_devices(source, [CPU] * network.spec.n_layers, network.embed.dtype)
    tolerance = torch.finfo(network.embed.dtype).eps ** 0.5
    pairs = zip(_short_pass(network), _short_pass(on_cpu), strict=True)
    return all(_are_close(there, here, tolerance) for there, here in pairs)


def _short_pass(network: Network) -> tuple[Tensor, Tensor]:
    """States and their products with the unembedding of two prompts, in float64."""
    spec = network.spec
    length = min(_LENGTH, spec.n_context)
    spread = tuple(i * (spec.n_vocab - 1) // _LENGTH for i in range(length))
    runs = forward(network, [Row(spread, 0), Row(spread[::-1], 0)])
    final = torch.cat([run.final for run in runs]).to(network.unembed.device)
    products = final @ network.unembed.T
    return final.to(CPU).double(), products.to(CPU).double()


def _are_close(there: Tensor, here: Tensor, tolerance: float) -> bool:
    """Whether no position differs by more than this share of its largest value, or by a NaN."""
    largest = here.abs().amax(dim=-1)
    return bool(((there - here).abs().amax(dim=-1) <= tolerance * largest).all())
