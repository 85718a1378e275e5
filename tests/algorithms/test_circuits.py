"""Edges against finite differences, and circuits against what must hold of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

import hooks
import patchwright as pw
from patchwright.algorithms import circuits
from patchwright.algorithms.batches import Progress
from patchwright.algorithms.circuits import (
    CircuitValues,
    EdgeScores,
    area_under_curve,
    edge_scores,
    edges_by_score,
    greedy_edges,
    measure_circuits,
    random_circuits,
)
from patchwright.algorithms.readout import MetricReader
from patchwright.axes import BUDGET, Metric
from patchwright.edges import LOGITS, node_of
from patchwright.errors import AnswerError, ExperimentError, UnequalLengthsError
from patchwright.experiment.run import tokens_of
from patchwright.model.graph import Graph, GraphRun, embed_prompt, run_graph
from patchwright.prompts.pair import TokenPair
from tiny import N_HEADS, N_LAYERS, pair_of

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]


@pytest.fixture
def pair(model: pw.Model) -> TokenPair:
    return tokens(model, CLEAN, CORRUPT)


def tokens(model: pw.Model, clean: list[int], corrupt: list[int], **more: object) -> TokenPair:
    given = pair_of(clean, corrupt, **more)
    experiment = pw.Patch(model="tiny", pairs=given, per="position", bos=False)
    return tokens_of(given, experiment, model)


def every_edge(model: pw.Model) -> list[tuple[str, str]]:
    graph = Graph(model.spec)
    return [(graph.senders[s], graph.receivers[r]) for r, s in graph.edge_mask().nonzero().tolist()]


def value_at(model: pw.Model, pair: TokenPair, kept: torch.Tensor, metric: Metric) -> float:
    network = model.network
    clean, corrupt = (embed_prompt(network, one) for one in (pair.clean, pair.corrupt))
    other = run_graph(network, corrupt).written
    reader = MetricReader(network, pair, run_graph(network, clean).final[-1])
    passed = run_graph(network, clean, kept, other)
    return reader.read(metric, [passed.final[-1:][None]])[0].item()


@pytest.mark.every_family
def test_the_graph_computes_the_model(module: PreTrainedModel, model: pw.Model) -> None:
    passed = run_graph(model.network, embed_prompt(model.network, CLEAN))
    expected = hooks.activation(module, CLEAN, "resid_post", N_LAYERS - 1)
    torch.testing.assert_close(passed.final, expected, rtol=0, atol=1e-11)
    graph = Graph(model.spec)
    assert len(graph.senders) == len(passed.written) == 1 + N_LAYERS * (N_HEADS + 1)
    assert len(graph.receivers) == sum(map(len, passed.read)) == N_LAYERS * (3 * N_HEADS + 1) + 1
    z = hooks.activation(module, CLEAN, "z", 1)
    written = hooks.written_by_head(module, z, 1, 2)
    found = passed.written[graph.senders.index("L1H2")]
    torch.testing.assert_close(found, written, rtol=0, atol=1e-11)


@pytest.mark.every_family
@pytest.mark.parametrize("metric", ["logit_diff", "probability"])
def test_scores_are_finite_differences_of_one_edge_at_a_time(
    model: pw.Model, pair: TokenPair, metric: Metric
) -> None:
    scores = edge_scores(model.network, [pair], metric, steps=None).values
    exists = Graph(model.spec).edge_mask()
    assert np.isnan(scores[~exists.numpy()]).all()
    step = 1e-6
    for receiver, sender in exists.nonzero().tolist()[::7]:
        ends: list[float] = []
        for share in (1 - step, 1 + step):
            kept = torch.ones(exists.shape, dtype=torch.float64)
            kept[receiver, sender] = share
            ends.append(value_at(model, pair, kept, metric))
        # A smaller share of the clean activation is a larger one of the corrupted.
        assert scores[receiver, sender] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_integrated_scores_of_the_embeddings_edges_into_one_path_are_means_of_slopes(
    model: pw.Model, pair: TokenPair
) -> None:
    one = edge_scores(model.network, [pair], "logit_diff", steps=1).values
    many = edge_scores(model.network, [pair], "logit_diff", steps=64).values
    finer = edge_scores(model.network, [pair], "logit_diff", steps=128).values
    known = np.isfinite(one)
    assert np.abs(many - one)[known].max() > 1e-4
    assert np.abs(finer - many)[known].max() < 1e-3


@pytest.mark.every_family
@pytest.mark.parametrize("outside", ["corrupt", "mean"])
def test_all_edges_keep_everything_and_none_keeps_nothing(
    model: pw.Model, pair: TokenPair, outside: str
) -> None:
    other = tokens(model, [1, 2, 3, 4], [6, 2, 3, 4])
    found = measure_circuits(
        model.network,
        [pair, other],
        [every_edge(model), []],
        "logit_diff",
        "mean" if outside == "mean" else "corrupt",
    )
    assert found.faithfulness == pytest.approx([1, 0], abs=1e-9)


def test_with_nothing_kept_the_answer_is_the_corrupted_runs(
    model: pw.Model, pair: TokenPair
) -> None:
    found = measure_circuits(model.network, [pair], [[]], "logit_diff", "corrupt")
    result = pw.patch(model, pair_of(CLEAN, CORRUPT), bos=False)
    assert found.clean == pytest.approx(result.clean.metric, abs=1e-9)
    assert found.outside == pytest.approx(result.corrupt.metric, abs=1e-9)


# A patched z moves the scale of a norm behind attention, which an edge holds.
@pytest.mark.every_family(without=("gemma3_text",))
@given(cut=st.integers(0, 500))
def test_corrupting_every_edge_of_a_head_is_patching_its_z(model: pw.Model, cut: int) -> None:
    pair = tokens(model, CLEAN, CORRUPT)
    layer, head = divmod(cut % (N_LAYERS * N_HEADS), N_HEADS)
    name = f"L{layer}H{head}"
    edges = [edge for edge in every_edge(model) if edge[0] != name]
    found = measure_circuits(model.network, [pair], [edges], "logit_diff", "corrupt").values[0]
    result = pw.patch_together(
        model, pair_of(CLEAN, CORRUPT), [f"{name}.z"], direction="noise", bos=False
    )
    assert found == pytest.approx(float(result.patched), abs=1e-9)


def test_the_strongest_edges_come_first_and_each_once(model: pw.Model, pair: TokenPair) -> None:
    graph = Graph(model.spec)
    scores = edge_scores(model.network, [pair], "logit_diff", steps=None).values
    edges = edges_by_score(scores, graph)
    assert sorted(edges) == sorted(every_edge(model))
    sizes = [
        abs(scores[graph.receivers.index(receiver), graph.senders.index(sender)])
        for sender, receiver in edges
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_a_greedy_walk_always_stays_connected_to_the_logits(
    model: pw.Model, pair: TokenPair
) -> None:
    edges = greedy_edges(
        edge_scores(model.network, [pair], "logit_diff", None).values, Graph(model.spec)
    )
    reached = {LOGITS}
    for sender, receiver in edges:
        assert node_of(receiver) in reached
        reached.add(sender)
    assert len(set(edges)) == len(edges)


def test_random_circuits_are_the_same_for_the_same_seed(model: pw.Model) -> None:
    every = every_edge(model)
    one, other = (random_circuits(every, 5, 3, seed=seed) for seed in (0, 1))
    assert one == random_circuits(every, 5, 3, seed=0)
    assert one != other
    assert all(len(set(edges)) == 5 and set(edges) <= set(every) for edges in one)


def test_the_area_is_the_mean_height() -> None:
    assert area_under_curve([1, 3], [0.0, 1.0]) == 0.5
    assert area_under_curve([1, 2, 4], [1.0, 1.0, 1.0]) == 1.0
    assert area_under_curve([7], [0.3]) == 0.3


def test_edges_that_are_none_are_refused(model: pw.Model, pair: TokenPair) -> None:
    for edge in (("L2H0", "L1H0.q"), ("embed", "nowhere"), ("L9H0", "logits")):
        with pytest.raises(ExperimentError, match="has no edge"):
            measure_circuits(model.network, [pair], [[edge]], "logit_diff", "corrupt")
    with pytest.raises(ExperimentError, match="no gradient"):
        edge_scores(model.network, [pair], "rank", None)
    unequal = tokens(model, [1, 2, 6, 3], [1, 4, 3], align="edges")
    with pytest.raises(UnequalLengthsError):
        edge_scores(model.network, [unequal], "logit_diff", None)


def test_answers_of_several_tokens_are_refused(demo: pw.Model) -> None:
    text = pw.Pair(
        clean="The capital of Iceland is",
        corrupt="The capital of Norway is",
        answer=" Reykjavik",
        wrong=" Oslo",
    )
    experiment = pw.Patch(model="demo", pairs=text, per="position", metric="logprob")
    with pytest.raises(AnswerError):
        edge_scores(demo.network, [tokens_of(text, experiment, demo)], "logprob", None)


def test_the_greedy_walk_takes_the_strongest_edge_that_it_can_reach(
    model: pw.Model, pair: TokenPair
) -> None:
    scores = edge_scores(model.network, [pair], "logit_diff", None).values
    graph = Graph(model.spec)
    left, reached, expected = edges_by_score(scores, graph), {LOGITS}, list[tuple[str, str]]()
    while edge := next((one for one in left if node_of(one[1]) in reached), None):
        left.remove(edge)
        expected.append(edge)
        reached.add(edge[0])
    assert greedy_edges(scores, graph) == expected


def test_stopped_scores_are_means_over_the_pairs_that_are_done(
    model: pw.Model, pair: TokenPair
) -> None:
    pairs = [pair, tokens(model, [1, 2, 3, 4], [6, 2, 3, 4]), tokens(model, [9, 8, 7], [9, 5, 7])]
    seen: list[tuple[int, int]] = []

    def progress(now: Progress) -> bool:
        seen.append((now.done, now.total))
        return now.done < 2

    found = edge_scores(model.network, pairs, "logit_diff", None, progress)
    each = [edge_scores(model.network, [one], "logit_diff", None).values for one in pairs]
    assert (found.done, list(dict.fromkeys(seen))) == (2, [(0, 3), (1, 3), (2, 3)])
    np.testing.assert_allclose(found.values, (each[0] + each[1]) / 2, atol=1e-12)
    whole = edge_scores(model.network, pairs, "logit_diff", None).values
    np.testing.assert_allclose(whole, np.mean(each, axis=0), atol=1e-12)


def test_a_stop_is_heeded_between_two_passes_of_a_pair(model: pw.Model, pair: TokenPair) -> None:
    pairs = [pair, tokens(model, [1, 2, 3, 4], [6, 2, 3, 4])]
    seen: list[tuple[int, int]] = []

    def until(last: int) -> EdgeScores:
        def progress(now: Progress) -> bool:
            seen.append((now.done, now.total))
            return now.done < last

        seen.clear()
        return edge_scores(model.network, pairs, "logit_diff", 3, progress)

    first = edge_scores(model.network, pairs[:1], "logit_diff", 3)
    found = until(4)
    assert (found.done, found.steps) == (1, 3)
    assert list(dict.fromkeys(seen)) == [(done, 6) for done in range(5)]
    np.testing.assert_array_equal(found.values, first.values)
    found = until(1)
    assert (found.done, found.steps, seen[-1]) == (1, 1, (1, 6))
    # The one pass that is done lies a sixth of the way from one prompt to the other.
    assert np.isfinite(found.values[~np.isnan(first.values)]).all()
    assert not np.allclose(found.values, first.values, equal_nan=True)
    assert (found.stopped, first.stopped) == (True, False)


@pytest.mark.parametrize("outside", ["corrupt", "mean", "scores"])
def test_a_stop_is_heeded_before_the_next_pass_whichever_it_is(
    model: pw.Model, pair: TokenPair, outside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[None] = []

    def counted(*given: Any) -> GraphRun:
        ran.append(None)
        return run_graph(*given)

    monkeypatch.setattr(circuits, "run_graph", counted)
    pairs = [pair, tokens(model, [1, 2, 3, 4], [6, 2, 3, 4])]

    def work(progress: Callable[[Progress], bool]) -> EdgeScores | CircuitValues:
        ran.clear()
        if outside == "scores":
            return edge_scores(model.network, pairs, "logit_diff", 2, progress)
        every = [every_edge(model), []]
        return measure_circuits(model.network, pairs, every, "logit_diff", outside, progress)

    seen: list[Progress] = []
    work(lambda now: seen.append(now) is None)
    whole = len(ran)
    assert len(seen) == whole + 1
    for last in range(1, whole + 1):
        calls = iter(range(1, last + 1))
        found = work(lambda _, calls=calls, last=last: next(calls) < last)
        assert len(ran) == last - 1
        if isinstance(found, CircuitValues):
            assert np.isnan(found.values[found.done :]).all()
            assert np.isfinite(found.values[: found.done]).all()
        else:
            assert np.isnan(found.values).all() == (found.steps == 0)


@pytest.mark.parametrize("budget", [0, 20_000, BUDGET])
def test_a_small_budget_gives_the_same_numbers(
    model: pw.Model, pair: TokenPair, budget: int
) -> None:
    pairs = [pair, tokens(model, [1, 2, 3, 4], [6, 2, 3, 4])]
    circuits = [every_edge(model)[::2], every_edge(model)[::3]]
    found = measure_circuits(model.network, pairs, circuits, "logit_diff", "corrupt", budget=budget)
    alone = [
        measure_circuits(model.network, [one], circuits, "logit_diff", "corrupt") for one in pairs
    ]
    np.testing.assert_allclose(found.values, np.mean([one.values for one in alone], axis=0))
