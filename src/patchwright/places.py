"""Places: one site at one layer, and where it applies.

A place is written `L9.resid_pre@14`, `L9H6.z`, `L9H6.z@14`, `L3.mlp_act[217]@2`,
`embed@3`; `@-1` is the last position. What is left out means all of them: `L9.z`
is every head of layer 9 at every position. Parsing and printing are inverse.

What is known about each site stands once, in the Site table, `SITE_TABLE`.
"""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from patchwright.axes import Per
from patchwright.errors import UnknownPlaceError, quoted

if TYPE_CHECKING:
    from patchwright.model.spec import ModelSpec

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

Half = Literal["attention", "mlp"]
"""The two parts of a layer, each of which adds to the residual stream."""


@dataclass(frozen=True)
class SiteSpec:
    """One site: what it is, how it is shaped, and where it stands in a layer.

    To add one, add its name to `Site` and a row to the table, let `forward` and `plain_forward`
    pass it, and say in `tests/hooks.py` where the Hugging Face model has it.
    """

    name: Site
    label: str
    """Short enough for a control of the page."""
    meaning: str
    shape: tuple[str, ...]
    """The axes (`axes`) of what a run keeps of it in a layer; the first one is the position."""
    half: Half | None = None
    """The half of the layer that it is part of; without one it is the residual stream."""
    in_layers: bool = True
    """Whether every layer has it."""
    absent_if: Literal["parallel", "routed"] | None = None
    """The kind of block that does not have it (`model.spec.ModelSpec`)."""
    begins_at: Site | None = None
    """Where a run begins to compute whose first edit is here, if not here."""

    @property
    def entry(self) -> Site:
        """Where a run begins to compute whose first edit is here."""
        return self.begins_at or self.name

    @property
    def phrase(self) -> str:
        """What a sentence calls it: 'the residual stream entering a layer'."""
        short = self.meaning.partition(",")[0]
        return short if short.startswith(("a ", "an ", "what ")) else f"the {short}"

    @property
    def pers(self) -> tuple[Per, ...]:
        """The kinds of sweep that it has; the first is its default."""
        if self.name in HEAD_SITES:
            return ("head", "head_position", "position", "layer")
        if self.name in NEURON_SITES:
            return ("position", "layer", "neuron")
        return ("position", "layer")


_STREAM = ("position", "d_model")
_HEAD, _KV_HEAD = ("position", "head", "d_head"), ("position", "kv_head", "d_head")

_ROWS = (
    SiteSpec(
        "embed",
        "token embedding",
        "token embedding, before positions are added",
        _STREAM,
        in_layers=False,
    ),
    SiteSpec(
        "resid_pre",
        "residual stream entering the layer",
        "residual stream entering a layer",
        _STREAM,
    ),
    SiteSpec("q", "queries", "a head's queries, as projected", _HEAD, "attention"),
    SiteSpec("k", "keys", "a head's keys, as projected", _KV_HEAD, "attention", begins_at="q"),
    SiteSpec("v", "values", "a head's values", _KV_HEAD, "attention", begins_at="q"),
    SiteSpec(
        "pattern",
        "attention weights",
        "a head's attention weights after the softmax, by query position",
        ("query", "head", "key"),
        "attention",
        begins_at="q",
    ),
    SiteSpec(
        "z", "head output", "a head's output before the output projection", _HEAD, "attention"
    ),
    SiteSpec(
        "attn_out",
        "attention output",
        "what attention adds to the residual stream",
        _STREAM,
        "attention",
    ),
    SiteSpec(
        "resid_mid",
        "residual stream before the MLP",
        "residual stream between attention and MLP",
        _STREAM,
        absent_if="parallel",
    ),
    SiteSpec(
        "mlp_act",
        "neurons",
        "an MLP's neurons, as they enter its last projection",
        ("position", "neuron"),
        "mlp",
        absent_if="routed",
    ),
    SiteSpec("mlp_out", "MLP output", "what the MLP adds to the residual stream", _STREAM, "mlp"),
    SiteSpec(
        "resid_post",
        "residual stream leaving the layer",
        "residual stream leaving a layer",
        _STREAM,
    ),
)

SITE_TABLE: dict[Site, SiteSpec] = {row.name: row for row in _ROWS}
SITES: tuple[Site, ...] = tuple(SITE_TABLE)


def _sites_with_axis(*axes: str) -> frozenset[Site]:
    return frozenset(row.name for row in _ROWS if set(axes) & set(row.shape))


HEAD_SITES = _sites_with_axis("head", "kv_head")
KV_SITES = _sites_with_axis("kv_head")
"""Sites that count key/value heads, of which there may be fewer: each serves a group of query heads."""
NEURON_SITES = _sites_with_axis("neuron")
KEYED_SITES = _sites_with_axis("key")
"""Sites whose numbers are those of key positions: prompts of unequal length have different ones."""

BEFORE_HEADS: tuple[Site, ...] = SITES[: SITES.index("q")]
"""Sites that queries, keys and values are computed from, in their own layer."""

_ABSENCE_REASONS = {
    "parallel": ", whose attention and MLP read the same stream",
    "routed": ", whose experts change from token to token",
}
"""Why a model may be without a site."""


def layer_order(parallel: bool) -> tuple[Site, ...]:
    """The sites in the order in which the engine meets them.

    In a parallel block the MLP comes first, so that a run that begins at the heads computes no
    MLP; what is between the two halves is then no site, but the engine passes it.
    """
    if not parallel:
        return SITES
    attention: list[Site] = [row.name for row in _ROWS if row.half == "attention"]
    mlp: list[Site] = [row.name for row in _ROWS if row.half == "mlp"]
    first, last = SITES.index(attention[0]), SITES.index(mlp[-1])
    between: list[Site] = [row.name for row in _ROWS[first:last] if row.half is None]
    return (*SITES[:first], *mlp, *between, *attention, *SITES[last + 1 :])


def reads_from(receiver: Site, sender: Site, parallel: bool) -> bool:
    """Whether one site reads what another of its own layer adds to the residual stream."""
    halves = SITE_TABLE[sender].half, SITE_TABLE[receiver].half
    return halves == ("attention", "mlp") and not parallel


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

    def within(self, spec: "ModelSpec", n_positions: int) -> "Place":
        """This place with its position counted from 0.

        Raises UnknownPlaceError where the model or the prompt has no such place.
        """
        check_layer(self.layer, self.site, spec)
        n_heads = n_heads_of(self.site, spec)
        kind = "head" if n_heads == spec.n_heads else "key/value head"
        _check_index(kind, self.head, n_heads, self, spec)
        _check_index("neuron", self.neuron, spec.d_mlp, self, spec)
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


def n_heads_of(site: Site, spec: "ModelSpec") -> int:
    """How many heads `site` has in each layer; one with heads is asked for."""
    return spec.n_kv_heads if site in KV_SITES else spec.n_heads


def pers_of(site: Site) -> tuple[Per, ...]:
    """The kinds of sweep that `site` has; the first is its default."""
    return SITE_TABLE[site].pers


def layers_of(site: Site, n_layers: int) -> range:
    """The layers that `site` is kept at; the token embedding's counts as layer 0."""
    return range(n_layers) if SITE_TABLE[site].in_layers else range(1)


def layer_or_none(site: Site, layer: int) -> int | None:
    """`layer` as a place of `site` names it: not at all where no layer has the site."""
    return layer if SITE_TABLE[site].in_layers else None


def check_layer(layer: int | None, site: Site, spec: "ModelSpec") -> None:
    """Raise UnknownPlaceError where the model has no such site, or `site` no such layer."""
    row = SITE_TABLE[site]
    if site not in spec.sites:
        raise UnknownPlaceError(
            f"The site '{site}' ({row.meaning}) is not in {spec.name}"
            f"{_ABSENCE_REASONS.get(row.absent_if or '', '')}. Its sites are: {', '.join(spec.sites)}."
        )
    if (layer is not None) != row.in_layers:
        needs = "needs a layer, as in L0." + site if row.in_layers else "has no layer"
        raise UnknownPlaceError(f"The site '{site}' {needs}.")
    if layer is not None and not 0 <= layer < spec.n_layers:
        raise UnknownPlaceError(
            f"Layer {layer}: {spec.name} has layers 0-{spec.n_layers - 1}. "
            f"`patchwright places --model {spec.name}` lists its places."
        )


def check_position(position: int, n_positions: int) -> int:
    """`position` counted from 0. Raises UnknownPlaceError outside the prompt."""
    if not -n_positions <= position < n_positions:
        raise UnknownPlaceError(
            f"Position {position}: the prompt has {n_positions} tokens, positions "
            f"0-{n_positions - 1} (or -1 for the last). `patchwright tokens` shows them."
        )
    return position % n_positions


def _check_index(what: str, index: int | None, size: int, place: Place, spec: "ModelSpec") -> None:
    if index is not None and not 0 <= index < size:
        raise UnknownPlaceError(
            f"'{place}': {spec.name} has {what}s 0-{size - 1} in each layer. "
            f"`patchwright places --model {spec.name}` lists its places."
        )


def _check_form(place: Place, text: str) -> None:
    if place.head is not None and place.site not in HEAD_SITES:
        heads = ", ".join(site for site in SITES if site in HEAD_SITES)
        raise UnknownPlaceError(
            f"'{text}': the site '{place.site}' has no heads. The sites with heads are {heads}."
        )
    if place.neuron is not None and place.site not in NEURON_SITES:
        neurons = " and ".join(f"'{site}'" for site in SITES if site in NEURON_SITES)
        raise UnknownPlaceError(f"'{text}': only the site {neurons} has neurons.")
    in_layers = SITE_TABLE[place.site].in_layers
    if place.layer is not None and not in_layers:
        raise UnknownPlaceError(f"'{text}': the token embedding has no layer; write embed@3.")
    if place.layer is None and in_layers:
        raise UnknownPlaceError(f"'{text}': name its layer, as in L0.{text}.")
