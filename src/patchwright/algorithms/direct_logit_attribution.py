"""Direct logit attribution: what each part of the model adds to the logit difference.

The final residual stream is a sum of what the parts wrote into it. With the final
norm's scale frozen at the run's own value, reading the answer's direction off it is
linear, so that the parts' shares add up to the logit difference (Elhage et al. 2021;
Wang et al. 2022). What a part causes by way of later layers is not in it. A norm behind
attention or MLP is frozen in the same way; logits are read before they are capped.
"""

from dataclasses import dataclass, replace

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from patchwright.model import ops
from patchwright.model.requests import Run
from patchwright.model.weights import Linear, Network, Norm
from patchwright.places import Site
from patchwright.prompts.pair import TokenPair

PART_SITES: dict[str, tuple[Site, ...]] = {
    "layer": (),
    "head": ("z",),
    "position": ("pattern", "v", "z"),
    "neuron": ("mlp_act",),
}
"""What runs keep besides the core, `attn_out` and `mlp_out`."""


@dataclass(frozen=True)
class _LogitDirection:
    """The linear map from what is written at the last position to the logit difference."""

    weight: Float[Tensor, " d_model"]

    def to(self, device: torch.device) -> "_LogitDirection":
        """The same on a layer's device."""
        return replace(self, weight=self.weight.to(device))

    def through_norm(self, norm: Norm | None, x: Float[Tensor, " d_model"]) -> "_LogitDirection":
        """The map from what a norm reads, which divides by what it does for `x`."""
        if norm is None:
            return self
        gain, x = (one.to(self.weight.device).double() for one in (norm.gain, x))
        weight = gain * self.weight / ops.norm_scale(x, norm)
        # A layer norm takes the mean off what it reads; off the weights comes to the same.
        return _LogitDirection(weight - weight.mean() if norm.kind == "layer" else weight)

    def added_logits(self, written: Float[Tensor, "*place d_model"]) -> Float[Tensor, "*place"]:
        """Logits that `written` adds."""
        return written.to(self.weight.device).double() @ self.weight

    def bias_logits(self, by: Linear | Norm | None) -> Float[Tensor, ""]:
        """Logits that the bias of a projection or a norm adds."""
        return (
            self.weight.new_zeros(())
            if by is None or by.bias is None
            else self.added_logits(by.bias)
        )


def logit_attribution(
    network: Network, pair: TokenPair, runs: dict[str, Run], part: str
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
        direction, biases = _logit_direction(network, pair, run)
        arrays = {"components": _components(network, run, direction, biases)}
        if part != "layer":
            arrays |= _part_contributions(network, run, direction, part)
        for name, array in arrays.items():
            found.setdefault(name, []).append(array)
    labels = xr.DataArray(list(runs), dims=["run"], name="run")
    return {name: xr.concat(some, labels).rename(name) for name, some in found.items()}


def _logit_direction(
    network: Network, pair: TokenPair, run: Run
) -> tuple[_LogitDirection, dict[str, float]]:
    """The answer's direction seen through the final norm, its scale frozen.

    And what does not depend on what is written, by the name of its component.
    """
    answers, wrongs = ([one[0] for one in some] for some in (pair.answers, pair.wrongs))
    unembed = network.unembed.double()

    def difference(rows: Tensor) -> Tensor:
        mean = rows[answers].mean(dim=0)
        return mean - rows[wrongs].mean(dim=0) if wrongs else mean

    target, norm, biases = (
        _LogitDirection(difference(unembed)),
        network.norm_final,
        dict[str, float](),
    )
    if norm.bias is not None:
        biases["norm_bias"] = float(target.bias_logits(norm))
    if network.unembed_bias is not None:
        biases["unembed_bias"] = float(difference(network.unembed_bias.double()))
    return target.through_norm(norm, run.final[0]), biases


def _components(
    network: Network, run: Run, direction: _LogitDirection, biases: dict[str, float]
) -> xr.DataArray:
    last = run.read
    names, written = ["embed"], [run.kept["embed"][0][last]]
    if network.embed_position is not None:
        names.append("position")
        written.append(network.embed_position[last])
    for layer in range(network.spec.n_layers):
        names += [f"L{layer}.attn_out", f"L{layer}.mlp_out"]
        written += [run.kept["attn_out"][layer][last], run.kept["mlp_out"][layer][last]]
    together = torch.stack([one.to(direction.weight.device) for one in written])
    values = [*direction.added_logits(together).tolist(), *biases.values()]
    names += biases
    return xr.DataArray(values, dims=["component"], coords={"component": names})


def _part_contributions(
    network: Network, run: Run, direction: _LogitDirection, part: str
) -> dict[str, xr.DataArray]:
    """`contribution` and `bias` of one run."""
    last, spec = run.read, network.spec
    dims = {"head": ["layer", "head"], "position": ["layer", "head", "position"]}
    values: list[Tensor] = []
    biases: list[Tensor] = []
    for i, layer in enumerate(network.layers):
        direction = direction.to(layer.device)
        if part == "neuron":
            act = run.kept["mlp_act"][i][last]
            into, bias = _through_projection(direction, layer.mlp_out, layer.norm_mlp_out, act)
            values.append(act.double() * into)
            biases.append(bias)
            continue
        z = run.kept["z"][i][last]
        into, bias = _through_projection(direction, layer.o, layer.norm_attn_out, z.flatten())
        into = into.view(spec.n_heads, spec.d_head)
        biases.append(bias)
        if part == "head":
            values.append((z.double() * into).sum(dim=-1))
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


def _through_projection(
    direction: _LogitDirection, by: Linear | None, norm: Norm | None, x: Float[Tensor, " width"]
) -> tuple[Float[Tensor, " width"], Float[Tensor, ""]]:
    """The direction as a projection reads `x`, a norm behind it frozen; and the biases' logits."""
    assert by is not None, "experts have no neurons of their own"
    inner = direction.through_norm(norm, ops.linear(x[None], by)[0])
    return by.weight.double() @ inner.weight, inner.bias_logits(by) + direction.bias_logits(norm)
