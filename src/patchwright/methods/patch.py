"""Activation patching: a sweep over places, or several places together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from patchwright.axes import BUDGET
from patchwright.errors import ExperimentError
from patchwright.experiment.declaration import CopyDirection, Option
from patchwright.experiment.patching import Sweep, Together, copy_text
from patchwright.experiment.questions import parts_text, places_text
from patchwright.spelling import sentence_case
from patchwright.upgrade import accept_old_names

if TYPE_CHECKING:
    from patchwright.algorithms.batches import OnProgress
    from patchwright.algorithms.result import Result
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.model.load import Model
    from patchwright.places import Place
    from patchwright.prompts.pair import Pair, TokenPair


class Patch(Sweep):
    """Activations of one run are copied into the other, one place at a time. The effect of a
    place is the share of the gap between the two runs that its copy moves.

    With `roles` each pair is patched at the places of its own prompt that they name
    (`prompts.roles`), so that pairs of different lengths can be compared. By `order`
    attribution an estimate says which cells come first; the first `max_exact` are computed, the
    others keep their estimate.
    Source: Vig et al. 2020; Zhang & Nanda 2023.
    """

    # 2: roles stand where their characters do.
    numbers: ClassVar[int] = 2
    main: ClassVar[str] = "effect"
    centred: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = ("estimated",)
    summary: ClassVar[str] = "Patch place by place and see how far the answer moves."

    method: Literal["patch"] = "patch"
    direction: CopyDirection = "denoise"
    order: Annotated[Literal["layers", "attribution"], Option(hidden=True)] = Field(
        default="layers",
        title="Order",
        description="Which cells come first: by layer, or those that an estimate ranks highest.",
    )
    max_exact: Annotated[int | None, Option(usual="all", older="most")] = Field(
        default=None,
        title="Cells computed",
        description="Compute only the N cells that a gradient estimate ranks highest.",
    )
    roles: Annotated[tuple[str, ...] | None, Option(usual="positions", max_items=64)] = Field(
        default=None,
        title="Roles",
        description="Compare by role instead of position, such as subject,last.",
    )

    @model_validator(mode="before")
    @classmethod
    def _roles_are_positions(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("roles") and "per" not in given:
            return {**given, "per": "position"}
        return given

    @property
    def hints(self) -> set[str]:
        """The order in which cells are computed, where all of them are."""
        return {"order"} if self.max_exact is None else set()

    @property
    def lists_tokens(self) -> bool:
        """Whether each cell's likeliest tokens can be read as well."""
        return True

    @property
    def role_names(self) -> tuple[str, ...] | None:
        """Roles in the place of positions."""
        return self.roles

    def title(self, result: Result) -> str:
        """What was patched, and how."""
        from patchwright.algorithms.scale import measure_label

        return sentence_case(
            f"{measure_label(result)} by copying {copy_text(self.site, self.direction)}"
        )

    @property
    def question(self) -> str:
        """Which places bring the answer back, or are needed for it."""
        return self.contest.parts_question(parts_text(self.site, self.per), self.direction)

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """`patched` of every cell; by attribution also which are `estimated`."""
        import numpy as np

        from patchwright.experiment.sweeps import (
            cells_at_roles,
            cells_of,
            patch_cells,
            raw_sweep_result,
            role_coords,
        )

        cells, coords = cells_of(self, work.model, tokens)
        missing = None
        if self.roles is not None:
            cells, missing = cells_at_roles(
                cells, self.roles, self.direction, self.pair_list, tokens, work.model.tokenizer
            )
            coords = role_coords(coords, self.roles)
        priority = self._priority(work, tokens, cells)
        swept = patch_cells(self, work, tokens, cells, priority=priority)
        if missing is not None:
            for pair, role in zip(*np.nonzero(missing), strict=True):
                swept.values[pair, ..., role] = np.nan
                swept.estimated[pair, ..., role] = False
            if swept.top is not None:
                swept.top.clear(np.isnan(swept.values))
        return raw_sweep_result(self, work, swept, coords, estimated=self.order == "attribution")

    def _priority(self, work: RunContext, tokens: list[TokenPair], cells: Any) -> Any:
        """The order of the cells by an estimate, where one is asked for."""
        from patchwright.algorithms.attribution import attribute
        from patchwright.algorithms.sweep import Priority

        if self.order == "layers":
            if self.max_exact is not None:
                raise ExperimentError(
                    "'max_exact' needs an order to choose by: add order='attribution'."
                )
            return None
        if self.max_exact is not None and self.max_exact < 1:
            raise ExperimentError(f"max_exact={self.max_exact}: compute at least 1 cell exactly.")
        network, direction, metric = work.model.network, self.direction, self.metric
        estimate = attribute(network, tokens, cells, direction, metric, budget=work.budget)
        return Priority(estimate.values, self.max_exact)


class PatchTogether(Together):
    """Activations of one run are copied into the other at several places at once."""

    # 2: a place that is alike in both runs is held where another place changes it.
    numbers: ClassVar[int] = 2
    main: ClassVar[str] = "effect"
    centred: ClassVar[bool] = True
    command: ClassVar[str] = "patch"

    method: Literal["patch_together"] = "patch_together"
    direction: CopyDirection = "denoise"

    def title(self, result: Result) -> str:
        """Which places were patched."""
        source = "clean" if self.direction == "denoise" else "corrupted"
        return f"{', '.join(self.places)} copied together from the {source} run"

    @property
    def question(self) -> str:
        """Whether the places do it together."""
        said, places = self.contest, places_text(self.places)
        if self.direction == "noise":
            return f"Does {said.answer} need {places}{said.rival_after('to stay ahead of')}{said.over}?"
        return (
            f"Is {said.answer} brought back{said.rival_after('instead of')} by {places}{said.over}?"
        )

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """`patched` of one run in which all places are patched."""
        from patchwright.experiment.joint_patch import run_joint_patch

        return run_joint_patch(self, self.direction, work, tokens)


@accept_old_names(most="max_exact")
def patch(
    model: Model,
    pair: Pair | Sequence[Pair],
    site: str = "resid_pre",
    per: str | None = None,
    direction: str = "denoise",
    metric: str = "logit_diff",
    bos: bool = True,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
    order: str = "layers",
    max_exact: int | None = None,
    roles: Sequence[str] | None = None,
    top: int = 0,
) -> Result:
    """Patch every place of one kind, one at a time.

    `site` is one of `places.SITES`; `per` says which places are patched at once
    (default: by position, for heads by head); `positions` may count from the end.
    The result's arrays have the dims that `per` names. With `order="attribution"`
    the cells that a gradient estimate finds most promising come first, and of each
    pair only the first `max_exact` are computed; `arrays["estimated"]` is 1 where a cell
    kept its estimate. With `roles`, such as `["subject", "last"]`, each pair is patched
    where its own `Pair.roles` stand, `last` being the last token: pairs of different
    lengths are compared, and the dim `role` is in the place of `position`. With `top=3`
    the arrays `top` (texts), `top_id` and `top_probability` have the three likeliest next
    tokens after each patch, by `choice` from 1; no other number changes.
    `progress` is called between batches and stops the work by returning False; `budget`
    bounds the bytes that altered runs take. Raises InputError, whose subclasses say what was wrong.
    Source: Vig et al. 2020; Zhang & Nanda 2023.
    """
    return Patch.call(**locals())


def patch_together(
    model: Model,
    pair: Pair | Sequence[Pair],
    places: Sequence[str | Place],
    direction: str = "denoise",
    metric: str = "logit_diff",
    bos: bool = True,
    budget: int = BUDGET,
) -> Result:
    """Patch several places in one run; the result's arrays have no dims but `pair`.

    Places are written as in `L9H9.z@-1`. Raises UnknownPlaceError for one that
    the model or the prompt does not have.
    """
    return PatchTogether.call(**locals())
