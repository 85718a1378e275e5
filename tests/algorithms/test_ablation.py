"""Ablation against hooks that write zeros, means, or another prompt's activations."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedModel

import patchwright as pw
from hooks import activation, changed_logits
from patchwright.errors import ExperimentError, UnequalLengthsError, UnknownPlaceError
from patchwright.places import SITES, Place, Site, n_heads_of
from patchwright.prompts.examples import example
from planted_models import module_of
from slow_patching import next_logprob, writing
from tiny import N_HEADS, N_LAYERS, WIDTH, Splitting, pair_of

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]
OTHERS = [[1, 2, 3, 4], [11, 12, 13, 14], [20, 21, 22, 23]]
PAIR = pair_of(CLEAN, CORRUPT)


def by_hooks(module: PreTrainedModel, places: Sequence[Place], values: Sequence[Tensor]) -> float:
    """The logit difference of the clean run with these values written at the places."""
    last = changed_logits(module, CLEAN, map(writing, places, values))[-1]
    return (last[7] - last[11]).item()


def reference(module: PreTrainedModel, site: Site, layer: int, how: str) -> Tensor:
    own = activation(module, CLEAN, site, layer)
    others = torch.stack([activation(module, prompt, site, layer) for prompt in OTHERS])
    means = {"zero": torch.zeros_like(own), "mean": others.mean(dim=0)}
    return means[how] if how in means else others.mean(dim=(0, 1)).expand_as(own)


@pytest.mark.every_family
@pytest.mark.parametrize("site", ["resid_pre", "mlp_out", "attn_out"])
@pytest.mark.parametrize("how", ["zero", "mean", "mean over all"])
def test_ablating_positions_equals_hooks(
    module: PreTrainedModel, model: pw.Model, site: Site, how: str
) -> None:
    result = pw.ablate(
        *(model, PAIR, site),
        ablation=how.split()[0], prompts=OTHERS, by_position=how != "mean over all", bos=False,
    )  # fmt: skip
    for layer in range(N_LAYERS):
        value = reference(module, site, layer, how)
        for position in range(len(CLEAN)):
            expected = by_hooks(module, [Place(site, layer, position=position)], [value])
            found = float(result.patched.sel(layer=layer, position=position))
            assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.every_family
@pytest.mark.parametrize("site", ["z", "q", "v", "pattern"])
@pytest.mark.parametrize("how", ["zero", "mean"])
def test_ablating_heads_equals_hooks(
    module: PreTrainedModel, model: pw.Model, site: Site, how: str
) -> None:
    result = pw.ablate(model, PAIR, site, ablation=how, prompts=OTHERS, bos=False)
    for layer in range(N_LAYERS):
        value = reference(module, site, layer, how)
        for head in range(n_heads_of(site, model.spec)):
            expected = by_hooks(module, [Place(site, layer, head)], [value])
            found = float(result.patched.sel(layer=layer, head=head))
            assert found == pytest.approx(expected, abs=1e-9)


def test_resampling_writes_one_of_the_prompts_the_same_for_the_same_seed(
    gpt2: GPT2LMHeadModel, model: pw.Model
) -> None:
    place = Place("mlp_out", 1, position=2)
    values = [
        [by_hooks(gpt2, [place], [activation(gpt2, other, "mlp_out", 1)])] for other in OTHERS
    ]
    found = [
        float(
            pw.ablate(model, PAIR, "mlp_out", ablation="resample", prompts=OTHERS, seed=s, bos=False)
            .patched.sel(layer=1, position=2)
        )
        for s in (0, 0, 1, 2, 3, 4, 5)
    ]  # fmt: skip
    assert found[0] == found[1]
    assert all(np.isclose(values, one, rtol=0, atol=1e-9).any() for one in found)
    assert len({round(one, 6) for one in found}) > 1


@st.composite
def some_places(draw: st.DrawFn) -> list[Place]:
    """A few places of any kind."""

    def place() -> Place:
        site = draw(st.sampled_from(SITES))
        layer = None if site == "embed" else draw(st.integers(0, N_LAYERS - 1))
        position = draw(st.none() | st.integers(0, len(CLEAN) - 1))
        head = neuron = None
        if site in ("q", "k", "v", "pattern", "z"):
            head = draw(st.none() | st.integers(0, N_HEADS - 1))
        if site == "mlp_act":
            neuron = draw(st.none() | st.integers(0, 4 * WIDTH - 1))
        return Place(site, layer, head, position, neuron)

    return [place() for _ in range(draw(st.integers(1, 5)))]


@given(places=some_places(), how=st.sampled_from(["zero", "mean", "mean over all"]))
def test_places_ablated_together_equal_hooks(
    gpt2: GPT2LMHeadModel, model: pw.Model, places: list[Place], how: str
) -> None:
    result = pw.ablate_together(
        *(model, PAIR, places),
        ablation=how.split()[0], prompts=OTHERS, by_position=how != "mean over all", bos=False,
    )  # fmt: skip
    values = [reference(gpt2, one.site, one.layer or 0, how) for one in places]
    expected = by_hooks(gpt2, places, values)
    assert float(result.patched) == pytest.approx(expected, abs=1e-9)
    gap = result.clean.metric - result.corrupt.metric
    lost = (result.clean.metric - expected) / gap
    assert float(result.effect) == pytest.approx(lost, abs=1e-8)
    assert result.altered is not None
    assert result.altered.metric == float(result.patched)


@pytest.mark.parametrize("how", ["zero", "mean", "resample"])
def test_a_place_by_itself_is_its_cell_of_the_sweep(model: pw.Model, how: str) -> None:
    pairs = [PAIR, pair_of(CORRUPT, [1, 2, 3, 4])]
    choices: dict[str, Any] = {"ablation": how, "prompts": OTHERS, "seed": 3, "bos": False}
    swept = pw.ablate(model, pairs, "v", **choices)
    for place in ("L0H1.v", "L2H3.v"):
        alone = pw.ablate_together(model, pairs, [place], **choices)
        cell = swept.patched.sel(layer=int(place[1]), head=int(place[3]))
        np.testing.assert_allclose(alone.patched, cell, rtol=0, atol=1e-10)


def test_resampling_takes_every_place_from_the_same_prompt(
    gpt2: GPT2LMHeadModel, model: pw.Model
) -> None:
    places = [Place("mlp_out", 0), Place("z", 1, head=2), Place("resid_mid", 2, position=1)]
    values = [
        by_hooks(gpt2, places, [activation(gpt2, other, p.site, p.layer or 0) for p in places])
        for other in OTHERS
    ]
    found = [
        float(pw.ablate_together(
            model, PAIR, places, "resample", OTHERS, seed=seed, bos=False
        ).patched)
        for seed in range(16)
    ]  # fmt: skip
    nearest = np.abs(np.subtract.outer(found, values))
    np.testing.assert_allclose(nearest.min(axis=1), 0, atol=1e-9)
    assert set(nearest.argmin(axis=1).tolist()) == {0, 1, 2}


@pytest.mark.parametrize("site", ["pattern", "z", "mlp_out"])
@pytest.mark.parametrize("how", ["zero", "mean", "mean over all"])
def test_where_an_answer_of_several_tokens_is_read_nothing_is_ablated(
    gpt2: GPT2LMHeadModel, model: pw.Model, site: Site, how: str
) -> None:
    answer = [7, 30, 2]
    splitting = replace(model, tokenizer=Splitting({" yes": answer}))
    pair = pw.Pair(clean=CLEAN, corrupt=CORRUPT, answer=" yes")
    result = pw.ablate_together(
        *(splitting, pair, [f"L1.{site}"], how.split()[0], OTHERS),
        by_position=how != "mean over all", metric="logprob", bos=False,
    )  # fmt: skip
    value = reference(gpt2, site, 1, how)

    def change(live: Tensor) -> None:
        live[tuple(slice(size) for size in value.shape)] = value

    last = changed_logits(gpt2, CLEAN + answer[:-1], [(site, 1, change)])
    assert float(result.patched) == pytest.approx(next_logprob(gpt2, last, answer), abs=1e-9)


def test_places_to_ablate_must_exist(model: pw.Model) -> None:
    with pytest.raises(ExperimentError, match="No place was named"):
        pw.ablate_together(model, PAIR, [])
    with pytest.raises(UnknownPlaceError, match="layers 0-2"):
        pw.ablate_together(model, PAIR, ["L9.z"])
    with pytest.raises(ExperimentError, match="needs reference prompts"):
        pw.ablate_together(model, PAIR, ["L1.z"], "mean")
    with pytest.raises(UnequalLengthsError, match="of one length"):
        pw.ablate_together(model, PAIR, ["L1.z", "L1.pattern"], "mean", [[1, 2]], False)
    with pytest.raises(ExperimentError, match="'ablation'"):
        pw.ablate_together(model, PAIR, ["L1.z"], "burn")


def test_the_effect_is_the_share_of_the_gap_that_is_lost(model: pw.Model) -> None:
    result = pw.ablate(model, PAIR, "z", bos=False)
    gap = result.clean.metric - result.corrupt.metric
    expected = (result.clean.metric - result.patched) / gap
    np.testing.assert_allclose(result.effect, expected, atol=1e-12)


def test_ablating_by_the_clean_prompt_itself_changes_nothing(model: pw.Model) -> None:
    result = pw.ablate(model, PAIR, "z", ablation="resample", prompts=[CLEAN], bos=False)
    np.testing.assert_allclose(result.patched, result.clean.metric, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bos", [True, False])
def test_reference_prompts_begin_as_the_pair_does(model: pw.Model, bos: bool) -> None:
    result = pw.ablate(model, PAIR, "z", ablation="mean", prompts=[CLEAN], bos=bos)
    np.testing.assert_allclose(result.patched, result.clean.metric, rtol=0, atol=1e-12)


def test_what_was_averaged_over_is_on_the_result(model: pw.Model) -> None:
    choices: dict[str, Any] = {"ablation": "mean", "prompts": OTHERS, "by_position": False}
    for result in (
        pw.ablate(model, PAIR, "z", **choices),
        pw.ablate_together(model, PAIR, ["L1.z"], **choices),
    ):
        assert {name: result.experiment[name] for name in choices} == choices


def test_reference_prompts_are_needed_and_must_fit(model: pw.Model) -> None:
    with pytest.raises(ExperimentError, match="needs reference prompts"):
        pw.ablate(model, PAIR, ablation="mean")
    with pytest.raises(UnequalLengthsError, match="by_position=False"):
        pw.ablate(model, PAIR, ablation="mean", prompts=[[1, 2]])
    assert pw.ablate(model, PAIR, ablation="mean", prompts=[[1, 2]], by_position=False).patched.size
    with pytest.raises(ExperimentError, match="'ablation'"):
        pw.ablate(model, PAIR, ablation="burn")


def test_a_head_that_says_nothing_is_held_so_while_another_one_is_ablated() -> None:
    # L1H1 is silent, so that zeros in its place change nothing, until L0H2 is ablated: it then acts.
    name = "planted-self-repair"
    model, module, pair = pw.load_model(name), module_of(name, torch.float32), example(name).pair
    places = [pw.parse_place(text) for text in ("L0H2.z", "L1H1.z")]
    alone, both = (pw.ablate_together(model, pair, some) for some in (places[:1], places))
    assert model.tokenizer is not None
    tokens = [*model.tokenizer.bos_ids, *model.tokenizer.encode(str(pair.clean))[0]]
    right, wrong = (
        model.tokenizer.encode(str(one))[0][0] for one in (pair.answers[0], pair.wrongs[0])
    )
    z = activation(module, tokens, "z", 1)
    changes = [writing(place, torch.zeros_like(z)) for place in places]
    assert z[:, 1].abs().max() == 0
    for result, some in ((alone, changes[:1]), (both, changes)):
        last = changed_logits(module, tokens, some)[-1]
        expected = (last[right] - last[wrong]).item()
        assert float(result.patched) == pytest.approx(expected, abs=1e-6)
    assert (float(alone.patched), float(both.patched)) == (7.5, 0)
