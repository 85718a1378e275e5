"""Clean against corrupted activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from patchwright.axes import DIMS, Per
from patchwright.experiment.base import OnPairs
from patchwright.experiment.cost import places_count, sequence_length
from patchwright.experiment.declaration import Cost, KnownSite, Output
from patchwright.experiment.patching import PER_FIELD
from patchwright.experiment.questions import parts_text
from patchwright.places import KEYED_SITES, SITE_TABLE
from patchwright.prompts.align import EDGES_HINT

if TYPE_CHECKING:
    from patchwright.algorithms.result import Result
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.model.load import Model
    from patchwright.prompts.pair import Pair, TokenPair


class Difference(OnPairs):
    """The activations of the two runs are compared, place by place. Nothing is patched."""

    main: ClassVar[str] = "relative"
    unit: ClassVar[str] = "size of the difference, as a share of the clean run's"
    measures: ClassVar[bool] = False
    command: ClassVar[str] = "diff"
    summary: ClassVar[str] = "Compare clean and corrupted activations: norms and angles."

    method: Literal["difference"] = "difference"
    site: KnownSite = Field(
        default="resid_post", title="Site", description="What is compared; see `places`."
    )
    per: Per = PER_FIELD

    @property
    def unequal_length_advice(self) -> str:
        """What can be done about prompts of unequal length."""
        if self.site in KEYED_SITES:
            return ", or choose site='z' and align='edges' (--site z --align edges)"
        return EDGES_HINT

    @property
    def output(self) -> Output:
        """Norms and cosines of every place."""
        names = ("relative", "norm", "clean_norm", "cosine")
        return Output(dict.fromkeys(names, DIMS[self.per]))

    def title(self, result: Result) -> str:
        """What was compared."""
        return f"How far the clean and the corrupted run differ in {SITE_TABLE[self.site].phrase}"

    @property
    def question(self) -> str:
        """Where the runs differ."""
        over = self.contest.over
        return f"Which {parts_text(self.site, self.per)} differ most between A and B{over}?"

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """Values of the result, which take no run."""
        sizes = (places_count(self.site, self.per, sequence_length(one), model) for one in tokens)
        return Cost(sum(sizes))

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """Norms and cosines of the differences of one site."""
        from patchwright.algorithms.difference import difference
        from patchwright.experiment.assembly import check_equal_lengths, other_pers_advice
        from patchwright.experiment.observation import measure_unpatched
        from patchwright.places import check_layer, layer_or_none

        site, per = self.site, self.per
        check_layer(layer_or_none(site, 0), site, work.model.spec)
        if per in ("position", "head_position"):
            check_equal_lengths((len(pair.clean) for pair in tokens), other_pers_advice(site))
        return measure_unpatched(
            self, work, tokens, [site], lambda runs: difference(runs, site, per)
        )


def difference(
    model: Model,
    pair: Pair | Sequence[Pair],
    site: str = "resid_post",
    per: str | None = None,
    bos: bool = True,
) -> Result:
    """How far clean and corrupted activations of a site are apart, place by place.

    Arrays with the dims that `per` names: `norm` of the difference, the same
    `relative` to `clean_norm`, and the `cosine`. Nothing is patched.
    """
    return Difference.call(**locals())
