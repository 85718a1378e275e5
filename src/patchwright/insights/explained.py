"""One pair explained: the sweeps that its sentences need, and the sentences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from patchwright.algorithms.result import Result
from patchwright.experiment import attention, patch
from patchwright.insights import Insights, heads_to_look_at, insights
from patchwright.places import parse_place
from patchwright.prompts.pair import Pair

if TYPE_CHECKING:
    from patchwright.algorithms.batches import OnProgress
    from patchwright.model.load import Model


def explained(
    model: "Model",
    pair: Pair | Sequence[Pair],
    direction: str = "denoise",
    metric: str = "logit_diff",
    bos: bool = True,
    progress: "OnProgress | None" = None,
) -> tuple[Result, Insights]:
    """The sweep of the residual stream, and what it and the heads show.

    Raises what `patch` raises.
    """
    asked: dict[str, Any] = {"direction": direction, "metric": metric, "bos": bos}
    stream = patch(model, pair, "resid_pre", **asked, progress=progress)
    heads = patch(model, pair, "z", **asked, progress=progress)
    found = {name: parse_place(name) for name in heads_to_look_at(heads)}
    if not found:
        return stream, insights(stream, heads=heads)
    layers, numbers = zip(*((one.layer or 0, one.head or 0) for one in found.values()), strict=True)
    patterns = {
        name: attention(model, pair, layer, head, bos)
        for name, layer, head in zip(found, layers, numbers, strict=True)
    }
    acting = patch(model, pair, "z", "head_position", layers=layers, heads=numbers, **asked)
    return stream, insights(stream, heads=heads, patterns=patterns, acting=acting)
