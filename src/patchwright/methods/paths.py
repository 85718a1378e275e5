"""Path patching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from patchwright.axes import BUDGET
from patchwright.experiment.declaration import CopyDirection, KnownSite, Option, PlaceNames
from patchwright.experiment.patching import Sweep, copy_text
from patchwright.experiment.questions import parts_text, places_text
from patchwright.prompts.align import NO_EDGES_HINT
from patchwright.spelling import sentence_case

if TYPE_CHECKING:
    from patchwright.algorithms.batches import OnProgress
    from patchwright.algorithms.result import Result
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.model.load import Model
    from patchwright.places import Site
    from patchwright.prompts.pair import Pair, TokenPair

LOGITS = "logits"
"""The receiver that stands for the model's output."""

OnTheWay = Literal["recompute", "freeze"]
"""What MLPs or norms between sender and receivers do."""

_MODE_TEXTS = {"recompute": "recomputed", "freeze": "frozen"}


class PathPatch(Sweep):
    """Each sender is patched along the paths to the receivers alone; the other heads are frozen.

    A sender above every receiver has no path: its cell is the baseline.
    Source: Wang et al. 2022.
    """

    # 2: a frozen norm's scale is computed in float32.
    numbers: ClassVar[int] = 2
    main: ClassVar[str] = "effect"
    centred: ClassVar[bool] = True
    aligns: ClassVar[bool] = False
    FORMER: ClassVar[Mapping[str, object]] = {
        "site": "resid_pre",
        "direction": "denoise",
        "receivers": None,
    }
    command: ClassVar[str] = "paths"
    summary: ClassVar[str] = "Path patching: what a place does through its receivers."

    method: Literal["path_patch"] = "path_patch"
    receivers: Annotated[PlaceNames, Option("receiver", max_items=64)] = Field(
        default=(LOGITS,),
        title="Receivers",
        description="logits, or a place such as L9H6.q.",
    )
    site: KnownSite = Field(
        default="z", title="Senders", description="What sends: z, attn_out, mlp_out or embed."
    )
    direction: CopyDirection = "noise"
    mlps: OnTheWay = Field(
        default="recompute",
        title="MLPs on the way",
        description="What MLPs in between do: freeze keeps their outputs.",
    )
    norms: OnTheWay = Field(
        default="recompute",
        title="Norms on the way",
        description="What norms in between do: freeze keeps their scale.",
    )

    @property
    def named_places(self) -> Sequence[str]:
        """The receivers that are places."""
        return [one for one in self.receivers if one != LOGITS]

    @property
    def unequal_length_advice(self) -> str:
        """Prompts of unequal length have no paths."""
        return NO_EDGES_HINT

    @property
    def kept_sites(self) -> frozenset[Site]:
        """What sends, what is frozen on the way, and what receives."""
        from patchwright.algorithms.paths import PATH_SITES

        return PATH_SITES | super().kept_sites

    @property
    def extra_details(self) -> dict[str, Any]:
        """What MLPs and norms on the way did."""
        return {"mlps": self.mlps, "norms": self.norms}

    def can_have_effect(self, layer: int, parallel: bool) -> bool:
        """Whether a sender of this layer lies below any receiver."""
        from patchwright.algorithms.paths import Paths
        from patchwright.places import parse_place

        receivers = tuple(parse_place(one) for one in self.named_places)
        return Paths(receivers, self.mlps, self.norms).has_path_from(self.site, layer, parallel)

    def title(self, result: Result) -> str:
        """From where to where."""
        from patchwright.algorithms.scale import measure_label

        ends = ", ".join("the logits" if one == LOGITS else one for one in self.receivers)
        what = copy_text(self.site, self.direction)
        return sentence_case(f"{measure_label(result)} by copying {what} along the paths to {ends}")

    @property
    def question(self) -> str:
        """What has an effect through the receivers."""
        how = f" along paths to {places_text(self.receivers)}"
        return self.contest.parts_question(parts_text(self.site, self.per), self.direction, how)

    def note(self, result: Result) -> str:
        """What a cell is, and what was frozen."""
        mlps, norms = _MODE_TEXTS[self.mlps], _MODE_TEXTS[self.norms]
        on_the_way = f"MLPs and norms {mlps}" if mlps == norms else f"MLPs {mlps}, norms {norms}"
        return f"{super().note(result)} On the way: other heads frozen, {on_the_way}."

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """`patched` of every sender, by way of the receivers."""
        from patchwright.algorithms.paths import Paths, parse_receivers, path_patch
        from patchwright.algorithms.sweep import patched_tokens
        from patchwright.experiment.assembly import check_equal_lengths
        from patchwright.experiment.sweeps import cells_of, raw_sweep_result

        cells, coords = cells_of(self, work.model, tokens)
        lengths = [len(patched_tokens(pair, self.direction)) for pair in tokens]
        receivers = parse_receivers(self.receivers, work.model.spec, lengths[0])
        if any(place.position is not None for place in receivers):
            check_equal_lengths(lengths, "name receivers without positions")
        paths = Paths(receivers, self.mlps, self.norms)
        swept = path_patch(
            work.model.network,
            tokens,
            cells,
            paths,
            self.direction,
            self.metric,
            work.progress,
            work.budget,
        )
        return raw_sweep_result(self, work, swept, coords)


def path_patch(
    model: Model,
    pair: Pair | Sequence[Pair],
    receivers: Sequence[str] = (LOGITS,),
    site: str = "z",
    per: str | None = None,
    direction: str = "noise",
    mlps: str = "recompute",
    norms: str = "recompute",
    metric: str = "logit_diff",
    bos: bool = True,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Path patching: each sender's effect by way of the receivers alone.

    Senders are the places of `site` (`z`, `attn_out`, `mlp_out`, `embed`), one at a
    time; `receivers` are `logits`, or places such as `L9H6.q`, `L5.mlp_out`. Heads
    on the way are frozen: they keep their values in the run that is patched; MLPs are recomputed
    or (`mlps="freeze"`) frozen; norms are
    recomputed or (`norms="freeze"`) keep the scale of the run that is patched. A
    sender above every receiver has no path: its cell is the baseline. See
    `algorithms.paths`. Source: Wang et al. 2022.
    """
    return PathPatch.call(**locals())
