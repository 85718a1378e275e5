"""Sweeps against one hooked run of the whole model a cell, and what must always hold."""

import gc
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedModel

import patchwright as pw
import slow_patching
from families import BLOCKS, FAMILIES
from hooks import changed_logits, logits
from patchwright.algorithms import pair_runs
from patchwright.algorithms.pair_runs import PairRuns
from patchwright.algorithms.sweep import choose_cells, patch_jointly, sweep
from patchwright.axes import DIRECTIONS, METRICS, Direction, Metric, Per
from patchwright.errors import (
    AnswerError,
    ExperimentError,
    MemoryBudgetError,
    NonFiniteError,
    UnequalLengthsError,
    UnknownPlaceError,
)
from patchwright.experiment.run import tokens_of
from patchwright.model.weights import Network
from patchwright.places import HEAD_SITES, SITES, Place, Site, pers_of
from patchwright.prompts.pair import TokenPair
from tiny import N_HEADS, N_LAYERS, VOCAB, WIDTH, Splitting, pair_of, random_gpt2, token_pairs

CLEAN, CORRUPT = [49, 3, 8, 21, 5, 30], [49, 3, 9, 22, 5, 30]
ANSWERS, WRONGS = [7, 13], [11, 2, 40]

SWEEPS = [(site, per) for site in SITES for per in pers_of(site)]


def swept(model: pw.Model, site: Site, per: Per, direction: Direction, metric: Metric) -> pw.Result:
    pair = pair_of(CLEAN, CORRUPT, answer=ANSWERS, wrong=WRONGS)
    layers = [1] if per == "neuron" else None
    return pw.patch(model, pair, site, per, direction, metric, layers=layers)


@pytest.mark.every_family
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("site", "per"), SWEEPS)
def test_every_sweep_equals_the_hook_loop(
    module: PreTrainedModel, model: pw.Model, site: Site, per: Per, direction: Direction
) -> None:
    layers = [1] if per == "neuron" else None
    metrics: tuple[Metric, ...] = ("logit_diff", "kl") if per == "neuron" else METRICS
    expected = slow_patching.sweeps(
        module, CLEAN, CORRUPT, site, per, direction, metrics, ANSWERS, WRONGS, layers
    )
    for metric in metrics:
        found = swept(model, site, per, direction, metric)
        np.testing.assert_allclose(found.patched.values, expected[metric], rtol=0, atol=1e-9)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(BLOCKS)))
def test_a_sweep_of_each_site_equals_the_hook_loop_in_families_of_known_parts(
    family: str, site: Site
) -> None:
    module, per = FAMILIES[family](seed=0), pers_of(site)[0]
    layers = [1] if per == "neuron" else None
    asked = (CLEAN, CORRUPT, site, per, "denoise", ("logit_diff",), ANSWERS, WRONGS, layers)
    expected = slow_patching.sweeps(module, *asked)["logit_diff"]
    model = pw.wrap_model(module, name="tiny")
    found = swept(model, site, per, "denoise", "logit_diff")
    np.testing.assert_allclose(found.patched.values, expected, rtol=0, atol=1e-9)


@pytest.mark.every_family
@given(
    prompts=token_pairs(),
    sweep=st.sampled_from([(site, per) for site, per in SWEEPS if per != "neuron"]),
    direction=st.sampled_from(DIRECTIONS),
    metric=st.sampled_from(METRICS),
)
def test_any_prompts_equal_the_hook_loop(
    module: PreTrainedModel,
    model: pw.Model,
    prompts: tuple[list[int], list[int]],
    sweep: tuple[Site, Per],
    direction: Direction,
    metric: Metric,
) -> None:
    assume(sweep[0] in model.spec.sites)
    clean, corrupt = prompts
    found = pw.patch(model, pair_of(clean, corrupt), *sweep, direction, metric)
    expected = slow_patching.sweep(module, clean, corrupt, *sweep, direction, metric, [7], [11])
    np.testing.assert_allclose(found.patched.values, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("site", SITES)
def test_float32_agrees_to_a_ten_thousandth(site: Site) -> None:
    gpt2 = random_gpt2(seed=2, dtype=torch.float32)
    found = swept(pw.wrap_model(gpt2), site, pers_of(site)[0], "denoise", "logit_diff")
    expected = slow_patching.sweep(
        gpt2, CLEAN, CORRUPT, site, pers_of(site)[0], "denoise", "logit_diff", ANSWERS, WRONGS
    )
    np.testing.assert_allclose(found.patched.values, expected, rtol=0, atol=1e-4)


@pytest.mark.every_family
@given(prompts=token_pairs())
def test_the_first_residual_stream_at_all_positions_is_the_other_run(
    model: pw.Model, prompts: tuple[list[int], list[int]]
) -> None:
    pair = pair_of(*prompts)
    for place in ("L0.resid_pre", f"L{N_LAYERS - 1}.resid_post@-1"):
        result = pw.patch_together(model, pair, [place])
        assert float(result.patched) == pytest.approx(result.clean.metric, abs=1e-9)


@pytest.mark.every_family
@given(prompts=token_pairs())
def test_all_heads_z_together_equal_attn_out(
    model: pw.Model, prompts: tuple[list[int], list[int]]
) -> None:
    pair = pair_of(*prompts)
    for layer in range(N_LAYERS):
        heads = [f"L{layer}H{head}.z" for head in range(N_HEADS)]
        joint = pw.patch_together(model, pair, heads)
        output = pw.patch_together(model, pair, [f"L{layer}.attn_out"])
        assert float(joint.patched) == pytest.approx(float(output.patched), abs=1e-9)


@pytest.mark.every_family
@pytest.mark.parametrize(("site", "per"), [sweep for sweep in SWEEPS if sweep[1] != "neuron"])
def test_denoising_one_way_equals_noising_the_other(model: pw.Model, site: Site, per: Per) -> None:
    there = pw.patch(model, pair_of(CLEAN, CORRUPT), site, per, "denoise")
    back = pw.patch(model, pair_of(CORRUPT, CLEAN), site, per, "noise")
    np.testing.assert_allclose(there.patched.values, back.patched.values, rtol=0, atol=1e-10)


def test_places_that_are_the_same_in_both_runs_are_the_baseline_exactly(model: pw.Model) -> None:
    for site, per in SWEEPS:
        if "position" not in per:
            continue
        result = pw.patch(model, pair_of(CLEAN, CORRUPT), site, per)
        before = result.patched.sel(position=[0, 1])
        assert bool((before == result.corrupt.metric).all())
        assert bool((result.effect.sel(position=[0, 1]) == 0).all())


def test_cells_that_nothing_read_depends_on_are_the_baseline_exactly(model: pw.Model) -> None:
    for site in ("q", "pattern", "z", "attn_out", "resid_mid", "mlp_act", "mlp_out", "resid_post"):
        per = "head_position" if site in HEAD_SITES else "position"
        result = pw.patch(model, pair_of(CLEAN, CORRUPT), site, per)
        above = result.patched.sel(layer=N_LAYERS - 1).isel(position=slice(0, -1))
        assert bool((above == result.corrupt.metric).all())


def test_several_pairs_equal_each_pair_by_itself(model: pw.Model) -> None:
    pairs = [
        pair_of(CLEAN, CORRUPT),
        pair_of(CORRUPT, [1, 2, 3, 4, 5, 6]),
        pair_of(CLEAN[::-1], CORRUPT[::-1], answer=[3], wrong=[9, 1]),
    ]
    for site, per in [("resid_pre", "position"), ("z", "head"), ("pattern", "head_position")]:
        many = pw.patch(model, pairs, site, per)
        assert many.patched.dims[0] == "pair"
        for i, pair in enumerate(pairs):
            one = pw.patch(model, pair, site, per)
            np.testing.assert_allclose(many.patched[i], one.patched, rtol=0, atol=1e-10)
            np.testing.assert_allclose(many.effect[i], one.effect, rtol=0, atol=1e-8)
            assert many.clean.pairs[i].metric == pytest.approx(one.clean.metric, abs=1e-10)


def test_a_list_of_one_pair_has_a_pair_axis(model: pw.Model) -> None:
    result = pw.patch(model, [pair_of(CLEAN, CORRUPT)], "z")
    assert result.patched.dims == ("pair", "layer", "head")
    assert pw.patch_together(model, [pair_of(CLEAN, CORRUPT)], ["L0.z"]).patched.dims == ("pair",)


def test_over_pairs_the_mean_effect_is_the_ratio_of_means(model: pw.Model) -> None:
    pairs = [pair_of(CLEAN, CORRUPT), pair_of(CORRUPT, [1, 2, 3, 4, 5, 6])]
    result = pw.patch(model, pairs)
    gap = np.mean([one.metric for one in result.clean.pairs]) - np.mean(
        [one.metric for one in result.corrupt.pairs]
    )
    moved = result.patched.values.mean(0) - np.mean([one.metric for one in result.corrupt.pairs])
    np.testing.assert_allclose(result.mean_effect.values, moved / gap, rtol=1e-9)


def test_chosen_layers_heads_and_positions_are_cells_of_the_whole(model: pw.Model) -> None:
    pair = pair_of(CLEAN, CORRUPT)
    whole = pw.patch(model, pair, "z", "head_position").patched
    part = pw.patch(
        model, pair, "z", "head_position", layers=[2, 0], heads=[3, 1], positions=[-1, 2]
    ).patched
    assert part["layer"].values.tolist() == [2, 0]
    assert part["position"].values.tolist() == [2, 5]
    expected = whole.sel(layer=[2, 0], head=[3, 1], position=[2, 5])
    np.testing.assert_allclose(part, expected, rtol=0, atol=1e-10)


def test_positions_without_a_position_axis_are_patched_together(
    gpt2: GPT2LMHeadModel, model: pw.Model
) -> None:
    pair = pair_of(CLEAN, CORRUPT)
    result = pw.patch(model, pair, "z", "head", positions=[2, 5])
    for layer, head in product(range(N_LAYERS), range(N_HEADS)):
        places = [f"L{layer}H{head}.z@{position}" for position in (2, 5)]
        joint = pw.patch_together(model, pair, places)
        assert float(result.patched[layer, head]) == pytest.approx(float(joint.patched), abs=1e-10)


def test_places_of_every_kind_patched_together_equal_hooks(
    gpt2: GPT2LMHeadModel, model: pw.Model
) -> None:
    places = ["L0H1.v", "L1.resid_mid@2", "L1H3.pattern@4", "L2.mlp_act[9]@-1", "embed@3", "L2.k"]
    result = pw.patch_together(model, pair_of(CLEAN, CORRUPT), places)
    parsed = [pw.parse_place(text).within(model.spec, len(CLEAN)) for text in places]
    changes = [
        slow_patching.writing(
            place, slow_patching.activation(gpt2, CLEAN, place.site, place.layer or 0)
        )
        for place in parsed
    ]
    values = changed_logits(gpt2, CORRUPT, changes)[-1]
    assert float(result.patched) == pytest.approx((values[7] - values[11]).item(), abs=1e-9)


def test_patching_every_place_of_a_run_into_itself_changes_nothing(model: pw.Model) -> None:
    # The prompts differ in the first token only; patching the rest is a no-op at the embedding.
    pair = pair_of([1, *CLEAN], [2, *CLEAN])
    result = pw.patch_together(model, pair, [f"embed@{i}" for i in range(1, 7)])
    assert float(result.effect) == 0


@given(
    prompt=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=5),
    other=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=7),
    site=st.sampled_from([site for site in SITES if site != "pattern"]),
    direction=st.sampled_from(DIRECTIONS),
)
def test_matched_edges_of_unequal_prompts_equal_hooks(
    gpt2: GPT2LMHeadModel,
    model: pw.Model,
    prompt: list[int],
    other: list[int],
    site: Site,
    direction: Direction,
) -> None:
    clean, corrupt = [3, *prompt], [3, *other]
    if len(clean) == len(corrupt):
        corrupt = [*corrupt, 4]
    pair = pair_of(clean, corrupt, align="edges")
    result = pw.patch(model, pair, site, "position", direction, layers=None)
    tokens = pw.run(pw.Patch(model="tiny", pairs=pair, per="position", direction=direction), model)
    into, out_of = (corrupt, clean) if direction == "denoise" else (clean, corrupt)
    assert len(tokens.position_tokens or ()) == len(into) == result.patched.shape[1]
    start = next(
        (i for i, (a, b) in enumerate(zip(into, out_of, strict=False)) if a != b),
        min(len(into), len(out_of)),
    )
    for position in range(len(into)):
        cells = result.patched.sel(position=position)
        from_end = len(into) - position
        if position < start:
            assert bool((cells == result.base.metric).all())
        elif bool(cells.isnull().any()):
            assert bool(cells.isnull().all())
        else:
            layer = int(cells["layer"][-1])
            source = slow_patching.activation(gpt2, out_of, site, layer)[len(out_of) - from_end]

            def change(live: Tensor, at: int = position, source: Tensor = source) -> None:
                live[at] = source

            values = changed_logits(gpt2, into, [(site, layer, change)])[-1]
            expected = (values[7] - values[11]).item()
            assert float(cells[-1]) == pytest.approx(expected, abs=1e-9)


def test_an_answer_of_several_tokens_is_scored_by_its_summed_log_probability(
    gpt2: GPT2LMHeadModel, model: pw.Model
) -> None:
    answer, wrong = [7, 30, 2], [11]
    module = Splitting({" yes": answer, " no": wrong})
    pair = pw.Pair(clean=CLEAN, corrupt=CORRUPT, answer=" yes", wrong=" no")
    splitting = replace(model, tokenizer=module)
    result = pw.patch(splitting, pair, "resid_mid", metric="logprob_diff", bos=False)
    for layer, position in ((0, 2), (1, 3), (2, 5), (1, 4)):
        place = pw.Place("resid_mid", layer, position=position)
        values = []
        for tokens in (answer, wrong):
            more = tokens[:-1]
            run = slow_patching.cell_logits(gpt2, CORRUPT + more, CLEAN + more, place)
            values.append(slow_patching.next_logprob(gpt2, run, tokens))
        found = float(result.patched.sel(layer=layer, position=position))
        assert found == pytest.approx(values[0] - values[1], abs=1e-9)
    clean_run = logits(gpt2, CLEAN + answer[:-1])
    assert result.clean.probability == pytest.approx(
        np.exp(slow_patching.next_logprob(gpt2, clean_run, answer)), abs=1e-12
    )
    with pytest.raises(AnswerError, match="logprob_diff"):
        pw.patch(splitting, pair, metric="logit_diff", bos=False)


@pytest.mark.parametrize("site", ["resid_pre", "z", "mlp_act"])
def test_a_small_budget_gives_the_same_numbers(model: pw.Model, site: Site) -> None:
    pair, layers = pair_of(CLEAN, CORRUPT), [0, 2]
    per = "neuron" if site == "mlp_act" else None
    batches: list[int] = []
    whole = pw.patch(model, pair, site, per, layers=layers)
    small = pw.patch(
        model, pair, site, per, layers=layers, budget=45_000,
        progress=lambda progress: batches.append(progress.done),
    )  # fmt: skip
    np.testing.assert_allclose(small.patched, whole.patched, rtol=0, atol=1e-10)
    assert len(batches) > 3


def test_a_budget_too_small_for_one_run_is_refused_with_the_sizes(model: pw.Model) -> None:
    with pytest.raises(MemoryBudgetError, match="MiB"):
        pw.patch(model, pair_of(CLEAN, CORRUPT), budget=100)


def test_progress_counts_up_to_all_cells_and_shows_them(model: pw.Model) -> None:
    seen: list[tuple[int, int, int]] = []

    def progress(now: pw.Progress) -> None:
        seen.append((now.done, now.total, int(np.isfinite(now.patched).sum())))

    result = pw.patch(model, pair_of(CLEAN, CORRUPT), "z", "head_position", progress=progress)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1] == (result.patched.size, result.patched.size, result.patched.size)
    assert all(done == filled for done, _, filled in seen)


@pytest.mark.parametrize("method", [pw.patch, pw.ablate, pw.path_patch, pw.edge_attribution])
def test_work_that_raises_leaves_the_model_as_it_was(
    model: pw.Model, method: Callable[..., pw.Result]
) -> None:
    pair = pair_of(CLEAN, CORRUPT)
    before = method(model, pair).array("edges" if method is pw.edge_attribution else "patched")

    def broken(_now: pw.Progress) -> bool:
        raise RuntimeError("The caller's own.")

    with pytest.raises(RuntimeError, match="own"):
        method(model, pair, progress=broken)
    after = method(model, pair).array(str(before.name))
    np.testing.assert_array_equal(after, before)
    assert torch.is_grad_enabled()


def test_a_stopped_sweep_keeps_what_is_finished_and_says_so(model: pw.Model) -> None:
    pair = pair_of(CLEAN, [1, 2, 3, 4, 5, 6])
    whole = pw.patch(model, pair, "z", "head_position")
    part = pw.patch(
        model, pair, "z", "head_position", budget=60_000, progress=lambda now: now.done < 20
    )
    finished = part.patched.notnull()
    assert 20 <= int(finished.sum()) < part.patched.size
    np.testing.assert_allclose(
        part.patched.values[finished.values], whole.patched.values[finished.values], atol=1e-10
    )
    assert [notice["code"] for notice in part.warnings].count("stopped") == 1


def test_a_flat_gap_leaves_effects_empty_and_says_so(model: pw.Model) -> None:
    result = pw.patch(model, pair_of([1, 2, 3], [1, 2, 4], answer=[5], wrong=[6]))
    assert bool(result.effect.notnull().all())
    gpt2 = random_gpt2(seed=0)
    with torch.no_grad():
        gpt2.transformer.wte.weight[6] = gpt2.transformer.wte.weight[5]
    flat = pw.patch(pw.wrap_model(gpt2), pair_of([1, 2, 3], [1, 2, 4], answer=[5], wrong=[6]))
    assert bool(flat.effect.isnull().all())
    assert bool(flat.patched.notnull().all())
    assert "flat_gap" in [notice["code"] for notice in flat.warnings]


def test_weights_that_give_no_number_are_an_error() -> None:
    gpt2 = random_gpt2(seed=0)
    with torch.no_grad():
        gpt2.get_parameter("transformer.h.1.mlp.c_fc.bias")[0] = torch.nan
    with pytest.raises(NonFiniteError, match="float32"):
        pw.patch(pw.wrap_model(gpt2), pair_of(CLEAN, CORRUPT))


@pytest.mark.parametrize(
    ("choice", "error", "says"),
    [
        ({"site": "resid"}, UnknownPlaceError, "The sites are: embed, resid_pre"),
        (
            {"per": "heads"},
            ExperimentError,
            "'position', 'head', 'head_position', 'layer' or 'neuron'",
        ),
        ({"site": "mlp_out", "per": "head"}, ExperimentError, "position, layer"),
        ({"metric": "loss"}, ExperimentError, "logit_diff"),
        ({"direction": "up"}, ExperimentError, "denoise"),
        ({"layers": [3]}, UnknownPlaceError, "tiny has layers 0-2"),
        ({"layers": [-1]}, UnknownPlaceError, "tiny has layers 0-2"),
        ({"positions": [6]}, UnknownPlaceError, "6 tokens, positions 0-5"),
        ({"positions": [-7]}, UnknownPlaceError, "6 tokens, positions 0-5"),
        ({"site": "z", "heads": [4]}, UnknownPlaceError, "heads 0-3"),
        ({"site": "mlp_out", "heads": [1]}, UnknownPlaceError, "has no heads"),
        ({"site": "mlp_act", "per": "neuron"}, ExperimentError, "layers"),
    ],
)
def test_a_wrong_choice_says_what_there_is(
    model: pw.Model, choice: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        pw.patch(model, pair_of(CLEAN, CORRUPT), **choice)  # pyright: ignore[reportArgumentType]


def test_places_together_must_exist(model: pw.Model) -> None:
    for place, says in {
        "L3.z": "layers 0-2",
        "L0H4.z": "heads 0-3",
        "L0.mlp_act[64]": f"neurons 0-{4 * WIDTH - 1}",
        "L0.z@6": "positions 0-5",
        "L0H1.mlp_out": "has no heads",
        "z": "name its layer",
        "L0.embed": "has no layer",
        "gibberish!": "is not a place",
    }.items():
        with pytest.raises(UnknownPlaceError, match=says):
            pw.patch_together(model, pair_of(CLEAN, CORRUPT), [place])
    with pytest.raises(ExperimentError, match="at least one"):
        pw.patch_together(model, pair_of(CLEAN, CORRUPT), [])


def test_pairs_of_different_lengths_are_not_mixed(model: pw.Model) -> None:
    pairs = [pair_of(CLEAN, CORRUPT), pair_of([1, 2], [1, 3])]
    with pytest.raises(UnequalLengthsError, match="2 to 6 tokens"):
        pw.patch(model, pairs)
    with pytest.raises(ExperimentError, match="empty"):
        pw.patch(model, [])


def test_patterns_are_not_copied_between_unequal_prompts(model: pw.Model) -> None:
    with pytest.raises(UnequalLengthsError, match="--site z --align edges"):
        pw.patch(model, pair_of(CLEAN, [*CORRUPT, 1], align="edges"), "pattern")


@pytest.mark.parametrize("site", ["z", "mlp_out"])
def test_pairs_of_unequal_and_mixed_lengths_equal_each_alone(model: pw.Model, site: str) -> None:
    pairs = [
        pair_of([1, 2, 3, 4, 5], [1, 2, 3, 9, 5]),
        pair_of([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 8, 7], align="edges"),
        pair_of([1, 2, 3, 4], [1, 2, 3, 4, 9, 4], align="edges"),
        pair_of([1, 2], [3, 2]),
    ]
    for order in (pairs, pairs[::-1]):
        swept = pw.patch(
            model, order, site, per="layer" if site == "mlp_out" else "head", bos=False
        )
        for values, pair in zip(swept.patched.values, order, strict=True):
            alone = pw.patch(model, pair, site, per=swept.experiment["per"], bos=False)
            np.testing.assert_allclose(values, alone.patched.values, rtol=0, atol=1e-10)


def test_of_many_pairs_only_one_group_of_base_runs_is_in_memory_at_a_time() -> None:
    module = random_gpt2(dtype=torch.float32)
    model = pw.wrap_model(module, name="tiny")
    pairs = [pair_of([i, 3, 8, 21, 5, 30], [i, 3, 9, 22, 5, 30]) for i in range(12)]
    tokens = [tokens_of(one, pw.Patch(model="tiny", pairs=one), model) for one in pairs]
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def look(network: Network, some: Sequence[TokenPair], keep: Iterable[Site]) -> list[PairRuns]:
        nonlocal most
        gc.collect()
        most = max(most, sum(one() is not None for one in alive))
        ran = real(network, some, keep)
        alive.extend(weakref.ref(one.clean[0].kept["resid_pre"][0]) for one in ran)
        return ran

    real = pair_runs.run_pairs
    cells = choose_cells(model.spec, 6, "z")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pair_runs, "run_pairs", look)
        swept = sweep(model.network, tokens, cells, "denoise", "logit_diff", budget=60_000)
        places = [Place("z", 1, head=2)]
        patch_jointly(model.network, tokens, places, "denoise", budget=60_000)
    assert len(alive) == 2 * len(pairs)
    assert most == 0
    for one in swept.runs:
        final = one.reader.clean_final
        assert final.untyped_storage().nbytes() == final.nbytes
