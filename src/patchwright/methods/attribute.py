"""Attribution patching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from patchwright.axes import BUDGET
from patchwright.experiment.cost import runs_per_cell
from patchwright.experiment.declaration import CopyDirection, Cost, KnownSite, Option, Output
from patchwright.experiment.patching import Sweep, copy_text
from patchwright.experiment.questions import parts_text
from patchwright.upgrade import accept_old_names

if TYPE_CHECKING:
    from patchwright.algorithms.batches import OnProgress
    from patchwright.algorithms.result import Result
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.model.load import Model
    from patchwright.prompts.pair import Pair, TokenPair


_ESTIMATE_NOTES = {
    "gradient": "Estimates are to first order, from one gradient.",
    "qk_fix": "Estimates are to first order, with the softmax of queries and keys recomputed.",
    "integrated": "Estimates are means of gradients at {} points between the two runs.",
}


class Attribute(Sweep):
    """Gradients estimate, to first order, what patching each place would do.

    With `exact` the sweep itself is done too.
    Source: Nanda 2023; Kramár et al. 2024 (AtP*).
    """

    main: ClassVar[str] = "effect"
    centred: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = ("exact",)
    summary: ClassVar[str] = "Estimate every patch at once from gradients."

    method: Literal["attribute"] = "attribute"
    site: KnownSite = Field(
        default="resid_pre", title="Site", description="What would be patched; see `places`."
    )
    direction: CopyDirection = "denoise"
    estimator: Annotated[Literal["gradient", "qk_fix", "integrated"], Option(older="method")] = (
        Field(
            default="gradient",
            title="Estimator",
            description="How gradients are taken; qk_fix for q and k.",
        )
    )
    steps: int = Field(default=10, title="Steps", description="Runs that integrated averages over.")
    exact: bool = Field(
        default=False, title="Exact too", description="Do the exact sweep too, and compare."
    )

    @property
    def batched(self) -> bool:
        """Not where it is compared: the agreement is measured over all pairs."""
        return super().batched and not self.exact

    @property
    def output(self) -> Output:
        """That of a sweep; with `exact` also how they agree."""
        return replace(super().output, details=frozenset({"recall", "correlation", "most"}))

    def title(self, result: Result) -> str:
        """What was estimated, and how."""
        from patchwright.algorithms.scale import measure_label

        what = copy_text(self.site, self.direction)
        return f"Estimated {measure_label(result)} by copying {what}"

    @property
    def question(self) -> str:
        """That of the sweep that is estimated."""
        how = ", as gradients estimate it"
        return self.contest.parts_question(parts_text(self.site, self.per), self.direction, how)

    def note(self, result: Result) -> str:
        """What a cell is, and which gradients estimate it."""
        return f"{super().note(result)} {_ESTIMATE_NOTES[self.estimator].format(self.steps)}"

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """Cells, and gradients for each step."""
        cells = super().cost(tokens, model).cells
        return Cost(cells, passes=self.steps * sum(map(runs_per_cell, tokens)))

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """`patched` as estimated; with `exact` the sweep beside it, and how they agree."""
        from patchwright.algorithms.attribution import attribute
        from patchwright.experiment.assembly import estimate_notice
        from patchwright.experiment.sweeps import cells_of, raw_sweep_result

        cells, coords = cells_of(self, work.model, tokens)
        estimate = attribute(
            work.model.network,
            tokens,
            cells,
            self.direction,
            self.metric,
            self.estimator,
            self.steps,
            work.budget,
        )
        found = raw_sweep_result(self, work, estimate, coords)
        if self.exact:
            self._add_exact_sweep(found, work, tokens, cells, estimate.values)
        found.notices.append(estimate_notice("Every value is"))
        return found

    def _add_exact_sweep(
        self, found: RawResult, work: RunContext, tokens: list[TokenPair], cells: Any, estimate: Any
    ) -> None:
        """Add the exact sweep to what was found, and how well the estimate agrees."""
        import numpy as np

        from patchwright.algorithms.attribution import estimate_quality
        from patchwright.experiment.assembly import stopped_sweep_notice
        from patchwright.experiment.sweeps import patch_cells

        exact = patch_cells(self, work, tokens, cells)
        found.arrays["exact"] = found.arrays["patched"].copy(data=exact.values)
        bases = found.corrupts if self.direction == "denoise" else found.cleans
        base = np.array([one.metric for one in bases]).reshape(-1, *[1] * (exact.values.ndim - 1))
        stopped = exact.done < exact.values.size
        if stopped:
            found.notices.append(stopped_sweep_notice(exact.done, exact.values.size))
        if not stopped or np.isfinite(exact.values).sum() > 1:
            found.details.update(estimate_quality(estimate - base, exact.values - base))


@accept_old_names(method="estimator")
def attribute(
    model: Model,
    pair: Pair | Sequence[Pair],
    site: str = "resid_pre",
    per: str | None = None,
    direction: str = "denoise",
    estimator: str = "gradient",
    steps: int = 10,
    metric: str = "logit_diff",
    bos: bool = True,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    exact: bool = False,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Estimate every patch of one kind from gradients: attribution patching.

    `estimator`: `gradient`; `qk_fix` for q and k, their softmax recomputed;
    `integrated`, the gradient's mean over `steps` runs between the two prompts.
    With `exact` the sweep itself is done too: `arrays["exact"]` beside `patched`,
    and `details` has their `correlation` and the `recall` of the strongest cells.
    Source: Nanda 2023; Kramár et al. 2024 (AtP*).
    """
    return Attribute.call(**locals())


def compare_with_exact(
    model: Model, pair: Pair | Sequence[Pair], site: str = "resid_pre", **choices: Any
) -> Result:
    """`attribute` with `exact=True`: the estimate, the exact sweep, and how they agree."""
    return attribute(model, pair, site, **choices, exact=True)
