"""Golden: what the table says of a site is so, in the engine, the plain pass and the documentation."""

from pathlib import Path
from typing import get_args

import pytest
import torch

import patchwright as pw
from families import FAMILIES, MISSING
from http_service import client_of
from patchwright.errors import UnknownPlaceError
from patchwright.model import ops
from patchwright.model.batched_forward import BatchedForward
from patchwright.model.edits import Edit
from patchwright.model.forward import forward
from patchwright.model.plain_forward import plain_forward
from patchwright.model.requests import BASE_SITES, Row, Run, patched_row
from patchwright.places import (
    BEFORE_HEADS,
    HEAD_SITES,
    KV_SITES,
    SITE_TABLE,
    SITES,
    Place,
    Site,
    layer_or_none,
    layer_order,
    layers_of,
    n_heads_of,
    reads_from,
)

PROMPT = (3, 1, 4, 1, 5)
LAYER, AT = 1, 1
"""What is edited: neither the first nor the last layer and position."""

DOCUMENTED = Path(__file__).parents[1] / "docs" / "methods" / "README.md"
BOTH = ("gpt2", "gpt_neox")
"""A family of sequential and one of parallel blocks."""


def model_of(family: str) -> pw.Model:
    return pw.wrap_model(FAMILIES[family](seed=0))


def base_of(model: pw.Model) -> Run:
    keep = BASE_SITES | frozenset(model.spec.sites)
    return forward(model.network, [Row(PROMPT, len(PROMPT) - 1)], keep)[0]


def edited(model: pw.Model, base: Run, site: Site) -> Run:
    """The run with other numbers at `site` of one layer and one position."""
    layer = LAYER if SITE_TABLE[site].in_layers else 0
    edit = Edit(site, layer, AT, base.kept[site][layer][AT : AT + 1] + 1.0)
    return forward(
        model.network, [patched_row(base, edit)], BASE_SITES | frozenset(model.spec.sites)
    )[0]


def test_the_table_has_each_site_once_in_the_order_of_its_type() -> None:
    assert get_args(Site) == SITES == tuple(SITE_TABLE)
    assert all(row.name == name for name, row in SITE_TABLE.items())
    assert len({row.meaning for row in SITE_TABLE.values()}) == len(SITES)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_passes_keep_a_site_in_the_shape_and_the_layers_of_its_row(family: str) -> None:
    model = model_of(family)
    network, spec = model.network, model.spec
    run = base_of(model)
    embedding = ops.embedding(network, torch.tensor(PROMPT))
    _, taps = plain_forward(network, embedding, frozenset(spec.sites))
    for site in spec.sites:
        assert len(run.kept[site]) == len(taps[site]) == len(layers_of(site, spec.n_layers))
        for kept, tap in zip(run.kept[site], taps[site], strict=True):
            assert kept.shape == tap.shape == spec.shape_of(site, len(PROMPT)), site
            assert kept[0].numel() == spec.width_of(site, len(PROMPT))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_site_counts_the_heads_of_its_row_and_no_more(family: str) -> None:
    spec = model_of(family).spec
    for site in HEAD_SITES:
        n_heads = spec.n_kv_heads if site in KV_SITES else spec.n_heads
        assert n_heads_of(site, spec) == n_heads
        assert Place(site, 0, head=n_heads - 1).within(spec, len(PROMPT)).head == n_heads - 1
        with pytest.raises(UnknownPlaceError, match=f"heads 0-{n_heads - 1}"):
            Place(site, 0, head=n_heads).within(spec, len(PROMPT))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_without_the_sites_whose_rows_say_so(family: str) -> None:
    spec = model_of(family).spec
    missing = set(SITES) - set(spec.sites)
    assert missing == MISSING.get(family, frozenset())
    for site in missing:
        with pytest.raises(UnknownPlaceError, match=r", whose .* Its sites are"):
            Place(site, layer_or_none(site, 0)).within(spec, len(PROMPT))


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Site]]:
    """The layers and sites that rows under way come by."""
    found: list[tuple[int, Site]] = []
    apply_edits = BatchedForward.apply_edits

    def recorded(batch: BatchedForward, layer: int, site: Site, name: str) -> None:
        if batch.groups:
            found.append((layer, site))
        apply_edits(batch, layer, site, name)

    monkeypatch.setattr(BatchedForward, "apply_edits", recorded)
    return found


@pytest.mark.parametrize("family", BOTH)
def test_the_engine_meets_the_sites_in_the_order_of_the_table(
    family: str, met: list[tuple[int, Site]]
) -> None:
    model = model_of(family)
    forward(model.network, [Row(PROMPT, 0)], frozenset(SITES))
    order = layer_order(model.spec.parallel)
    assert sorted(order) == sorted(SITES)
    expected = [
        (layer, site)
        for layer in range(model.spec.n_layers)
        for site in order
        if layer in layers_of(site, model.spec.n_layers)
    ]
    assert met == expected


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("family", BOTH)
def test_a_run_begins_at_the_entry_of_the_site_that_is_edited(
    family: str, site: Site, met: list[tuple[int, Site]]
) -> None:
    model = model_of(family)
    base = base_of(model)
    met.clear()
    edited(model, base, site)
    entry, layer = SITE_TABLE[site].entry, LAYER if SITE_TABLE[site].in_layers else 0
    order = layer_order(model.spec.parallel)
    assert met[0][0] == layer
    assert [one for at, one in met if at == layer] == list(order[order.index(entry) :])


@pytest.mark.parametrize("sender", ["z", "attn_out", "mlp_out"])
@pytest.mark.parametrize("receiver", ["q", "k", "v", "mlp_out"])
@pytest.mark.parametrize("family", BOTH)
def test_a_site_reads_from_another_of_its_layer_where_the_table_says_so(
    family: str, receiver: Site, sender: Site
) -> None:
    model = model_of(family)
    base = base_of(model)
    run = edited(model, base, sender)
    reads = not torch.equal(run.kept[receiver][LAYER], base.kept[receiver][LAYER])
    assert receiver == sender or reads == reads_from(receiver, sender, model.spec.parallel)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("family", BOTH)
def test_attention_carries_a_site_to_later_positions_where_keys_are_made_of_it(
    family: str, site: Site
) -> None:
    model = model_of(family)
    base = base_of(model)
    run, layer = edited(model, base, site), LAYER if SITE_TABLE[site].in_layers else 0
    carried = not torch.equal(run.kept["z"][layer][AT + 1 :], base.kept["z"][layer][AT + 1 :])
    assert carried == (site in BEFORE_HEADS or site in KV_SITES)


@pytest.mark.parametrize("site", SITES)
def test_a_site_has_a_row_of_documentation_with_its_kinds_of_sweep(site: Site) -> None:
    rows = [line for line in DOCUMENTED.read_text(encoding="utf-8").splitlines() if "|" in line]
    pers = ", ".join(SITE_TABLE[site].pers)
    assert [line for line in rows if f"`{site}`" in line and line.endswith(f"| {pers} |")]


def test_the_http_interface_takes_exactly_the_sites_of_the_table(model: pw.Model) -> None:
    with client_of(model) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for method in ("Patch", "Ablate", "Attribute", "PathPatch", "Difference"):
        assert tuple(schemas[method]["properties"]["site"]["enum"]) == SITES
