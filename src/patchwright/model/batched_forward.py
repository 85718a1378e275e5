"""The rows under way through the layers, in groups that share each operation.

A group's rows differ from their base runs in the same stretch of positions. Rows wait
until the layer and stage of their first edit, enter with their base runs' activations,
join a group, and are widened and narrowed as attention carries changes to the right and
as less is read. What looks at each token alone is one product for all groups.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchwright.model import ops
from patchwright.model.edits import Edit
from patchwright.model.requests import Row, Run
from patchwright.model.weights import Layer, Network, Norm, Rotary
from patchwright.places import BEFORE_HEADS, KV_SITES, SITE_TABLE, Site, layer_order, layers_of

_HEADS: dict[str, Site] = {"q": "q", "k": "k", "v": "v"}
_Stages = dict[Site, tuple[tuple[Site, ...], dict[str, Site]]]


def _stages(parallel: bool) -> _Stages:
    """The order of a layer. Of each site at which rows enter: the sites whose first edit lets a row
    enter there, and what the row then takes from its base run (live tensor -> site).

    Besides the site's own, these are the residual stream before it and the heads that attention
    has still to read. In a parallel block that is so behind the MLP, and `resid_mid` is what the
    base run has between the two.
    """
    stages: _Stages = {}
    stream: dict[str, Site] = {}
    for site in layer_order(parallel):
        entering: tuple[Site, ...] = tuple(
            name for name, row in SITE_TABLE.items() if row.entry == site
        )
        half = SITE_TABLE[site].half
        if half is None:
            stream = {"x": site} if SITE_TABLE[site].in_layers else {}
        heads = _HEADS if site == "q" or (parallel and half == "mlp") else {}
        taken: dict[str, Site] = {**stream, **heads}
        if half is not None and site not in heads:
            taken[site] = site
        if entering:
            stages[site] = entering, taken
    return stages


_STAGES = {parallel: _stages(parallel) for parallel in (False, True)}


@dataclass
class RowGroup:
    """Rows that differ from their base runs in the same stretch of positions.

    `bases` are the rows' base runs in the order of the rows, each with the number of
    rows that follow one another over it; empty where rows have none. `live` tensors are
    [row, position, ...] over positions start to stop; keys and values begin at
    `keys_from`, what is left of it is the base runs'.
    """

    is_based: bool
    read: int
    length: int
    start: int
    stop: int
    keys_from: int
    rows: list[int] = field(default_factory=list[int])
    bases: list[tuple[Run, int]] = field(default_factory=list[tuple[Run, int]])
    live: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def key(self) -> tuple[int, ...]:
        """Groups with equal keys can be one group."""
        return (self.is_based, self.read, self.length, self.start, self.stop, self.keys_from)

    def add(self, rows: Iterable[int], bases: Iterable[tuple[Run, int]]) -> None:
        """Append rows with their base runs."""
        self.rows.extend(rows)
        for base, count in bases:
            last, before = self.bases[-1] if self.bases else (None, 0)
            if last is base:
                self.bases[-1] = base, before + count
            else:
                self.bases.append((base, count))

    def base_values(
        self, site: Site | Literal["keys"], layer: int, first: int, last: int
    ) -> Tensor:
        """What the rows' base runs have there, [row, position, ...]; not to be written to."""
        parts: list[Tensor] = []
        for base, count in self.bases:
            kept = base.keys if site == "keys" else base.kept[site]
            own = kept[layer][first:last]
            parts.append(own.expand(count, *own.shape))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def all_positions(
        self,
        own: Float[Tensor, "row own_key kv_head d_head"],
        site: Literal["keys", "v"],
        layer: int,
    ) -> Float[Tensor, "row key kv_head d_head"]:
        """Keys or values of all positions: the base runs', then the rows' own."""
        if not self.is_based or self.keys_from == 0:
            return own
        return torch.cat([self.base_values(site, layer, 0, self.keys_from), own], dim=1)

    def narrow(self) -> None:
        """Drop what nobody reads from the residual stream; keys and values stay."""
        cut = min(max(self.read - self.start, 0), self.stop - self.start)
        for name in ("x", "q"):
            self.live[name] = self.live[name][:, cut:]
        self.start += cut

    def widen(self, layer: int, stream: Site) -> None:
        """Let the rows reach the end of the prompt: attention carries changes right.

        `stream` is the site that the residual stream is at. Rows without keys of their own stay.
        """
        if not self.is_based or self.stop == self.length or self.keys_from == self.length:
            return
        # A narrowed group may hold nothing of its own and begin at what is read.
        tail_from = max(self.stop, self.read) if self.start == self.stop else self.stop
        tails: dict[str, Site] = {"x": stream, **_HEADS}
        for name, site in tails.items():
            first = self.stop if name in ("k", "v") else tail_from
            tail = self.base_values(site, layer, first, self.length)
            self.live[name] = torch.cat([self.live[name], tail], dim=1)
        if self.start == self.stop:
            self.start = tail_from
        self.stop = self.length


class BatchedForward:
    """The rows under way, and what the layers do to them."""

    def __init__(
        self, network: Network, rows: Sequence[Row], keep: frozenset[Site], freeze_norms: bool
    ) -> None:
        self.network = network
        self.freeze_norms = freeze_norms
        self.rows = rows
        self.keep = keep
        self.groups: list[RowGroup] = []
        self.device = network.embed.device
        self._stages = _STAGES[network.spec.parallel]
        self._longest = max((len(row.tokens) for row in rows), default=0)
        self._visible: dict[int | None, Tensor] = {}
        self._rotations: dict[Rotary | None, ops.Rotation | None] = {}
        self._edits: dict[tuple[int, Site], dict[int, list[Edit]]] = {}
        self._waiting: dict[tuple[int, Site], list[int]] = {}
        for index, row in enumerate(rows):
            self._waiting.setdefault(_entry(row, self._stages), []).append(index)
            for edit in row.edits:
                at = self._edits.setdefault((edit.layer, edit.site), {})
                at.setdefault(index, []).append(edit)
        self._kept: list[dict[Site, list[Tensor]]] = []
        self._keys: list[list[Tensor]] = []
        self._bases: list[Run | None] = []
        for row in rows:
            base = self._unfinished_run(row.base) if isinstance(row.base, Row) else row.base
            self._bases.append(base)
            self._kept.append(_initial_activations(base, keep, network.spec.n_layers))
            self._keys.append(_initial_keys(base, keep, network.spec.n_layers))

    def _unfinished_run(self, base: Row) -> Run:
        """The run of a row of this batch: what it keeps grows layer by layer."""
        index = next(i for i, row in enumerate(self.rows) if row is base)
        final = self.network.embed.new_empty(0, self.network.spec.d_model)
        return Run(base.tokens, base.read, final, self._kept[index], self._keys[index])

    def needs_site(self, layer: int, site: Site) -> bool:
        """Whether a site must exist by itself: it is edited here, or kept."""
        return site in self.keep or (layer, site) in self._edits

    def embed(self) -> None:
        """Tokens and positions -> the residual stream of rows with tokens of their own."""
        self._admit_rows(0, "embed", self._embed_tokens)
        self.apply_edits(0, "embed", "embed")
        positions = self.network.embed_position
        for group in self.groups:
            x = group.live["embed"]
            if positions is not None:
                x = x + positions[group.start : group.stop]
            group.live = {"x": x}

    def _embed_tokens(self, group: RowGroup) -> dict[str, Tensor]:
        ids = [self.rows[row].tokens[group.start : group.stop] for row in group.rows]
        indices = torch.tensor(ids, device=self.network.embed.device)
        return {"embed": ops.embedding(self.network, indices)}

    def to_device(self, device: torch.device) -> None:
        """Move what is under way to the next layer's device; base runs have theirs there."""
        if device == self.device:
            return
        self.device = device
        self._visible.clear()
        self._rotations.clear()
        for group in self.groups:
            group.live["x"] = group.live["x"].to(device)

    def admit(self, layer: int, stage: Site) -> None:
        """Let the rows in whose first edit is here, with the base run's activations."""

        def live_tensors(group: RowGroup) -> dict[str, Tensor]:
            return _base_tensors(group, layer, self._stages[stage][1])

        self._admit_rows(layer, stage, live_tensors)

    def _admit_rows(
        self, layer: int, stage: Site, live: Callable[[RowGroup], dict[str, Tensor]]
    ) -> None:
        entering: dict[tuple[int, ...], RowGroup] = {}
        for index in self._waiting.pop((layer, stage), []):
            group, base = self._empty_group(index, layer, stage), self._bases[index]
            if group.start < group.stop:
                group = entering.setdefault(group.key(), group)
                group.add([index], [] if base is None else [(base, 1)])
        for group in entering.values():
            group.live = live(group)
            self.groups.append(group)
        # What a base under way keeps must be there before the rows over it ask for it.
        self.groups.sort(key=lambda group: group.is_based)

    def _empty_group(self, index: int, layer: int, stage: Site) -> RowGroup:
        """An empty group over the positions that a row enters with."""
        row = self.rows[index]
        start, stop = row.extent
        length = len(row.tokens)
        own_keys = any(edit.layer == layer and edit.site in KV_SITES for edit in row.edits)
        before_keys = stage in BEFORE_HEADS
        keys_from = start if own_keys or before_keys else length
        if own_keys and not before_keys:
            stop = length
        elif not before_keys and self._can_drop_unread(layer):
            start = max(start, row.read)
        return RowGroup(self._bases[index] is not None, row.read, length, start, stop, keys_from)

    def _can_drop_unread(self, layer: int) -> bool:
        """In the last layer only what is read matters, unless something is kept."""
        return layer == self.network.spec.n_layers - 1 and not self.keep

    def project(self, layer: int, weights: Layer) -> None:
        """x -> q, k, v by head, where rows have tokens of their own."""
        if not self.groups:
            return
        for group in self.groups:
            group.keys_from = group.start
        normed = self.norm(self._pack("x"), layer, "resid_pre", weights.norm_attn)
        for name, part in zip("qkv", ops.queries_keys_values(normed, weights), strict=True):
            self._unpack(name, part)
        for group in self.groups:
            if self._can_drop_unread(layer):
                group.narrow()

    def widen(self, layer: int, stream: Site) -> None:
        """Let rows reach all positions that attention can change."""
        for group in self.groups:
            group.widen(layer, stream)

    def norm(
        self, x: Float[Tensor, "token d_model"], layer: int, site: Site, by: Norm | None
    ) -> Float[Tensor, "token d_model"]:
        """Layer normalisation of all rows' `site`; frozen ones by the scale of their base runs."""
        like = self.base_values(layer, site) if self.freeze_norms and by is not None else None
        return ops.norm(x, by, like)

    def base_values(self, layer: int, site: Site) -> Float[Tensor, " token *features"]:
        """What the base runs have where the groups' rows are, packed as the rows are."""
        assert all(group.is_based for group in self.groups), (
            "only a row over a base run has frozen norms"
        )
        return torch.cat(
            [
                group.base_values(site, layer, group.start, group.stop).flatten(0, 1)
                for group in self.groups
            ]
        )

    def apply_edits(self, layer: int, site: Site, name: str) -> None:
        """Apply the edits of a site to the live tensor `name`, and keep it if asked."""
        edits = self._edits.get((layer, site), {})
        for group in self.groups:
            first = group.keys_from if site in KV_SITES else group.start
            for row, live in zip(group.rows, group.live[name] if edits else (), strict=False):
                for edit in edits.get(row, ()):
                    edit.apply(live, first)
            if site in self.keep:
                self._store(group, layer, site, group.live[name], first)

    def _store(self, group: RowGroup, layer: int, site: Site, live: Tensor, first: int) -> None:
        whole = live
        if group.is_based:
            left = group.base_values(site, layer, 0, first)
            right = group.base_values(site, layer, first + live.shape[1], group.length)
            whole = torch.cat([left, live, right], dim=1)
        for row, own in zip(group.rows, whole, strict=True):
            self._kept[row][site][layer] = own

    def join_groups(self) -> None:
        """Make one group of those that cover the same stretch."""
        alike: dict[tuple[int, ...], list[RowGroup]] = {}
        for group in self.groups:
            alike.setdefault(group.key(), []).append(group)
        self.groups = [_concatenate(groups) for groups in alike.values()]

    def attend(self, layer: int, weights: Layer) -> None:
        """q, k, v -> z of each group; where a row's pattern is edited, z of that.

        All others take the same way, whatever is kept or edited beside them.
        """
        for group in self.groups:
            q = self._norm_and_rotate(group, "q", layer, weights)
            k = group.all_positions(
                self._norm_and_rotate(group, "k", layer, weights), "keys", layer
            )
            v = group.all_positions(group.live["v"], "v", layer)
            self._store_keys(group, layer, weights, k)
            visible = self._visible_keys(weights.window)[group.start : group.stop, : group.length]
            z = ops.attention(q, k, v, visible, weights)
            group.live = {"x": group.live["x"], "z": z}
            if self.needs_site(layer, "pattern"):
                pattern = ops.attention_pattern(
                    ops.at_least_two_rows(q), ops.at_least_two_rows(k), visible, weights
                )
                group.live |= {"v": v, "pattern": pattern[: len(q)]}
        if self.needs_site(layer, "pattern"):
            self.apply_edits(layer, "pattern", "pattern")
            for group in self.groups:
                self._reattend(layer, group)

    def _reattend(self, layer: int, group: RowGroup) -> None:
        """z of the rows whose pattern is edited, by their pattern."""
        pattern, v = group.live.pop("pattern"), group.live.pop("v")
        edited = self._edits.get((layer, "pattern"), {})
        if rows := [i for i, row in enumerate(group.rows) if row in edited]:
            z = ops.attention_output(
                ops.at_least_two_rows(pattern[rows]), ops.at_least_two_rows(v[rows])
            )
            group.live["z"][rows] = z[: len(rows)]

    def _norm_and_rotate(
        self, group: RowGroup, site: Literal["q", "k"], layer: int, weights: Layer
    ) -> Float[Tensor, "row position head d_head"]:
        """A group's queries or keys as attention compares them."""
        x, first = group.live[site], group.start if site == "q" else group.keys_from
        norm = weights.q_norm if site == "q" else weights.k_norm
        frozen = self.freeze_norms and norm is not None
        like = group.base_values(site, layer, first, first + x.shape[1]) if frozen else None
        turned = self._rotation(weights, x)
        turned = None if turned is None else turned.at_positions(first, first + x.shape[1])
        return ops.norm_and_rotate(x, norm, turned, like)

    def _rotation(self, weights: Layer, x: Tensor) -> ops.Rotation | None:
        """What a layer's queries and keys are turned by, at all positions."""
        by = self._rotations.get(weights.rotary)
        if by is None and weights.rotary is not None:
            by = ops.rotation(weights.rotary, self._longest, x)
            self._rotations[weights.rotary] = by
        return by

    def _store_keys(self, group: RowGroup, layer: int, weights: Layer, keys: Tensor) -> None:
        for row, own in zip(group.rows, keys if "k" in self.keep else (), strict=False):
            as_projected = weights.rotary is None and weights.k_norm is None
            self._keys[row][layer] = self._kept[row]["k"][layer] if as_projected else own

    def _visible_keys(self, window: int | None) -> Bool[Tensor, "query key"]:
        if window not in self._visible:
            self._visible[window] = ops.visible_keys(self._longest, self.device, window)
        return self._visible[window]

    def per_token(
        self, name: str, out: str, by: Callable[[Tensor], Tensor], consume: bool = False
    ) -> None:
        """live[out] = by(live[name]), one product for the tokens of all rows."""
        if self.groups:
            self._unpack(out, by(self._pack(name)))
        for group in self.groups if consume else ():
            del group.live[name]

    def add_to_stream(self, name: str) -> None:
        """x += live[name], which is done with."""
        for group in self.groups:
            group.live["x"] = group.live["x"] + group.live.pop(name)

    def _pack(self, name: str) -> Float[Tensor, " token *features"]:
        """The tokens of all groups under one another."""
        flat = [group.live[name].flatten(0, 1) for group in self.groups]
        return flat[0] if len(flat) == 1 else torch.cat(flat)

    def _unpack(self, name: str, flat: Float[Tensor, " token *features"]) -> None:
        shapes = [(len(group.rows), group.live["x"].shape[1]) for group in self.groups]
        parts = flat.split([rows * positions for rows, positions in shapes])
        for group, shape, part in zip(self.groups, shapes, parts, strict=True):
            group.live[name] = part.unflatten(0, shape)

    def finished_runs(self) -> list[Run]:
        """Each row's run: the base run's final residual stream where it stayed the same."""
        finals = [row.base.final if isinstance(row.base, Run) else None for row in self.rows]
        for group in self.groups:
            low = max(group.start, group.read)
            whole = low == group.read and group.stop == group.length
            for row, x in zip(group.rows, group.live["x"][:, low - group.start :], strict=True):
                finals[row] = x if whole else _overwrite_positions(finals[row], x, low - group.read)
        return [
            Run(row.tokens, row.read, final, kept, keys)
            for row, final, kept, keys in zip(
                self.rows, finals, self._kept, self._keys, strict=True
            )
            if final is not None
        ]


def _entry(row: Row, stages: _Stages) -> tuple[int, Site]:
    """Layer and stage at which a row leaves its base run; (-1, ...) for never."""
    touched = {(edit.layer, edit.site) for edit in row.edits}
    if row.first_own_token < len(row.tokens) or row.base is None:
        touched.add((0, "embed"))
    for layer in sorted({layer for layer, _ in touched}):
        for stage, (sites, _) in stages.items():
            if any((layer, site) in touched for site in sites):
                return layer, stage
    return -1, "embed"


def _initial_activations(
    base: Run | None, keep: frozenset[Site], n_layers: int
) -> dict[Site, list[Tensor]]:
    """What a row keeps before it has run: its base run's activations."""
    if base is None:
        return {site: [torch.empty(0) for _ in layers_of(site, n_layers)] for site in keep}
    return {site: list(base.kept[site]) for site in keep}


def _initial_keys(base: Run | None, keep: frozenset[Site], n_layers: int) -> list[Tensor]:
    """The same of the keys as attention reads them, which come along with k."""
    if "k" not in keep:
        return []
    return [torch.empty(0)] * n_layers if base is None else list(base.keys)


def _base_tensors(group: RowGroup, layer: int, sites: dict[str, Site]) -> dict[str, Tensor]:
    assert group.is_based, "only rows over base runs enter above the embedding"
    live: dict[str, Tensor] = {}
    for name, site in sites.items():
        first, last = group.start, group.stop
        if name in ("k", "v"):
            first, last = group.keys_from, group.length
        live[name] = group.base_values(site, layer, first, last).clone()
    return live


def _concatenate(groups: list[RowGroup]) -> RowGroup:
    first, *others = groups
    if others:
        first.live = {
            name: torch.cat([group.live[name] for group in groups]) for name in first.live
        }
    for group in others:
        first.add(group.rows, group.bases)
    return first


def _overwrite_positions(final: Tensor | None, x: Tensor, at: int) -> Tensor:
    """`final` with `x` in the place of its rows from `at` on."""
    assert final is not None, "a row without a base covers all that is read"
    final = final.clone()
    final[at : at + x.shape[0]] = x
    return final
