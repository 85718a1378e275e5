"""Ablation against hooks that write zeros, means, or another prompt's activations."""

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

import patchwright as pw
from hooks import activation, changed_logits
from patchwright.errors import ExperimentError, UnequalLengthsError
from patchwright.places import Site
from tiny import N_HEADS, N_LAYERS, pair_of

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]
OTHERS = [[1, 2, 3, 4], [11, 12, 13, 14], [20, 21, 22, 23]]
PAIR = pair_of(CLEAN, CORRUPT)


def by_hooks(
    gpt2: GPT2LMHeadModel, site: Site, layer: int, at: tuple[slice | int, ...], value: Tensor
) -> float:
    """The logit difference of the clean run with `value` written at [position, index]."""

    def change(live: Tensor) -> None:
        live[at] = value[at]

    last = changed_logits(gpt2, CLEAN, [(site, layer, change)])[-1]
    return (last[7] - last[11]).item()


def reference(gpt2: GPT2LMHeadModel, site: Site, layer: int, how: str) -> Tensor:
    own = activation(gpt2, CLEAN, site, layer)
    others = torch.stack([activation(gpt2, prompt, site, layer) for prompt in OTHERS])
    means = {"zero": torch.zeros_like(own), "mean": others.mean(dim=0)}
    return means[how] if how in means else others.mean(dim=(0, 1)).expand_as(own)


@pytest.mark.parametrize("site", ["resid_pre", "mlp_out", "attn_out"])
@pytest.mark.parametrize("how", ["zero", "mean", "mean over all"])
def test_ablating_positions_equals_hooks(
    gpt2: GPT2LMHeadModel, model: pw.Model, site: Site, how: str
) -> None:
    result = pw.ablate(
        *(model, PAIR, site),
        how=how.split()[0], prompts=OTHERS, by_position=how != "mean over all", bos=False,
    )  # fmt: skip
    for layer in range(N_LAYERS):
        value = reference(gpt2, site, layer, how)
        for position in range(len(CLEAN)):
            expected = by_hooks(gpt2, site, layer, (position,), value)
            found = float(result.patched.sel(layer=layer, position=position))
            assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("site", ["z", "q", "v", "pattern"])
@pytest.mark.parametrize("how", ["zero", "mean"])
def test_ablating_heads_equals_hooks(
    gpt2: GPT2LMHeadModel, model: pw.Model, site: Site, how: str
) -> None:
    result = pw.ablate(model, PAIR, site, how=how, prompts=OTHERS, bos=False)
    for layer in range(N_LAYERS):
        value = reference(gpt2, site, layer, how)
        for head in range(N_HEADS):
            expected = by_hooks(gpt2, site, layer, (slice(None), head), value)
            found = float(result.patched.sel(layer=layer, head=head))
            assert found == pytest.approx(expected, abs=1e-9)


def test_resampling_writes_one_of_the_prompts_the_same_for_the_same_seed(
    gpt2: GPT2LMHeadModel, model: pw.Model
) -> None:
    values = [
        [by_hooks(gpt2, "mlp_out", 1, (2,), activation(gpt2, other, "mlp_out", 1))]
        for other in OTHERS
    ]
    found = [
        float(
            pw.ablate(model, PAIR, "mlp_out", how="resample", prompts=OTHERS, seed=s, bos=False)
            .patched.sel(layer=1, position=2)
        )
        for s in (0, 0, 1, 2, 3, 4, 5)
    ]  # fmt: skip
    assert found[0] == found[1]
    assert all(np.isclose(values, one, rtol=0, atol=1e-9).any() for one in found)
    assert len({round(one, 6) for one in found}) > 1


def test_the_effect_is_the_share_of_the_gap_that_is_lost(model: pw.Model) -> None:
    result = pw.ablate(model, PAIR, "z", bos=False)
    gap = result.clean.metric - result.corrupt.metric
    expected = (result.clean.metric - result.patched) / gap
    np.testing.assert_allclose(result.effect, expected, atol=1e-12)


def test_ablating_by_the_clean_prompt_itself_changes_nothing(model: pw.Model) -> None:
    result = pw.ablate(model, PAIR, "z", how="resample", prompts=[CLEAN], bos=False)
    np.testing.assert_allclose(result.patched, result.clean.metric, rtol=0, atol=1e-12)


def test_reference_prompts_are_needed_and_must_fit(model: pw.Model) -> None:
    with pytest.raises(ExperimentError, match="needs reference prompts"):
        pw.ablate(model, PAIR, how="mean")
    with pytest.raises(UnequalLengthsError, match="mean over all positions"):
        pw.ablate(model, PAIR, how="mean", prompts=[[1, 2]])
    assert pw.ablate(model, PAIR, how="mean", prompts=[[1, 2]], by_position=False).patched.size
    with pytest.raises(ExperimentError, match="how"):
        pw.ablate(model, PAIR, how="burn")
