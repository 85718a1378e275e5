"""Statistics over pairs against SciPy's own functions, cell by cell, and against known truth."""

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import patchwright as pw
from handmade_results import baseline, made
from patchwright.algorithms.statistics import Statistics, statistics
from patchwright.errors import InputError

Values = NDArray[np.float64]


def result_of(effects: Any, gaps: Any = None, **changes: Any) -> pw.Result:
    """A sweep over pairs [pair, layer, position] whose clean run has the gap above 0."""
    values = np.asarray(effects, dtype=np.float64)
    gaps = np.full(len(values), 4.0) if gaps is None else np.asarray(gaps)
    clean = baseline(float(np.mean(gaps)), pairs=[baseline(gap) for gap in gaps])
    corrupt = baseline(0.0, pairs=[baseline(0.0) for _ in gaps])
    return made(values, clean=clean, corrupt=corrupt, **changes)


def told(kinds: list[int], exchanged: tuple[int, ...] = ()) -> dict[str, Any]:
    """Prompts of as many pairs, equal where the kind is; those that are `exchanged` the other way round."""
    both = [((f" clean {kind}", " to"), (f" corrupt {kind}", " to")) for kind in kinds]
    both = [two[::-1] if i in exchanged else two for i, two in enumerate(both)]
    clean, corrupt = ([list(one) for one in some] for some in zip(*both, strict=True))
    return {"tokens": (clean, corrupt)}


def drawn(pairs: int, cells: int = 3, seed: int = 0) -> tuple[Values, Values]:
    """Effects [pair, 1, cell] and gaps [pair]."""
    draw = np.random.default_rng(seed)
    effects = draw.normal(0.3, 0.4, (pairs, 1, cells)) ** 3
    return effects, draw.uniform(1.0, 6.0, pairs)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("pairs", [15, 30])
def test_intervals_are_those_of_scipys_bootstrap(pairs: int, direction: str) -> None:
    effects, gaps = drawn(pairs)
    result = result_of(effects, gaps, direction=direction)
    found = statistics(result, resamples=500, seed=3, level=0.9)

    def ratio(moved: Values, gap: Values, axis: int = -1) -> Values:
        return moved.mean(axis=axis) / gap.mean(axis=axis)

    for cell in range(3):
        theirs = scipy.stats.bootstrap(
            (effects[:, 0, cell] * gaps, gaps), ratio, paired=True, vectorized=True,
            n_resamples=500, confidence_level=0.9, rng=np.random.default_rng(3),
        ).confidence_interval  # fmt: skip
        ours = float(found.low[0, cell]), float(found.high[0, cell])
        np.testing.assert_allclose(ours, (theirs.low, theirs.high), rtol=1e-9)
        mean = (effects[:, 0, cell] * gaps).mean() / gaps.mean()
        np.testing.assert_allclose(float(found.mean_effect[0, cell]), mean)


def test_the_mean_of_ratios_has_the_interval_of_a_plain_mean() -> None:
    effects, gaps = drawn(12)
    found = statistics(result_of(effects, gaps), resamples=400, seed=1, ratio="mean_of")
    theirs = scipy.stats.bootstrap(
        (effects[:, 0, 0],), np.mean, n_resamples=400, rng=np.random.default_rng(1)
    ).confidence_interval
    ours = float(found.low[0, 0]), float(found.high[0, 0])
    np.testing.assert_allclose(ours, (theirs.low, theirs.high), rtol=1e-9)
    np.testing.assert_allclose(found.mean_effect.values, effects.mean(axis=0))


@settings(max_examples=20)
@given(st.integers(2, 9), st.integers(0, 10_000), st.floats(0.1, 100))
def test_bounds_do_not_depend_on_the_unit(pairs: int, seed: int, unit: float) -> None:
    """With few pairs many resamples equal the sample but for their rounding."""
    effects, gaps = drawn(pairs, seed=seed)
    one, other = (statistics(result_of(effects, some)) for some in (gaps, unit * gaps))
    np.testing.assert_allclose(other.low, one.low, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(other.high, one.high, rtol=1e-9, atol=1e-12)


@settings(max_examples=10)
@given(st.integers(2, 9), st.integers(0, 10_000))
def test_with_few_pairs_p_values_are_those_of_scipys_exact_test(pairs: int, seed: int) -> None:
    effects, gaps = drawn(pairs, seed=seed)
    found = statistics(result_of(effects, gaps), resamples=100)
    for cell in range(3):
        theirs = scipy.stats.permutation_test(
            (effects[:, 0, cell] * gaps,), np.mean, permutation_type="samples", n_resamples=10_000
        )
        np.testing.assert_allclose(float(found.p_value[0, cell]), theirs.pvalue, rtol=1e-9)


def test_with_many_pairs_p_values_are_scipys_up_to_the_draw() -> None:
    effects = np.random.default_rng(5).normal(0.1, 0.4, (40, 1, 3))
    found = statistics(result_of(effects), resamples=20_000)
    for cell in range(3):
        theirs = scipy.stats.permutation_test(
            (effects[:, 0, cell],), np.mean, permutation_type="samples", vectorized=True,
            n_resamples=20_000, rng=np.random.default_rng(9),
        ).pvalue  # fmt: skip
        # Five standard errors of the difference of two shares of 20,000 draws.
        most = 5 * np.sqrt(2 * theirs * (1 - theirs) / 20_000) + 2 / 20_000
        assert abs(float(found.p_value[0, cell]) - theirs) < most


@settings(max_examples=15)
@given(st.integers(2, 18), st.integers(2, 4), st.integers(0, 10_000), st.randoms(), st.booleans())
def test_copies_of_every_pair_are_no_evidence(
    pairs: int, copies: int, seed: int, order: Any, missing: bool
) -> None:
    effects, gaps = drawn(pairs, seed=seed)
    if missing:
        effects[0, 0, 1] = np.nan
    kinds = list(range(pairs)) * copies
    exchanged = tuple(i for i in range(pairs, len(kinds)) if order.random() < 0.5)
    alone = statistics(result_of(effects, gaps, **told(kinds[:pairs])), resamples=300)
    many = result_of(effects[kinds], gaps[kinds], **told(kinds, exchanged))
    found = statistics(many, resamples=300)
    for name in ("mean_effect", "low", "high", "p_value", "q_value", "same_sign", "pairs"):
        ours, theirs = getattr(found, name), getattr(alone, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=name)
    odd, once = ([(one.pair, one.measure) for one in some.odd_pairs] for some in (found, alone))
    assert odd == once


def test_pairs_that_are_all_different_have_the_numbers_of_pairs_without_names() -> None:
    effects, gaps = drawn(9)
    named = statistics(result_of(effects, gaps, **told(list(range(9)))))
    assert named.document() == statistics(result_of(effects, gaps)).document()


def test_groups_of_duplicates_have_scipys_intervals_and_p_values_over_their_sums() -> None:
    """Three copies of one pair and two of another weigh in the mean, and are drawn as one."""
    kinds = [0, 1, 0, 2, 3, 4, 0, 5, 6, 5, 7]
    effects, gaps = drawn(8, seed=4)
    found = statistics(result_of(effects[kinds], gaps[kinds], **told(kinds)), resamples=500, seed=3)
    count = np.bincount(kinds)

    def ratio(moved: Values, gap: Values, axis: int = -1) -> Values:
        return moved.sum(axis=axis) / gap.sum(axis=axis)

    for cell in range(3):
        moved, gap = count * effects[:, 0, cell] * gaps, count * gaps
        bounds = scipy.stats.bootstrap(
            (moved, gap), ratio, paired=True, vectorized=True, n_resamples=500,
            rng=np.random.default_rng(3),
        ).confidence_interval  # fmt: skip
        ours = float(found.low[0, cell]), float(found.high[0, cell])
        np.testing.assert_allclose(ours, (bounds.low, bounds.high), rtol=1e-9)
        theirs = scipy.stats.permutation_test(
            (moved,), np.sum, permutation_type="samples", n_resamples=10_000
        )
        np.testing.assert_allclose(float(found.p_value[0, cell]), theirs.pvalue, rtol=1e-9)
        assert int(found.pairs[0, cell]) == 8
        whole = (effects[kinds][:, 0, cell] * gaps[kinds]).sum() / gaps[kinds].sum()
        np.testing.assert_allclose(float(found.mean_effect[0, cell]), whole)


def test_one_pair_many_times_is_one_pair() -> None:
    effects = np.random.default_rng(0).normal(0.5, 0.1, (20, 1, 3))
    with pytest.raises(InputError, match="These 20 pairs are one and the same"):
        statistics(result_of(effects, **told([0] * 20, exchanged=(3, 4))))


def test_a_cell_that_only_copies_have_has_no_test() -> None:
    effects, gaps = drawn(5)
    kinds = [0, 0, 1, 2, 3]
    effects[2:, 0, 0] = np.nan
    found = statistics(result_of(effects, gaps, **told(kinds)))
    assert int(found.pairs[0, 0]) == 1
    assert np.isnan(found.p_value.values[0, 0])
    assert np.isfinite(found.p_value.values[0, 1:]).all()


def test_q_values_are_scipys_correction_over_the_known_cells() -> None:
    effects = np.random.default_rng(2).normal(0.2, 0.3, (11, 4, 4))
    effects[:, 1, 2] = np.nan
    found = statistics(result_of(effects))
    known = np.isfinite(found.p_value.values)
    assert known.sum() == 15
    theirs = scipy.stats.false_discovery_control(found.p_value.values[known], method="bh")
    np.testing.assert_array_equal(found.q_value.values[known], theirs)
    assert np.isnan(found.q_value.values[~known]).all()


def test_intervals_cover_the_truth_as_often_as_their_level_says() -> None:
    """600 cells of known effect 0.4, gaps that vary: 90 % intervals over 40 pairs."""
    draw = np.random.default_rng(0)
    gaps = draw.uniform(2.0, 6.0, 40)
    moved = 0.4 * gaps[:, None] + draw.normal(0.0, 1.0, (40, 600))
    effects = (moved / gaps[:, None]).reshape(40, 1, 600)
    found = statistics(result_of(effects, gaps, per="neuron", site="mlp_act"), level=0.9)
    covered = float(((found.low <= 0.4) & (found.high >= 0.4)).mean())
    assert 0.86 < covered < 0.94


def test_data_without_an_effect_give_few_discoveries_and_even_p_values() -> None:
    effects = np.random.default_rng(1).normal(0.0, 1.0, (20, 1, 500))
    found = statistics(result_of(effects, per="neuron", site="mlp_act"), resamples=100)
    assert int(found.differs().sum()) <= 2
    assert scipy.stats.kstest(found.p_value.values.ravel(), "uniform").pvalue > 0.01


def test_places_that_move_the_answer_are_found_among_many_that_do_not() -> None:
    effects = np.random.default_rng(1).normal(0.0, 0.2, (30, 12, 12))
    effects[:, 9, [1, 6]] += 0.5
    found = statistics(result_of(effects, site="z", per="head"), resamples=200)
    where = np.argwhere(found.differs().values).tolist()
    assert [9, 1] in where
    assert [9, 6] in where
    assert len(where) <= 4
    assert found.strongest(2)["place"].tolist() in (["L9H1.z", "L9H6.z"], ["L9H6.z", "L9H1.z"])


def test_it_counts_the_pairs_that_have_a_cell_and_those_that_agree() -> None:
    effects = np.array([[0.5, -0.1], [0.4, np.nan], [-0.2, np.nan], [0.3, np.nan]])[:, None]
    found = statistics(result_of(effects))
    assert found.pairs.values.tolist() == [[4, 1]]
    assert found.same_sign.values[0, 0] == 3
    assert np.isnan(found.p_value.values[0, 1])
    assert np.isnan(found.low.values[0, 1])
    (row,) = found.to_frame().to_dict("records")
    assert (row["place"], row["pairs"], row["same_sign"]) == ("L0.resid_pre@0", 4, 3)


def test_a_cell_that_some_pairs_lack_is_as_if_only_the_others_were_there() -> None:
    effects, gaps = drawn(9)
    effects[[2, 5], 0, 1] = np.nan
    have = [0, 1, 3, 4, 6, 7, 8]
    found = statistics(result_of(effects, gaps))
    alone = statistics(result_of(effects[have], gaps[have]))
    for name in ("mean_effect", "low", "high", "p_value", "same_sign", "pairs"):
        ours, theirs = getattr(found, name), getattr(alone, name)
        assert float(ours[0, 1]) == pytest.approx(float(theirs[0, 1]), rel=1e-12)
    np.testing.assert_allclose(
        found.mean_effect.values, result_of(effects, gaps).mean_effect.values
    )


def test_a_cell_that_nothing_moves_is_nothing_for_certain() -> None:
    effects, gaps = drawn(8)
    effects[:, 0, 0] = 0.0
    found = statistics(result_of(effects, gaps))
    numbers = [float(getattr(found, name)[0, 0]) for name in ("mean_effect", "low", "high")]
    assert numbers == [0.0, 0.0, 0.0]
    assert float(found.p_value[0, 0]) == 1.0


def test_a_gap_that_is_not_told_from_zero_leaves_effects_without_bounds() -> None:
    draw = np.random.default_rng(0)
    gaps = np.array([3.0, -2.0, 1.5, -2.4, 0.2, -0.4])
    found = statistics(result_of(draw.normal(0.5, 0.1, (6, 1, 2)), gaps))
    assert np.isnan(found.low.values).all()
    assert np.isnan(found.high.values).all()
    assert np.isfinite(found.p_value.values).all()
    flat = statistics(result_of(draw.normal(0.5, 0.1, (6, 1, 2)), np.full(6, 1e-4)))
    assert np.isnan(flat.mean_effect.values).all()


def test_the_same_seed_gives_the_same_numbers_and_another_other_bounds() -> None:
    result = result_of(*drawn(20))
    one, again, other = (statistics(result, seed=seed) for seed in (4, 4, 5))
    assert one.document() == again.document()
    assert one.document()["low"] != other.document()["low"]
    assert one.document()["mean_effect"] == other.document()["mean_effect"]


@given(st.permutations(range(7)))
def test_the_order_of_the_pairs_changes_no_mean_and_no_p_value(order: list[int]) -> None:
    effects, gaps = drawn(7)
    one = statistics(result_of(effects, gaps), resamples=100)
    other = statistics(result_of(effects[order], gaps[order]), resamples=100)
    for name in ("mean_effect", "p_value", "same_sign"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9)


def test_odd_pairs_are_named_with_the_reason() -> None:
    draw = np.random.default_rng(3)
    gaps = draw.uniform(3.6, 4.4, 20)
    gaps[7] = 0.5
    effects = draw.normal(0.3, 0.05, (20, 2, 4))
    effects[12] = -0.6
    odd = statistics(result_of(effects, gaps)).odd_pairs
    found = {(one.pair, one.measure) for one in odd}
    assert {(7, "gap"), (12, "profile")} <= found
    assert {pair for pair, _ in found} == {7, 12}
    (gap,) = [one for one in odd if (one.pair, one.measure) == (7, "gap")]
    assert gap.score < -3.5
    assert "Its gap is 0.5 logits where the median of the pairs is 3.96" in gap.why


def test_pairs_that_are_alike_have_no_odd_one() -> None:
    draw = np.random.default_rng(3)
    effects = draw.uniform(0.2, 0.4, (20, 2, 4))
    assert statistics(result_of(effects, draw.uniform(3.0, 5.0, 20))).odd_pairs == []
    assert statistics(result_of(np.full((9, 1, 4), 0.5))).odd_pairs == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"level": 1.0}, "level of 1.0"),
        ({"resamples": 10}, "at least 100"),
        ({"seed": -1}, "A seed of -1: give a whole number"),
        ({"ratio": "of_medians"}, "'of_medians' is not a ratio"),
    ],
)
def test_a_choice_out_of_range_is_a_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        statistics(result_of(*drawn(5)), **changes)


def test_one_pair_is_too_few_and_no_pairs_are_no_sample() -> None:
    with pytest.raises(InputError, match="One pair is too few"):
        statistics(result_of(*drawn(1)))
    with pytest.raises(InputError, match="not over pairs"):
        statistics(made([[0.1, 0.2, 0.3, 0.4]]))


def test_many_cells_are_the_same_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    result = result_of(*drawn(20, cells=4))
    whole = statistics(result, resamples=200)
    monkeypatch.setattr("patchwright.algorithms.statistics.TILE", 250)
    cut = statistics(result, resamples=200)
    for name in ("low", "high", "p_value"):
        np.testing.assert_allclose(getattr(cut, name), getattr(whole, name), rtol=1e-9)


def test_contributions_and_places_together_have_statistics_too(model: pw.Model) -> None:
    draw = np.random.default_rng(0)
    pairs = [
        pw.Pair(clean=one, corrupt=other, answer=[7], wrong=[11])
        for one, other in draw.integers(0, 50, (6, 2, 4)).tolist()
    ]
    attribution = pw.logit_attribution(model, pairs, "head", bos=False)
    found: Statistics = statistics(attribution)
    assert found.array == "contribution"
    np.testing.assert_allclose(
        found.mean_effect.values, attribution.array("contribution").mean("pair").values
    )
    one = pw.patch_together(model, pairs, ["L1.resid_post@-1"], bos=False)
    single = statistics(one)
    assert single.mean_effect.shape == ()
    assert float(single.mean_effect) == pytest.approx(float(one.mean_effect))
    assert single.to_frame()["pairs"].tolist() == [6]
