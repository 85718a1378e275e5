"""What a method's declaration is written with: kinds of fields, their options, its cost and its output."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast

from pydantic import BeforeValidator, Field

from patchwright.axes import Direction
from patchwright.errors import UnknownPlaceError, quoted
from patchwright.places import Place, Site, check_site


def _known_site(name: object) -> Site:
    try:
        return check_site(str(name))
    except UnknownPlaceError as error:
        raise ValueError(str(error)) from error


def _place_names(given: object) -> list[str]:
    if isinstance(given, str | Place) or not isinstance(given, Iterable):
        raise ValueError(
            f"{quoted(str(given))} is not a list of places: give one, such as ['L9H6.z@-1']."
        )
    return [str(one) for one in cast("Iterable[object]", given)]


Natural = Annotated[int, Field(ge=0)]
"""A number of something, or a seed, which NumPy's generators take from 0 on."""

Seed = Annotated[Natural, Field(title="Seed", description="Random seed.")]

CopyDirection = Annotated[
    Direction,
    Field(
        title="Direction",
        description="denoise copies clean activations into the corrupted run, noise the other way.",
    ),
]
"""Which run's activations are copied into the other."""

KnownSite = Annotated[Site, BeforeValidator(_known_site)]
"""A site that there is; another is refused with the list of them."""

PlaceNames = Annotated[tuple[str, ...], BeforeValidator(_place_names)]
"""Places as they are written, such as `L9H6.z@-1`; given as text or as `Place`."""


@dataclass(frozen=True)
class Option:
    """How the command line spells a field, where not by the field's own name.

    `off` is a flag that turns the field off; `usual` says in the help what happens without the
    option; a `hidden` field has none; `older` is a name that is still read. `max_items` is how long
    the field's list may be for a stranger.
    """

    name: str = ""
    usual: str = ""
    off: bool = False
    hidden: bool = False
    older: str = ""
    max_items: int | None = None


@dataclass(frozen=True)
class Cost:
    """What an experiment takes, over all its pairs.

    `cells` are runs with something altered, or values of the result that take none;
    `passes` other runs (gradients, circuits, reference prompts); `drawn` tokens of random
    prompts; `memory` bytes beside the model and the runs of a batch.
    """

    cells: int = 0
    passes: int = 0
    drawn: int = 0
    memory: int = 0


Dims = tuple[str, ...]
"""The axes of an array, without `pair`: over several pairs every array has that one first."""


@dataclass(frozen=True)
class Output:
    """What a result of an experiment holds: a run from elsewhere that holds more or less is refused.

    `arrays` are those that it always has, `optional` those that it may have. `unlabelled` names
    arrays whose last axis has no labels, and may have no entry. `details` are the names of its
    details. Where it is `averaged`, its main array is a mean over pairs.
    """

    arrays: Mapping[str, Dims]
    optional: Mapping[str, Dims] = field(default_factory=dict[str, Dims])
    unlabelled: frozenset[str] = frozenset()
    details: frozenset[str] = frozenset()
    averaged: bool = False


TOP_TOKEN_ARRAYS = ("top", "top_id", "top_probability")
"""Arrays of each cell's likeliest tokens: their texts, their ids, and how probable they are."""
