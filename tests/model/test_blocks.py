"""Blocks that are not GPT-2's or Llama's: side by side, normed jointly or behind, capped, routed."""

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import patchwright as pw
from families import FAMILIES, MISSING
from hooks import activation, changed_logits, logits
from patchwright.axes import Per
from patchwright.errors import ExperimentError, UnknownPlaceError
from patchwright.model.ops import queries_keys_values
from patchwright.model.weights import map_tensors
from patchwright.places import SITES, Site
from tiny import WIDTH, pair_of

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_site_that_a_family_does_not_have_is_refused_with_those_that_it_has(family: str) -> None:
    model = pw.wrap_model(FAMILIES[family](), name="tiny")
    missing = MISSING.get(family, frozenset())
    assert set(model.spec.sites) == set(SITES) - missing
    pair = pair_of([1, 2, 3], [1, 4, 3])
    for site in missing:
        asked = (
            lambda site=site: pw.patch(model, pair, site),
            lambda site=site: pw.ablate(model, pair, site),
            lambda site=site: pw.attribute(model, pair, site),
            lambda site=site: pw.difference(model, pair, site),
            lambda site=site: pw.patch_together(model, pair, [f"L1.{site}@1"]),
            lambda site=site: pw.logit_lens(model, pair, [f"L1.{site}"]),
        )
        for one in asked:
            with pytest.raises(
                UnknownPlaceError, match=f"'{site}' .* is not in tiny, whose .*: embed"
            ):
                one()
    if "mlp_act" in missing:
        with pytest.raises(UnknownPlaceError, match=r"'mlp_act' .* is not in tiny"):
            pw.logit_attribution(model, pair, "neuron")


def test_fused_projections_by_turns_are_one_product_and_views() -> None:
    module = FAMILIES["gpt_neox"]()
    layer = pw.wrap_model(module).network.layers[0]
    (joint,) = layer.qkv
    own = module.get_submodule("gpt_neox.layers.0.attention.query_key_value")
    assert joint.weight.data_ptr() == own.get_parameter("weight").data_ptr()
    assert joint.bias is not None
    assert joint.bias.data_ptr() == own.get_parameter("bias").data_ptr()
    moved = map_tensors(layer, lambda tensor: tensor.clone())
    x = torch.randn(5, WIDTH, dtype=torch.float64)
    for one, other in zip(
        queries_keys_values(x, layer), queries_keys_values(x, moved), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


JOINTLY = ("olmo2", "olmoe")


@pytest.mark.parametrize("family", JOINTLY)
def test_what_changes_one_heads_queries_where_all_are_normed_together_is_said(family: str) -> None:
    model, pair = pw.wrap_model(FAMILIES[family](), name="tiny"), pair_of([1, 2, 3], [1, 4, 3])
    said = (
        pw.patch(model, pair, "q", "head"),
        pw.ablate(model, pair, "k", "head_position"),
        pw.patch_together(model, pair, ["L1H1.q"]),
        pw.path_patch(model, pair, ["L2H0.k"]),
    )
    unsaid = (
        pw.patch(model, pair, "q", "layer"),
        pw.patch(model, pair, "v", "head"),
        pw.patch_together(model, pair, ["L1H1.z", "L2.k"]),
        pw.path_patch(model, pair, ["logits"]),
    )
    for results, there in ((said, True), (unsaid, False)):
        for result in results:
            codes = [notice["code"] for notice in result.warnings]
            assert ("joint_norm" in codes) is there, result.method
    circuit = pw.Circuit(
        model="tiny", fingerprint=model.fingerprint, edges=(("embed", "logits"),), scores=(1.0,)
    )
    for refused in (
        lambda: pw.edge_attribution(model, pair),
        lambda: pw.evaluate_circuit(model, pair, circuit),
    ):
        with pytest.raises(ExperimentError, match="no edge leads into a single head"):
            refused()


@pytest.mark.parametrize("site", ["q", "k"])
@pytest.mark.parametrize("per", ["head", "head_position", "position", "layer"])
def test_the_fix_redoes_the_patterns_of_all_heads_that_are_normed_together(
    site: Site, per: Per
) -> None:
    module = FAMILIES["olmo2"]()
    model = pw.wrap_model(module, name="tiny")
    pair = pair_of(CLEAN, CORRUPT)
    found = pw.attribute(model, pair, site, per, estimator="qk_fix", direction="noise").patched
    base = logits(module, CLEAN)[-1]
    for cell in list(np.ndindex(*found.shape))[::3]:
        at = dict(zip(found.dims, cell, strict=True))
        slope = slope_of_patterns(module, site, at["layer"], at.get("position"), at.get("head"))
        expected = float(base[7] - base[11]) + slope
        assert float(found.values[cell]) == pytest.approx(expected, abs=1e-6)


def slope_of_patterns(
    module: PreTrainedModel, site: Site, layer: int, position: int | None, head: int | None
) -> float:
    """The logit difference's slope towards the patterns of a layer with the site changed there."""
    source = activation(module, CORRUPT, site, layer)
    own = activation(module, CLEAN, "pattern", layer)
    at = slice(None) if position is None else position, slice(None) if head is None else head
    new: list[Tensor] = []

    def change(live: Tensor) -> None:
        live[at] = source[at]

    def look(live: Tensor) -> None:
        new.append(live.clone())

    changed_logits(module, CLEAN, [(site, layer, change), ("pattern", layer, look)])

    def moved(step: float) -> float:
        def move(live: Tensor) -> None:
            live += step * (new[0] - own)

        last = changed_logits(module, CLEAN, [("pattern", layer, move)])[-1]
        return float(last[7] - last[11])

    return (moved(1e-5) - moved(-1e-5)) / 2e-5


def test_capped_logits_are_read_capped_and_attributed_as_they_are_before_the_cap() -> None:
    module, pair = FAMILIES["gemma2"](), pair_of(CLEAN, CORRUPT)
    model = pw.wrap_model(module, name="tiny")
    capped = logits(module, CLEAN)[-1]
    result = pw.logit_attribution(model, pair, "layer")
    assert result.clean.logit_diff == pytest.approx(float(capped[7] - capped[11]), abs=1e-9)
    before = 2.0 * torch.atanh(capped / 2.0)
    total = float(result.arrays["components"].sel(run="clean").sum())
    assert total == pytest.approx(float(before[7] - before[11]), abs=1e-9)
    lens = pw.logit_lens(model, pair, bos=False).arrays["logit_diff"].sel(run="clean")
    assert float(lens[-1, -1]) == pytest.approx(float(capped[7] - capped[11]), abs=1e-9)
