"""Ablation: a sweep over places, or several places together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from patchwright.axes import BUDGET
from patchwright.experiment.base import OnPairs
from patchwright.experiment.declaration import KnownSite, Option, Seed
from patchwright.experiment.patching import Sweep, Together
from patchwright.experiment.questions import parts_text, places_text
from patchwright.places import SITE_TABLE
from patchwright.prompts.align import EDGES_HINT
from patchwright.prompts.pair import Prompt
from patchwright.spelling import sentence_case
from patchwright.upgrade import accept_old_names

if TYPE_CHECKING:
    from patchwright.algorithms.batches import OnProgress
    from patchwright.algorithms.result import Result
    from patchwright.algorithms.sweep import Source
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.model.load import Model
    from patchwright.places import Place, Site
    from patchwright.prompts.pair import Pair, TokenPair

Ablation = Literal["zero", "mean", "resample"]
"""What a place's activation is replaced by; see `algorithms.ablation`."""


_ABLATION_TEXTS: dict[Ablation, str] = {
    "zero": "setting {} to zero",
    "mean": "replacing {} by the mean over other prompts",
    "resample": "replacing {} by that of another prompt",
}

UNUSED_FIELDS: dict[Ablation, tuple[str, ...]] = {
    "zero": ("by_position", "seed"),
    "mean": ("seed",),
    "resample": ("by_position",),
}
"""Fields that change nothing of each kind of ablation."""


class AblationExperiment(OnPairs):
    """What is written into the clean run so that a place says nothing.

    `prompts` are those that `mean` averages over and `resample` draws from.
    """

    main: ClassVar[str] = "effect"
    centred: ClassVar[bool] = True

    ablation: Annotated[Ablation, Option(older="how")] = Field(
        default="zero",
        title="Replace it by",
        description="What is written in place of the activation.",
    )
    prompts: Annotated[tuple[Prompt, ...], Option("prompt", max_items=32)] = Field(
        default=(),
        title="Reference prompts",
        description="A prompt that mean or resample takes activations from.",
    )
    by_position: Annotated[bool, Option("over-positions", off=True)] = Field(
        default=True, title="Mean at each position", description="One mean over all positions."
    )
    seed: Seed = 0
    direction: Literal["noise"] = "noise"

    @property
    def references(self) -> Sequence[Prompt]:
        """The prompts that a mean is taken over, or a draw from."""
        return self.prompts

    @property
    def batched(self) -> bool:
        """Not where it draws: the draw goes on from pair to pair."""
        return super().batched and self.ablation != "resample"

    @property
    def unequal_length_advice(self) -> str:
        """Unequal prompts may be ablated: what is written comes from no prompt of the pair."""
        return EDGES_HINT

    def ablation_source(self, work: RunContext, sites: Sequence[Site]) -> Source:
        """What is written at `sites` of each pair's clean run."""
        from patchwright.algorithms.ablation import ablation_source, reference_tokens

        prompts = reference_tokens(self.prompts, work.model, self.bos)
        return ablation_source(
            work.model.network, prompts, sites, self.ablation, self.by_position, self.seed
        )


class Ablate(AblationExperiment, Sweep):  # pyright: ignore[reportIncompatibleVariableOverride] - it is frozen
    """In the clean run one place at a time is replaced by an activation that says nothing
    about the prompt. The effect is the share of the gap to the corrupted run that is lost.

    Ablation understates what a place does where later layers repair it (McGrath et al. 2023).
    Source: Chan et al. 2022.
    """

    FORMER: ClassVar[Mapping[str, object]] = {"site": "resid_pre"}
    summary: ClassVar[str] = "Take places out of the clean run and see what is lost."

    method: Literal["ablate"] = "ablate"
    site: KnownSite = Field(default="z", title="Site", description="What is ablated; see `places`.")

    @property
    def lists_tokens(self) -> bool:
        """Whether each cell's likeliest tokens can be read as well."""
        return True

    def title(self, result: Result) -> str:
        """What was ablated, and how."""
        from patchwright.algorithms.scale import measure_label

        replaced = _ABLATION_TEXTS[self.ablation].format(SITE_TABLE[self.site].phrase)
        return sentence_case(f"{measure_label(result)} by {replaced}")

    @property
    def question(self) -> str:
        """Without which places the answer is lost."""
        said = self.contest
        what = parts_text(self.site, self.per)
        return f"Without which {what} is {said.answer} lost{said.rival_after('to')}{said.over}?"

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """`patched` of every cell."""
        from patchwright.experiment.sweeps import cells_of, patch_cells, raw_sweep_result

        cells, coords = cells_of(self, work.model, tokens)
        swept = patch_cells(self, work, tokens, cells, self.ablation_source(work, [self.site]))
        return raw_sweep_result(self, work, swept, coords)


class AblateTogether(AblationExperiment, Together):
    """In the clean run several places at once are replaced by activations that say nothing
    about the prompt. The effect is the share of the gap to the corrupted run that is lost.
    """

    # 2: a place that is ablated already is held so where another place changes it.
    numbers: ClassVar[int] = 2
    command: ClassVar[str] = "ablate"

    method: Literal["ablate_together"] = "ablate_together"

    def title(self, result: Result) -> str:
        """Which places were ablated, and how."""
        return sentence_case(
            f"{_ABLATION_TEXTS[self.ablation].format(', '.join(self.places))} together"
        )

    @property
    def question(self) -> str:
        """Whether it is lost without all of them."""
        said = self.contest
        places = places_text(self.places)
        return f"Is {said.answer} lost{said.rival_after('to')} without {places}{said.over}?"

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """`patched` of one run in which all places are ablated."""
        from patchwright.experiment.joint_patch import run_joint_patch
        from patchwright.places import parse_place

        source = self.ablation_source(work, [parse_place(place).site for place in self.places])
        return run_joint_patch(self, self.direction, work, tokens, source)


@accept_old_names(how="ablation")
def ablate(
    model: Model,
    pair: Pair | Sequence[Pair],
    site: str = "z",
    per: str | None = None,
    ablation: str = "zero",
    prompts: Sequence[Prompt] = (),
    by_position: bool = True,
    seed: int = 0,
    metric: str = "logit_diff",
    bos: bool = True,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Replace each place of one kind in the clean run by an uninformative activation.

    `ablation`: `zero`; `mean` over `prompts`, at each position or (`by_position=False`)
    over all of theirs; `resample`, from one of `prompts` drawn by `seed`. `effect`
    is the share of the gap to the corrupted run that is lost. See `algorithms.ablation`.
    """
    return Ablate.call(**locals())


@accept_old_names(how="ablation")
def ablate_together(
    model: Model,
    pair: Pair | Sequence[Pair],
    places: Sequence[str | Place],
    ablation: str = "zero",
    prompts: Sequence[Prompt] = (),
    by_position: bool = True,
    seed: int = 0,
    metric: str = "logit_diff",
    bos: bool = True,
    budget: int = BUDGET,
) -> Result:
    """Ablate several places in one run; the result's arrays have no dims but `pair`.

    Places are written as in `L9H9.z@-1`, the rest is as for `ablate`; `resample`
    takes all places of a pair from the same one of `prompts`. Raises
    UnknownPlaceError for a place that the model or the prompt does not have.
    """
    return AblateTogether.call(**locals())
