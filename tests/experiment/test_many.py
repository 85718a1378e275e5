"""Experiments that share their passes give what they give one by one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import patchwright as pw
from patchwright.algorithms.batches import Progress
from patchwright.axes import METRICS, Metric
from patchwright.errors import ExperimentError, PatchwrightError
from patchwright.experiment.base import Experiment
from patchwright.experiment.batching import Batch, Outcome, make_batches, run_batch
from patchwright.prompts.align import Align
from tiny import VOCAB, pair_of, random_gpt2

MODEL = pw.wrap_model(random_gpt2(seed=0, n_layer=2), name="tiny")
HALF = pw.wrap_model(random_gpt2(seed=0, dtype=torch.float32), name="tiny")
ALIKE: dict[str, Any] = {"model": "tiny", "bos": False}

tokens = st.integers(0, VOCAB - 1)


@st.composite
def pairs(draw: st.DrawFn) -> pw.Pair:
    """Pairs of a few lengths, of which some cannot be run."""
    length = draw(st.integers(3, 5))
    clean = draw(st.lists(tokens, min_size=length, max_size=length))
    corrupt = list(clean)
    corrupt[draw(st.integers(0, length - 1))] = draw(tokens)
    if draw(st.integers(0, 9)) == 0:
        corrupt.append(3)
    answer = draw(st.sampled_from([[7], [7, 8], [VOCAB], [11]]))
    wrong = draw(st.sampled_from([[11], [11], []]))
    align: Align = draw(st.sampled_from(["exact", "exact", "edges"]))
    return pw.Pair(clean=clean, corrupt=corrupt, answer=answer, wrong=wrong, align=align)


def templates() -> list[Experiment]:
    """One experiment of each kind that says something by itself, and some that cannot be run."""
    pair = pair_of([1, 2, 3], [1, 4, 3])
    sweep: dict[str, Any] = {"pairs": pair, **ALIKE}
    found: list[Experiment] = [
        pw.Patch(site="resid_pre", per="position", **sweep),
        pw.Patch(site="z", per="head", direction="noise", metric="probability", **sweep),
        pw.Patch(site="pattern", per="head", **sweep),
        pw.Patch(site="mlp_out", per="position", order="attribution", max_exact=2, **sweep),
        pw.Patch(site="resid_pre", per="position", positions=(4,), **sweep),
        pw.PatchTogether(places=("L1.resid_post@-1",), metric="kl", **sweep),
        pw.PatchTogether(places=("L9.z",), **sweep),
        pw.AblateTogether(places=("L1.mlp_out",), **sweep),
        pw.Ablate(site="z", per="head", ablation="mean", prompts=((1, 2, 3), (4, 5, 6)), **sweep),
        pw.Ablate(
            site="z", per="head", ablation="resample", prompts=((1, 2, 3), (4, 5, 6)), **sweep
        ),
        pw.Attribute(site="attn_out", per="layer", **sweep),
        pw.Attribute(site="attn_out", per="layer", exact=True, **sweep),
        pw.PathPatch(site="z", per="head", receivers=("logits",), norms="freeze", **sweep),
        pw.Difference(site="z", per="head", **sweep),
        pw.Attention(layer=1, head=0, **sweep),
        pw.HeadScores(repeats=1, length=3, **sweep),
        pw.LogitLens(places=("L1.resid_post@-1",), **sweep),
        pw.LogitAttribution(part="head", **sweep),
        pw.EdgeAttribution(**sweep),
    ]
    trace: dict[str, Any] = {"prompt": (1, 2, 3), "subject": (1,), "answer": (7,), "samples": 2}
    return [*found, pw.Trace(**trace, **ALIKE)]


def with_pair(experiment: Experiment, pair: pw.Pair) -> Experiment:
    if isinstance(experiment, pw.Trace):
        return experiment
    return experiment.model_copy(update={"pairs": pair})


@st.composite
def experiments(draw: st.DrawFn) -> list[Experiment]:
    """A list in which many differ in their pair alone."""
    kinds = draw(st.lists(st.sampled_from(templates()), min_size=1, max_size=2))
    some = st.lists(st.tuples(st.sampled_from(kinds), pairs()), min_size=1, max_size=9)
    return [with_pair(kind, pair) for kind, pair in draw(some)]


def one_by_one(asked: Sequence[Experiment], model: pw.Model) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for index, experiment in enumerate(asked):
        try:
            outcomes.append(Outcome(index, pw.run(experiment, model), None))
        except PatchwrightError as error:
            outcomes.append(Outcome(index, None, str(error)))
    return outcomes


def close(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two JSON documents have equal words and, to the tolerance, equal numbers."""
    if isinstance(one, dict):
        assert isinstance(other, dict)
        return one.keys() == other.keys() and all(
            close(one[key], other[key], tolerance) for key in one
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(
            close(a, b, tolerance) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True))
    return one == other


def assert_alike(ours: Outcome, theirs: Outcome, tolerance: float) -> None:
    assert (ours.index, ours.error) == (theirs.index, theirs.error)
    if theirs.result is None:
        assert ours.result is None
        return
    assert ours.result is not None
    one, other = ours.result.document(), theirs.result.document()
    for document in (one, other):
        del document["seconds"]
        # A share of the other numbers, which a small gap divides with their rounding.
        if tolerance > 1e-9:
            document.pop("effect", None)
    assert close(one, other, tolerance), (one, other)


@settings(max_examples=40)
@given(experiments(), st.integers(1, 5))
def test_batches_give_what_the_experiments_give_one_by_one(
    asked: list[Experiment], size: int
) -> None:
    found = [outcome for batch in make_batches(asked, size) for outcome in run_batch(batch, MODEL)]
    assert sorted(outcome.index for outcome in found) == list(range(len(asked)))
    by_index = sorted(found, key=lambda outcome: outcome.index)
    for ours, theirs in zip(by_index, one_by_one(asked, MODEL), strict=True):
        assert_alike(ours, theirs, 1e-9)


@given(experiments(), st.integers(1, 5))
def test_a_plan_has_every_experiment_once_and_no_batch_is_too_large(
    asked: list[Experiment], size: int
) -> None:
    batches = make_batches(asked, size)
    assert sorted(i for batch in batches for i in batch.indices) == list(range(len(asked)))
    for batch in batches:
        assert 1 <= len(batch.indices) <= size
        assert list(batch.indices) == sorted(batch.indices)
        assert [asked[i] for i in batch.indices] == list(batch.experiments)
        kinds = {one.model_dump_json(exclude={"pairs"}) for one in batch.experiments}
        assert len(kinds) == 1
    firsts = [batch.indices[0] for batch in batches]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("metric", METRICS)
def test_in_float32_batches_agree_to_rounding(metric: Metric) -> None:
    draw = np.random.default_rng(0)
    prompts = [draw.choice(VOCAB, (2, length)).tolist() for length in (3, 5, 5, 5, 3, 4)]
    asked = [
        pw.Patch(pairs=pair_of(*two), site="z", per="head", metric=metric, **ALIKE)
        for two in prompts
    ]
    (batch,) = make_batches(asked)
    for ours, theirs in zip(run_batch(batch, HALF), one_by_one(asked, HALF), strict=True):
        assert_alike(ours, theirs, 1e-5)


def test_a_pair_that_fails_leaves_the_others_their_results() -> None:
    good = [pair_of([1, 2, 3 + i], [1, 4, 3 + i]) for i in range(6)]
    bad = pair_of([1, 2, 3], [1, 2])
    asked = [pw.PatchTogether(pairs=one, places=("L1.z",), **ALIKE) for one in [*good, bad]]
    (batch,) = make_batches(asked)
    found = list(run_batch(batch, MODEL))
    assert [outcome.index for outcome in found] == list(range(7))
    assert [outcome.result is None for outcome in found] == [False] * 6 + [True]
    assert found[-1].error is not None
    assert "has 3 tokens and the corrupted one 2" in found[-1].error


def test_a_pair_on_which_the_model_breaks_is_found_among_the_others() -> None:
    broken = random_gpt2(seed=0, tie_word_embeddings=False)
    with torch.no_grad():
        broken.transformer.wte.weight[9] = torch.nan
    model = pw.wrap_model(broken, name="tiny")
    pairs = [pair_of([1, 2, 3 + i], [1, 4, 3 + i]) for i in range(8)]
    asked = [pw.PatchTogether(pairs=one, places=("L1.z",), **ALIKE) for one in pairs]
    (batch,) = make_batches(asked)
    found = list(run_batch(batch, model))
    assert [outcome.error is not None for outcome in found] == [i == 6 for i in range(8)]
    for ours, theirs in zip(found, one_by_one(asked, model), strict=True):
        assert_alike(ours, theirs, 1e-9)


def test_a_tight_budget_gives_the_same_outcomes() -> None:
    asked = [
        pw.Patch(pairs=pair_of([1, 2, 3 + i], [1, 4, 3 + i]), per="position", **ALIKE)
        for i in range(5)
    ]
    (batch,) = make_batches(asked)
    for ours, theirs in zip(
        run_batch(batch, MODEL, budget=40_000), one_by_one(asked, MODEL), strict=True
    ):
        assert_alike(ours, theirs, 1e-9)


def test_one_pairs_share_of_the_seconds_is_its_part_of_the_pass() -> None:
    asked = [
        pw.PatchTogether(pairs=pair_of([1, 2, 3 + i], [1, 4, 3 + i]), places=("L1.z",), **ALIKE)
        for i in range(4)
    ]
    (batch,) = make_batches(asked)
    seconds = [outcome.result.seconds for outcome in run_batch(batch, MODEL) if outcome.result]
    assert len(seconds) == 4
    assert len(set(seconds)) == 1
    assert seconds[0] > 0


def test_stopped_work_has_no_outcome() -> None:
    asked = [
        pw.Patch(pairs=pair_of(list(range(n)), [*range(n - 1), 20]), per="position", **ALIKE)
        for n in (3, 3, 4)
    ]
    (batch,) = make_batches(asked)
    seen: list[int] = []

    def stop(now: Progress) -> bool:
        seen.append(now.done)
        return False

    assert list(run_batch(batch, MODEL, stop)) == []
    assert len(seen) == 1
    (alone,) = make_batches(asked[:1])
    assert list(run_batch(alone, MODEL, stop)) == []


def test_what_draws_or_averages_over_pairs_is_a_batch_of_one() -> None:
    pairs = [pair_of([1, 2, 3], [1, 4 + i, 3]) for i in range(2)]
    prompts = ((1, 2, 3), (4, 5, 6))
    sweep: dict[str, Any] = {"site": "z", "per": "head", **ALIKE}
    alone: list[Experiment] = []
    for pair in pairs:
        alone += [
            pw.Ablate(pairs=pair, ablation="resample", prompts=prompts, **sweep),
            pw.EdgeAttribution(pairs=pair, **ALIKE),
            pw.Patch(pairs=(pair,), **sweep),
        ]
    assert [batch.indices for batch in make_batches(alone)] == [(i,) for i in range(6)]


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"revision": "1"}, {"bos": True}, {"metric": "logit"}]
)
def test_experiments_that_differ_in_more_than_the_pair_are_kept_apart(
    change: dict[str, Any],
) -> None:
    pair = pair_of([1, 2, 3], [1, 4, 3])
    one, other = (
        pw.Patch(pairs=pair, site="z", per="head", **(ALIKE | more)) for more in ({}, change)
    )
    batches = make_batches([one, other, one])
    assert [batch.indices for batch in batches] == [(0, 2), (1,)]
    with pytest.raises(ExperimentError, match="differ in more than their single pair"):
        list(run_batch(Batch((0, 1), (one, other)), MODEL))


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ExperimentError, match="at least 1"):
        make_batches([], 0)
