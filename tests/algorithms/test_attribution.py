"""Attribution against finite differences through hooks, and against the sweep where it is exact."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedModel

import patchwright as pw
import slow_patching
from hooks import Change, activation, changed_logits
from patchwright.axes import DIMS, Direction, Per
from patchwright.errors import ExperimentError
from patchwright.places import SITES, Place, Site, n_heads_of, pers_of
from tiny import N_HEADS, N_LAYERS, pair_of, random_gpt2

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]
PAIR = pair_of(CLEAN, CORRUPT, answer=[7, 13], wrong=[11])
STEP = 1e-6

SWEEPS = [(site, per) for site in SITES for per in pers_of(site)]


def derivative(run: Callable[[float], Tensor], metric: str, clean: Tensor) -> float:
    """Central difference of a metric along a direction, at 0."""
    ends = [
        slow_patching.metric_of(metric, run(step), clean, [7, 13], [11]) for step in (STEP, -STEP)
    ]
    return (ends[0] - ends[1]) / (2 * STEP)


def moved(source: Tensor, place: Place, step: float) -> Change:
    """Move the live activation at a place by `step` towards the source's."""
    index = place.neuron if place.head is None else place.head
    at = slice(None) if place.position is None else place.position

    def change(live: Tensor) -> None:
        if index is None:
            live[at] += step * (source[at] - live[at])
        else:
            live[at, index] += step * (source[at, index] - live[at, index])

    return change


def place_of(site: Site, per: Per, cell: tuple[int, ...]) -> Place:
    named = dict(zip(DIMS[per], cell, strict=True))
    if site == "embed":
        named.pop("layer")
    return Place(site, **named)


@pytest.mark.every_family
@pytest.mark.parametrize(("site", "per"), SWEEPS)
@pytest.mark.parametrize(
    ("direction", "metric"), [("denoise", "logit_diff"), ("noise", "prob_diff"), ("noise", "kl")]
)
def test_the_estimate_is_the_slope_at_the_run_that_is_patched(
    module: PreTrainedModel,
    model: pw.Model,
    site: Site,
    per: Per,
    direction: Direction,
    metric: str,
) -> None:
    layers = [1] if per == "neuron" else None
    result = pw.attribute(
        model, PAIR, site, per, direction, metric=metric, bos=False, layers=layers
    )
    into, out_of = (CORRUPT, CLEAN) if direction == "denoise" else (CLEAN, CORRUPT)
    base = result.corrupt.metric if direction == "denoise" else result.clean.metric
    clean = changed_logits(module, CLEAN, [])[-1]
    cells = list(np.ndindex(*result.patched.shape))
    for cell in cells[:: max(1, len(cells) // 12)]:
        labels = tuple(
            int(result.patched[dim].values[i]) for dim, i in zip(DIMS[per], cell, strict=True)
        )
        place = place_of(site, per, labels)
        source = activation(module, out_of, site, place.layer or 0)

        def run(step: float, place: Place = place, source: Tensor = source) -> Tensor:
            steps = [(site, place.layer or 0, moved(source, place, step))]
            return changed_logits(module, into, steps)[-1]

        expected = base + derivative(run, metric, clean)
        assert result.patched.values[cell] == pytest.approx(expected, abs=1e-6)


@pytest.mark.every_family
@pytest.mark.parametrize("site", ["q", "k"])
@pytest.mark.parametrize("per", ["head", "head_position"])
def test_the_fix_recomputes_the_softmax(
    module: PreTrainedModel, model: pw.Model, site: Site, per: Per
) -> None:
    result = pw.attribute(model, PAIR, site, per, estimator="qk_fix", bos=False)
    clean = changed_logits(module, CLEAN, [])[-1]
    for cell in list(np.ndindex(*result.patched.shape))[::3]:
        place = place_of(site, per, cell)
        layer, head = cell[0], cell[1]
        source = activation(module, CLEAN, site, layer)
        copied = [(site, layer, moved(source, place, 1.0))]
        pattern = activation(module, CORRUPT, "pattern", layer, copied)
        group = model.spec.n_heads // n_heads_of(site, model.spec)
        readers = range(head * group, (head + 1) * group)

        def run(
            step: float, layer: int = layer, readers: range = readers, new: Tensor = pattern
        ) -> Tensor:
            steps: list[tuple[str, int, Change]] = [
                ("pattern", layer, moved(new, Place("pattern", layer, one), step))
                for one in readers
            ]
            return changed_logits(module, CORRUPT, steps)[-1]

        expected = result.corrupt.metric + derivative(run, "logit_diff", clean)
        assert result.patched.values[cell] == pytest.approx(expected, abs=1e-6)


def linear_model() -> GPT2LMHeadModel:
    """A GPT-2 whose output is linear in its embeddings: fixed patterns, norms and neurons."""
    gpt2 = random_gpt2(seed=5, activation_function="linear", layer_norm_epsilon=1e12)
    with torch.no_grad():
        for name, parameter in gpt2.named_parameters():
            if ".ln_" in name and name.endswith("weight"):
                parameter.mul_(1e6)
            if "c_attn" in name:
                parameter[..., : 2 * gpt2.config.n_embd] = 0
    return gpt2


@pytest.mark.parametrize(
    "site", ["embed", "resid_pre", "resid_mid", "attn_out", "z", "v", "mlp_act", "mlp_out"]
)
@pytest.mark.parametrize("method", ["gradient", "integrated"])
def test_on_a_linear_model_the_estimate_is_exact(site: str, method: str) -> None:
    model = pw.wrap_model(linear_model())
    result = pw.compare_with_exact(model, PAIR, site, estimator=method, steps=3, bos=False)
    scale = abs(result.clean.metric - result.corrupt.metric)
    np.testing.assert_allclose(
        result.patched, result.arrays["exact"], rtol=0, atol=1e-8 * max(scale, 1)
    )
    assert result.details["correlation"] == pytest.approx(1, abs=1e-9)
    assert result.details["recall"] == 1


# A router chooses, which has no slope: what changes on the way with its choice is not in the mean.
@pytest.mark.every_family(without=("mixtral",))
def test_integrated_gradients_of_all_embeddings_are_complete(model: pw.Model) -> None:
    result = pw.attribute(
        model, PAIR, "embed", "layer", estimator="integrated", steps=400, bos=False
    )
    assert result.patched.values[0] == pytest.approx(result.clean.metric, abs=1e-4)


def test_several_pairs_equal_each_by_itself(model: pw.Model) -> None:
    other = pair_of([6, 2, 3, 4], [8, 5, 3, 4])
    both = pw.attribute(model, [PAIR, other], "z", bos=False)
    alone = pw.attribute(model, other, "z", bos=False)
    np.testing.assert_allclose(both.patched.sel(pair=1), alone.patched, rtol=0, atol=1e-10)


def test_chosen_cells_are_those_of_the_whole(model: pw.Model) -> None:
    whole = pw.attribute(model, PAIR, "k", "head_position", bos=False)
    part = pw.attribute(
        model, PAIR, "k", "head_position", layers=[2, 0], heads=[3, 1], positions=[-1, 1], bos=False
    )
    expected = whole.patched.sel(layer=[2, 0], head=[3, 1], position=[1, 3])
    np.testing.assert_allclose(part.patched, expected, rtol=0, atol=1e-12)


def test_an_answer_of_several_tokens_is_estimated_too(demo: pw.Model) -> None:
    pair = pw.Pair(clean="The capital of Iceland is", corrupt="The capital of Norway is",
                   answer=" Reykjavik", wrong=" Oslo")  # fmt: skip
    result = pw.compare_with_exact(demo, pair, "mlp_out", metric="logprob_diff")
    assert np.isfinite(result.patched).all()


@pytest.mark.parametrize("site", ["resid_pre", "z"])
def test_the_order_changes_no_number(model: pw.Model, site: str) -> None:
    plain = pw.patch(model, PAIR, site, bos=False)
    ordered = pw.patch(model, PAIR, site, bos=False, order="attribution")
    np.testing.assert_allclose(ordered.patched, plain.patched, rtol=0, atol=1e-10)
    assert [one["code"] for one in ordered.warnings] == [one["code"] for one in plain.warnings]


def test_the_rest_keep_their_estimates_and_are_marked(model: pw.Model) -> None:
    exact = pw.patch(model, PAIR, "z", "head_position", bos=False)
    estimate = pw.attribute(model, PAIR, "z", "head_position", bos=False)
    mixed = pw.patch(model, PAIR, "z", "head_position", bos=False, order="attribution", max_exact=6)
    marked = mixed.arrays["estimated"].values.astype(bool)
    np.testing.assert_allclose(mixed.patched.values[marked], estimate.patched.values[marked])
    np.testing.assert_allclose(
        mixed.patched.values[~marked], exact.patched.values[~marked], atol=1e-10
    )
    strength = np.abs(estimate.patched.values - estimate.corrupt.metric)
    computed = ~marked & (exact.patched.values != exact.corrupt.metric)
    assert computed.sum() == 6
    assert strength[computed].min() >= strength[marked].max()
    assert "estimate" in [notice["code"] for notice in mixed.warnings]
    assert N_LAYERS * N_HEADS * len(CLEAN) == marked.size


def test_a_stopped_sweep_leaves_estimates_where_nothing_was_computed(model: pw.Model) -> None:
    seen: list[pw.Progress] = []

    def stop(now: pw.Progress) -> bool:
        seen.append(now)
        return False

    estimate = pw.attribute(model, PAIR, "z", "head_position", bos=False)
    stopped = pw.patch(
        model, PAIR, "z", "head_position", bos=False, order="attribution", progress=stop
    )
    assert len(seen) == 1
    assert seen[0].estimate is not None
    np.testing.assert_array_equal(seen[0].estimate[0], estimate.patched)
    marked = stopped.arrays["estimated"].values.astype(bool)
    assert marked.sum() == stopped.patched.size - seen[0].done
    np.testing.assert_array_equal(stopped.patched.values[marked], estimate.patched.values[marked])
    np.testing.assert_array_equal(stopped.patched.values[~marked], stopped.corrupt.metric)
    assert [one["code"] for one in stopped.warnings][-2:] == ["stopped", "estimate"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metric": "rank"}, "no gradient"),
        ({"estimator": "qk_fix"}, "sites q and k"),
        ({"estimator": "guess"}, "'gradient', 'qk_fix' or 'integrated'"),
        ({"estimator": "integrated", "steps": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_estimated_is_refused(
    model: pw.Model, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(ExperimentError, match=says):
        pw.attribute(model, PAIR, **changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_exact": 3}, "order='attribution'"),
        ({"order": "attribution", "max_exact": 0}, "at least 1"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    model: pw.Model, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(ExperimentError, match=says):
        pw.patch(model, PAIR, **changes)  # pyright: ignore[reportArgumentType]
