"""Direct logit attribution: what each part of the model adds to the logit difference.

The final residual stream is a sum of what the parts wrote into it. With the final
norm's scale frozen at the run's own value, reading the answer's direction off it is
linear, so that the parts' shares add up to the logit difference (Elhage et al. 2021;
Wang et al. 2022). What a part causes by way of later layers is not in it.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from patchwright.model import ops
from patchwright.model.rows import Run
from patchwright.model.weights import Linear, Network
from patchwright.places import Site
from patchwright.prompts.pair import TokenPair

Part = Literal["layer", "head", "position", "neuron"]
"""How finely: layers' attention and MLP, heads, heads by source position, neurons."""

KEEP: dict[Part, tuple[Site, ...]] = {
    "layer": (),
    "head": ("z",),
    "position": ("pattern", "v"),
    "neuron": ("mlp_act",),
}
"""What runs keep besides the core, `attn_out` and `mlp_out`."""


@dataclass(frozen=True)
class _Direction:
    """The linear map from what is written at the last position to the logit difference.

    `biases` are what does not depend on what is written, by the name of its component.
    """

    weight: Float[Tensor, " d_model"]
    biases: dict[str, float]

    def at(self, device: torch.device) -> "_Direction":
        """The same on a layer's device."""
        return replace(self, weight=self.weight.to(device))

    def of(self, written: Float[Tensor, "*place d_model"]) -> Float[Tensor, "*place"]:
        """Logits that `written` adds."""
        return written.double() @ self.weight

    def of_bias(self, by: Linear) -> Float[Tensor, ""]:
        """Logits that a projection's own bias adds."""
        return self.weight.new_zeros(()) if by.bias is None else self.of(by.bias)


def logit_attribution(
    network: Network, pair: TokenPair, runs: dict[str, Run], part: Part
) -> dict[str, xr.DataArray]:
    """Contributions to the logit difference at each run's last position, in logits.

    `components`, dims (run, component), sums to the logit difference: the token embedding,
    positions where they are embedded, each layer's attention and MLP, and the biases of
    the final norm and of the unembedding, where there are such.
    `contribution` divides attention by head (run, layer, head), by head and source
    position (…, position), or the MLPs by neuron (run, layer, neuron); the
    projections' own biases are then `bias`, dims (run, layer).
    """
    found: dict[str, list[xr.DataArray]] = {}
    for run in runs.values():
        direction = _direction(network, pair, run)
        arrays = {"components": _components(network, run, direction)}
        if part != "layer":
            arrays |= _divided(network, run, direction, part)
        for name, array in arrays.items():
            found.setdefault(name, []).append(array)
    labels = xr.DataArray(list(runs), dims=["run"], name="run")
    return {name: xr.concat(some, labels).rename(name) for name, some in found.items()}


def _direction(network: Network, pair: TokenPair, run: Run) -> _Direction:
    """The answer's direction seen through the final norm, its scale frozen."""
    answers, wrongs = ([one[0] for one in some] for some in (pair.answers, pair.wrongs))
    unembed = network.unembed.double()

    def difference(rows: Tensor) -> Tensor:
        mean = rows[answers].mean(dim=0)
        return mean - rows[wrongs].mean(dim=0) if wrongs else mean

    target, norm, biases = difference(unembed), network.norm_final, dict[str, float]()
    final, gain = (one.to(target.device).double() for one in (run.final[0], norm.weight))
    weight = gain * target / ops.norm_scale(final, norm)
    if norm.kind == "layer":
        # The norm takes the mean off what it reads; off the weights comes to the same.
        weight = weight - weight.mean()
    if norm.bias is not None:
        biases["norm_bias"] = float(norm.bias.to(target.device).double() @ target)
    if network.unembed_bias is not None:
        biases["unembed_bias"] = float(difference(network.unembed_bias.double()))
    return _Direction(weight, biases)


def _components(network: Network, run: Run, direction: _Direction) -> xr.DataArray:
    last = run.read
    names, written = ["embed"], [run.kept["embed"][0][last]]
    if network.embed_position is not None:
        names.append("position")
        written.append(network.embed_position[last])
    for layer in range(network.spec.n_layers):
        names += [f"L{layer}.attn_out", f"L{layer}.mlp_out"]
        written += [run.kept["attn_out"][layer][last], run.kept["mlp_out"][layer][last]]
    together = torch.stack([one.to(direction.weight.device) for one in written])
    values = [*direction.of(together).tolist(), *direction.biases.values()]
    names += direction.biases
    return xr.DataArray(values, dims=["component"], coords={"component": names})


def _divided(
    network: Network, run: Run, direction: _Direction, part: Part
) -> dict[str, xr.DataArray]:
    """`contribution` and `bias` of one run."""
    last, spec = run.read, network.spec
    dims = {"head": ["layer", "head"], "position": ["layer", "head", "position"]}
    values: list[Tensor] = []
    biases: list[Tensor] = []
    for i, layer in enumerate(network.layers):
        direction = direction.at(layer.device)
        if part == "neuron":
            into = layer.mlp_out.weight.double() @ direction.weight
            values.append(run.kept["mlp_act"][i][last].double() * into)
            biases.append(direction.of_bias(layer.mlp_out))
            continue
        into = (layer.o.weight.double() @ direction.weight).view(spec.n_heads, spec.d_head)
        biases.append(direction.of_bias(layer.o))
        if part == "head":
            values.append((run.kept["z"][i][last].double() * into).sum(dim=-1))
        else:
            pattern = run.kept["pattern"][i][last].double()
            v = run.kept["v"][i].double().repeat_interleave(spec.n_heads // spec.n_kv_heads, dim=1)
            moved = torch.einsum("khd,hd->hk", v, into)
            values.append((pattern * moved)[:, : last + 1])
    stacked = torch.stack([one.cpu() for one in values]).numpy()
    axes = dims.get(part, ["layer", "neuron"])
    coords = {dim: range(size) for dim, size in zip(axes, stacked.shape, strict=True)}
    bias = torch.stack([one.cpu() for one in biases]).numpy()
    return {
        "contribution": xr.DataArray(stacked, dims=axes, coords=coords),
        "bias": xr.DataArray(bias, dims=["layer"], coords={"layer": range(spec.n_layers)}),
    }
