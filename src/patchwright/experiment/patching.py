"""The two kinds of experiments that change places: one at a time, or several in one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from patchwright.axes import CHOICE, DIMS, Direction, Per
from patchwright.experiment.base import CellByCell, OnPairs
from patchwright.experiment.cost import places_count, runs_per_cell, sequence_length
from patchwright.experiment.declaration import (
    TOP_TOKEN_ARRAYS,
    Cost,
    KnownSite,
    Option,
    Output,
    PlaceNames,
)
from patchwright.places import KEYED_SITES, SITE_TABLE, Site, pers_of
from patchwright.prompts.align import EDGES_HINT
from patchwright.validation import Whole

if TYPE_CHECKING:
    import xarray as xr

    from patchwright.algorithms.batches import Progress
    from patchwright.algorithms.result import Result
    from patchwright.model.load import Model
    from patchwright.prompts.pair import TokenPair


def default_per(given: dict[str, Any]) -> Per:
    """What one cell of a sweep patches where `per` is left out: for heads a head, else a position."""
    return pers_of(given["site"])[0]


PER_FIELD: Any = Field(
    default_factory=default_per,
    title="Patch per",
    description="What one patch covers; by default a position, of heads a head.",
)
"""The field `per`, which follows the site where it is left out."""


_CELL_TEXTS: dict[Per, str] = {
    "position": "Each cell is one position in one layer.",
    "head": "Each cell is one head, at all positions together.",
    "head_position": "Each cell is one head at one position.",
    "layer": "Each cell is one layer, at all positions together.",
    "neuron": "Each cell is one neuron, at all positions together.",
}


def copy_text(site: Site, direction: Direction) -> str:
    """What is copied from which run: 'the residual stream entering a layer from the clean run'."""
    source = "clean" if direction == "denoise" else "corrupted"
    return f"{SITE_TABLE[site].phrase} from the {source} run"


class Sweep(OnPairs, CellByCell):
    """An experiment over every place of one kind.

    `beside` are arrays of every cell that its result may have beside `patched` and `effect`.
    """

    beside: ClassVar[tuple[str, ...]] = ()

    site: KnownSite = Field(
        default="resid_pre", title="Site", description="What is patched; see `places`."
    )
    per: Per = PER_FIELD
    layers: Annotated[tuple[Whole, ...] | None, Option(usual="all")] = Field(
        default=None, title="Layers", description="Layers, such as 0-5,7."
    )
    positions: Annotated[tuple[Whole, ...] | None, Option(usual="all")] = Field(
        default=None, title="Positions", description="Positions, such as 3,-1."
    )
    heads: Annotated[tuple[Whole, ...] | None, Option(usual="all")] = Field(
        default=None, title="Heads", description="Heads, such as 0-3."
    )

    @property
    def unequal_length_advice(self) -> str:
        """What can be done about prompts of unequal length that are to stay as they are."""
        if self.site in KEYED_SITES:
            return ", or choose site='z' and align='edges' (--site z --align edges)"
        return EDGES_HINT

    def note(self, result: Result) -> str:
        """What a cell is."""
        return "" if self.role_names else _CELL_TEXTS[self.per]

    @property
    def kept_sites(self) -> frozenset[Site]:
        """Sites that base runs keep besides those from which a run can go on."""
        return frozenset({self.site})

    @property
    def role_names(self) -> tuple[str, ...] | None:
        """Roles in the place of positions, where the method has them."""
        return None

    @property
    def extra_details(self) -> dict[str, Any]:
        """Choices that the result's details repeat."""
        return {}

    @property
    def output(self) -> Output:
        """`patched` and `effect` of every cell, and what may stand beside them."""
        named = self.role_names is not None
        cell = tuple("role" if named and dim == "position" else dim for dim in DIMS[self.per])
        likeliest = dict.fromkeys(TOP_TOKEN_ARRAYS if self.lists_tokens else (), (*cell, CHOICE))
        return Output(
            dict.fromkeys(("patched", "effect"), cell),
            dict.fromkeys(self.beside, cell) | likeliest,
            details=frozenset(self.extra_details),
        )

    def can_have_effect(self, layer: int, parallel: bool) -> bool:
        """Whether a patch in this layer can move anything at all; blocks may be `parallel`."""
        return True

    def run_unpatched(self, model: Model) -> Result:
        """Both unpatched runs of each pair, read as the sweep reads them."""
        from patchwright.experiment.sweeps import run_unpatched

        return run_unpatched(self, model)

    def partial_arrays(
        self, unpatched: Result, model: Model, now: Progress | None
    ) -> dict[str, xr.DataArray]:
        """`patched` and `estimated`, as far as cells are known."""
        from patchwright.experiment.sweeps import partial_arrays

        return partial_arrays(self, unpatched, model, now)

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """One run a cell, and one a reference prompt."""
        roles = len(self.role_names or ())
        cells = sum(
            cell_count(self, roles or sequence_length(one), model) * runs_per_cell(one)
            for one in tokens
        )
        return Cost(cells, passes=len(self.references))


def cell_count(experiment: Sweep, n_positions: int, model: Model) -> int:
    """Cells of a sweep of one pair over every layer that it names."""
    layers = None if experiment.layers is None else len(experiment.layers)
    return places_count(experiment.site, experiment.per, n_positions, model, layers)


class Together(OnPairs):
    """An experiment on several places in one run."""

    chosen_by: ClassVar[str] = "places"

    places: Annotated[PlaceNames, Option("place", max_items=64)] = Field(
        title="Places",
        description="Patch these places together instead of a sweep.",
    )

    @property
    def named_places(self) -> Sequence[str]:
        """Places that are named one by one."""
        return self.places

    @property
    def output(self) -> Output:
        """`patched` and `effect` of the one run."""
        return Output({"patched": (), "effect": ()})

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """One altered run a pair."""
        return Cost(sum(map(runs_per_cell, tokens)), passes=len(self.references))
