"""Places: one site at one layer, and where it applies.

A place is written `L9.resid_pre@14`, `L9H6.z`, `L9H6.z@14`, `L3.mlp_act[217]@2`,
`embed@3`; `@-1` is the last position. What is left out means all of them: `L9.z`
is every head of layer 9 at every position. Parsing and printing are inverse.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

from patchwright.axes import Per
from patchwright.errors import UnknownPlaceError, quoted

Site = Literal[
    "embed",
    "resid_pre",
    "q",
    "k",
    "v",
    "pattern",
    "z",
    "attn_out",
    "resid_mid",
    "mlp_act",
    "mlp_out",
    "resid_post",
]
"""The kinds of place, in the order in which a run passes them."""

SITES: tuple[Site, ...] = get_args(Site)
HEAD_SITES: frozenset[Site] = frozenset({"q", "k", "v", "pattern", "z"})
KV_SITES: frozenset[Site] = frozenset({"k", "v"})
"""Sites that count key/value heads, of which there may be fewer: each serves a group of query heads."""

SITE_MEANINGS: dict[Site, str] = {
    "embed": "token embedding, before positions are added",
    "resid_pre": "residual stream entering a layer",
    "q": "a head's queries, as projected",
    "k": "a head's keys, as projected",
    "v": "a head's values",
    "pattern": "a head's attention weights after the softmax, by query position",
    "z": "a head's output before the output projection",
    "attn_out": "what attention adds to the residual stream",
    "resid_mid": "residual stream between attention and MLP",
    "mlp_act": "an MLP's neurons, as they enter its last projection",
    "mlp_out": "what the MLP adds to the residual stream",
    "resid_post": "residual stream leaving a layer",
}

_WITHOUT: dict[Site, str] = {
    "resid_mid": ", whose attention and MLP read the same stream",
    "mlp_act": ", whose experts change from token to token",
}
"""Why a model may be without a site."""


class Sizes(Protocol):
    """What a place is checked against; `model.spec.ModelSpec` has it."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        ...

    @property
    def n_heads(self) -> int:
        """Query heads in each layer."""
        ...

    @property
    def n_kv_heads(self) -> int:
        """Key/value heads in each layer."""
        ...

    @property
    def d_mlp(self) -> int:
        """Neurons in each layer."""
        ...

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites that the model has."""
        ...


@dataclass(frozen=True, order=True)
class Place:
    """One site at one layer (none for `embed`); None elsewhere means all."""

    site: Site
    layer: int | None = None
    head: int | None = None
    position: int | None = None
    neuron: int | None = None

    def __str__(self) -> str:
        head = "" if self.head is None else f"H{self.head}"
        where = "" if self.layer is None else f"L{self.layer}{head}."
        neuron = "" if self.neuron is None else f"[{self.neuron}]"
        position = "" if self.position is None else f"@{self.position}"
        return f"{where}{self.site}{neuron}{position}"

    def within(self, sizes: Sizes, n_positions: int) -> "Place":
        """This place with its position counted from 0.

        Raises UnknownPlaceError where the model or the prompt has no such place.
        """
        check_layer(self.layer, self.site, sizes)
        n_heads = n_heads_of(self.site, sizes)
        kind = "head" if n_heads == sizes.n_heads else "key/value head"
        _check_index(kind, self.head, n_heads, self, sizes)
        _check_index("neuron", self.neuron, sizes.d_mlp, self, sizes)
        if self.position is None:
            return self
        return replace(self, position=check_position(self.position, n_positions))


_PLACE = re.compile(
    r"(?:L(?P<layer>\d{1,9})(?:H(?P<head>\d{1,9}))?\.)?(?P<site>[a-z_]+)"
    r"(?:\[(?P<neuron>\d{1,9})\])?(?:@(?P<position>-?\d{1,9}))?",
    re.ASCII,
)


def parse_place(text: str) -> Place:
    """The place that `text` names. Raises UnknownPlaceError with the forms allowed."""
    match = _PLACE.fullmatch(text.strip())
    if match is None:
        raise UnknownPlaceError(
            f"{quoted(text)} is not a place. Write one as L9.resid_pre@14, L9H6.z, L9H6.z@-1, "
            "L3.mlp_act[217]@2 or embed@3."
        )
    number = {
        name: None if found is None else int(found)
        for name, found in match.groupdict().items()
        if name != "site"
    }
    place = Place(check_site(match["site"]), **number)
    _check_form(place, text)
    return place


def check_site(name: str) -> Site:
    """`name` as a site. Raises UnknownPlaceError with the list of sites."""
    for site in SITES:
        if site == name:
            return site
    raise UnknownPlaceError(
        f"{quoted(str(name))} is not a site. The sites are: {', '.join(SITES)}."
    )


def n_heads_of(site: Site, sizes: Sizes) -> int:
    """How many heads `site` has in each layer; one with heads is asked for."""
    return sizes.n_kv_heads if site in KV_SITES else sizes.n_heads


def pers_of(site: Site) -> tuple[Per, ...]:
    """The kinds of sweep that `site` has; the first is its default."""
    if site in HEAD_SITES:
        return ("head", "head_position", "position", "layer")
    if site == "mlp_act":
        return ("position", "layer", "neuron")
    return ("position", "layer")


def check_layer(layer: int | None, site: Site, sizes: Sizes) -> None:
    """Raise UnknownPlaceError where the model has no such site, or `site` no such layer."""
    if site not in sizes.sites:
        raise UnknownPlaceError(
            f"The site '{site}' ({SITE_MEANINGS[site]}) is not in {sizes.name}{_WITHOUT[site]}. Its "
            f"sites are: {', '.join(sizes.sites)}."
        )
    if (layer is None) != (site == "embed"):
        needs = "has no layer" if site == "embed" else "needs a layer, as in L0." + site
        raise UnknownPlaceError(f"The site '{site}' {needs}.")
    if layer is not None and not 0 <= layer < sizes.n_layers:
        raise UnknownPlaceError(
            f"Layer {layer}: {sizes.name} has layers 0-{sizes.n_layers - 1}. "
            f"`patchwright places --model {sizes.name}` lists its places."
        )


def check_position(position: int, n_positions: int) -> int:
    """`position` counted from 0. Raises UnknownPlaceError outside the prompt."""
    if not -n_positions <= position < n_positions:
        raise UnknownPlaceError(
            f"Position {position}: the prompt has {n_positions} tokens, positions "
            f"0-{n_positions - 1} (or -1 for the last). `patchwright tokens` shows them."
        )
    return position % n_positions


def _check_index(what: str, index: int | None, size: int, place: Place, sizes: Sizes) -> None:
    if index is not None and not 0 <= index < size:
        raise UnknownPlaceError(
            f"'{place}': {sizes.name} has {what}s 0-{size - 1} in each layer. "
            f"`patchwright places --model {sizes.name}` lists its places."
        )


def _check_form(place: Place, text: str) -> None:
    if place.head is not None and place.site not in HEAD_SITES:
        heads = ", ".join(site for site in SITES if site in HEAD_SITES)
        raise UnknownPlaceError(
            f"'{text}': the site '{place.site}' has no heads. The sites with heads are {heads}."
        )
    if place.neuron is not None and place.site != "mlp_act":
        raise UnknownPlaceError(f"'{text}': only the site 'mlp_act' has neurons.")
    if place.site == "embed" and place.layer is not None:
        raise UnknownPlaceError(f"'{text}': the token embedding has no layer; write embed@3.")
    if place.site != "embed" and place.layer is None:
        raise UnknownPlaceError(f"'{text}': name its layer, as in L0.{text}.")
