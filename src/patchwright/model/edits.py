"""What may be done at a place of a run: write other activations there, or add to them."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from patchwright.places import Site


@dataclass(frozen=True)
class Edit:
    """Replace (or, with `add`, increase) a place's activation by `value`.

    It covers the consecutive positions from `start` on, one for each entry of
    `value`'s first axis. `index` is a head, or a neuron of `mlp_act`; without it
    `value` has the site's whole shape, [position, ...]. `embed` is at layer 0.
    """

    site: Site
    layer: int
    start: int
    value: Float[Tensor, " position *features"]
    index: int | None = None
    add: bool = False

    @property
    def stop(self) -> int:
        """The position after the last one edited."""
        return self.start + self.value.shape[0]

    def apply(self, live: Float[Tensor, " position *features"], first: int) -> None:
        """Change `live`, whose first row is position `first`, in place."""
        low, high = max(self.start, first), min(self.stop, first + live.shape[0])
        if low >= high:
            return
        target = live[low - first : high - first]
        if self.index is not None:
            target = target[:, self.index]
        value = self.value[low - self.start : high - self.start]
        target.copy_(target + value if self.add else value)
