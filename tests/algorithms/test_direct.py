"""Direct logit attribution: what the parts are, and that they add up."""

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel, PreTrainedModel

import every_method
import patchwright as pw
from hooks import activation, final_norm, logits, norm_scale, normed, written_by_head
from tiny import N_HEADS, N_LAYERS, pair_of

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]
PAIR = pair_of(CLEAN, CORRUPT, answer=[7, 13], wrong=[11])
PARTS = ["layer", "head", "position", "neuron"]


def logit_difference(module: PreTrainedModel, prompt: list[int]) -> float:
    last = logits(module, prompt)[-1]
    return (last[[7, 13]].mean() - last[11]).item()


@pytest.mark.every_family(without=("mixtral",))
@pytest.mark.parametrize("part", PARTS)
def test_components_sum_to_the_logit_difference(
    module: PreTrainedModel, model: pw.Model, part: str
) -> None:
    result = pw.logit_attribution(model, PAIR, part, bos=False)
    for run, prompt in (("clean", CLEAN), ("corrupt", CORRUPT)):
        total = float(result.arrays["components"].sel(run=run).sum())
        assert total == pytest.approx(logit_difference(module, prompt), abs=1e-9)


@pytest.mark.every_family(without=("mixtral",))
def test_heads_neurons_and_positions_sum_to_their_layer(model: pw.Model) -> None:
    components = pw.logit_attribution(model, PAIR, "layer", bos=False).arrays["components"]
    for part, out in (("head", "attn_out"), ("position", "attn_out"), ("neuron", "mlp_out")):
        arrays = pw.logit_attribution(model, PAIR, part, bos=False).arrays
        rest = [dim for dim in arrays["contribution"].dims if dim not in ("run", "layer")]
        summed = arrays["contribution"].sum(rest) + arrays["bias"]
        for layer in range(N_LAYERS):
            whole = components.sel(component=f"L{layer}.{out}")
            np.testing.assert_allclose(summed.sel(layer=layer), whole, rtol=0, atol=1e-9)


@pytest.mark.every_family
def test_a_heads_contribution_is_the_change_when_it_alone_is_left_out(
    module: PreTrainedModel, model: pw.Model
) -> None:
    found = pw.logit_attribution(model, PAIR, "head", bos=False).arrays["contribution"]
    final = activation(module, CLEAN, "resid_post", N_LAYERS - 1)[-1]
    norm, unembed = final_norm(module), module.get_parameter("lm_head.weight").detach()
    scale = norm_scale(norm, final)
    target = unembed[[7, 13]].mean(0) - unembed[11]

    def read(x: torch.Tensor) -> torch.Tensor:
        return normed(norm, x, scale) @ target

    for layer in range(N_LAYERS):
        z = activation(module, CLEAN, "z", layer)[-1]
        for head in range(N_HEADS):
            written = written_by_head(module, z, layer, head)
            expected = (read(final) - read(final - written)).item()
            value = float(found.sel(run="clean", layer=layer, head=head))
            assert value == pytest.approx(expected, abs=1e-9)


def test_without_a_wrong_answer_the_logit_is_attributed(
    gpt2: GPT2LMHeadModel, model: pw.Model
) -> None:
    pair = pair_of(CLEAN, CORRUPT, wrong=[])
    total = pw.logit_attribution(model, pair, "layer", bos=False).arrays["components"]
    expected = logits(gpt2, CLEAN)[-1, 7].item()
    assert float(total.sel(run="clean").sum()) == pytest.approx(expected, abs=1e-9)


def test_float32_sums_to_a_thousandth_on_the_demo_model(demo: pw.Model) -> None:
    result = pw.logit_attribution(demo, every_method.PAIR)
    for run, baseline in (("clean", result.clean), ("corrupt", result.corrupt)):
        total = float(result.arrays["components"].sel(run=run).sum())
        assert total == pytest.approx(baseline.logit_diff, abs=1e-3)
