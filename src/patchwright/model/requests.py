"""What the engine is asked for, and what it gives: rows to be run, and finished runs.

A row without a base is a prompt's own run. A row over a base run repeats it with
edits, or with other tokens from some position on.
"""

from dataclasses import dataclass, field

from jaxtyping import Float, Shaped
from torch import Tensor

from patchwright.model.edits import Edit
from patchwright.places import NEURON_SITES, Site

BASE_SITES: frozenset[Site] = frozenset({"resid_pre", "resid_mid", "q", "k", "v"})
"""What a run must keep to be the base of edits; and besides it the edited sites."""


@dataclass(frozen=True)
class Run:
    """One finished run.

    `read` is the first position whose output is read. `final` is the residual
    stream after the last layer from there on, [position, d_model]. `kept` holds
    what was asked for, site -> one tensor a layer, shaped as the Site table says. Where k is kept, `keys` holds each layer's
    keys as attention reads them, with their positions turned in: no site, but what
    rows over the run need.
    """

    tokens: tuple[int, ...]
    read: int
    final: Float[Tensor, "read_position d_model"]
    kept: dict[Site, list[Tensor]] = field(default_factory=dict[Site, list[Tensor]])
    keys: list[Tensor] = field(default_factory=list[Tensor])

    def without_activations(self) -> "Run":
        """The end alone, in memory of its own: it was a part of its whole batch's."""
        return Run(self.tokens, self.read, self.final.clone())


@dataclass(frozen=True)
class Row:
    """A run to be made: `tokens` with `edits`, where `base` has run already.

    Without a base everything is computed. A base has kept `BASE_SITES`, the edited sites
    and those to be kept. It has the same number of tokens; a run without edits may
    also start from a base of another length, unless patterns are kept. A run whose
    tokens part from the base's before they are read may also name as its base an
    earlier row of the same batch that has no base itself, where `BASE_SITES` is kept.
    """

    tokens: tuple[int, ...]
    read: int
    base: "Run | Row | None" = None
    edits: tuple[Edit, ...] = ()

    @property
    def first_own_token(self) -> int:
        """The first position that is not the base run's: by its token, or by being read."""
        if self.base is None:
            return 0
        pairs = enumerate(zip(self.tokens, self.base.tokens, strict=False))
        length = len(self.tokens)
        shared = min(length, len(self.base.tokens))
        differing = next((i for i, (own, based) in pairs if own != based), shared)
        return differing if length == len(self.base.tokens) else min(differing, self.read)

    @property
    def extent(self) -> tuple[int, int]:
        """The stretch of positions that its edits and own tokens touch."""
        length, own = len(self.tokens), self.first_own_token
        starts = [edit.start for edit in self.edits]
        stops = [edit.stop for edit in self.edits]
        return min([own, *starts]), length if own < length else max(stops, default=length)

    def cost(self) -> int:
        """Positions to be computed in a layer, at most."""
        return len(self.tokens) - self.extent[0]


def patched_row(base: Run, *edits: Edit) -> Row:
    """The row that repeats `base` with `edits`."""
    return Row(base.tokens, base.read, base, edits)


def with_index_axis(
    activation: Shaped[Tensor, " position *features"], site: Site
) -> Shaped[Tensor, "position index feature"]:
    """What a run has kept of a site, by what it has several of at a position: heads or neurons.

    Of other sites there is one index.
    """
    if activation.ndim == 3:
        return activation
    return activation.unsqueeze(2 if site in NEURON_SITES else 1)
