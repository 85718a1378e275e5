"""One pair explained: the sweeps that its sentences need, and the sentences."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from patchwright.algorithms.result import Result
from patchwright.experiment.run import run
from patchwright.insights import Insights, heads_to_look_at, insights
from patchwright.methods.attention import Attention
from patchwright.methods.patch import Patch
from patchwright.places import parse_place
from patchwright.prompts.pair import Pair

if TYPE_CHECKING:
    from patchwright.experiment.base import Experiment
    from patchwright.model.load import Model


def explain_pair(
    model: "Model",
    pair: Pair | Sequence[Pair],
    direction: str = "denoise",
    metric: str = "logit_diff",
    bos: bool = True,
    do: "Callable[[Experiment], Result] | None" = None,
) -> tuple[Result, Insights]:
    """The sweep of the residual stream, and what it and the heads show.

    `do` gives an experiment's result, as from a store; without it they are run. Raises what
    `run` raises.
    """
    asked: dict[str, Any] = {"direction": direction, "metric": metric, "bos": bos}
    done = do or (lambda experiment: run(experiment, model))
    stream = done(Patch.on(model, pair, site="resid_pre", **asked))
    heads = done(Patch.on(model, pair, site="z", **asked))
    found = [parse_place(name) for name in heads_to_look_at(heads)]
    if not found:
        return stream, insights(stream, heads=heads)
    patterns = {
        str(one): done(Attention.on(model, pair, bos, layer=one.layer, head=one.head))
        for one in found
    }
    asked |= {"layers": [one.layer for one in found], "heads": [one.head for one in found]}
    acting = done(Patch.on(model, pair, site="z", per="head_position", **asked))
    return stream, insights(stream, heads=heads, patterns=patterns, acting=acting)
