from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import patchwright as pw
from patchwright.algorithms import circuits
from patchwright.algorithms.circuits import area_under_curve
from patchwright.errors import ExperimentError, InputError
from patchwright.methods.circuit import EvaluateCircuit
from tiny import pair_of, random_gpt2

PAIR = pair_of([3, 8, 21, 5], [3, 9, 22, 5])


def test_a_circuit_survives_its_file(model: pw.Model, tmp_path: Path) -> None:
    scored = pw.edge_attribution(model, PAIR, bos=False)
    circuit = pw.Circuit.choose(scored, model, top=9)
    circuit.to_json(tmp_path / "circuit.json")
    assert pw.load_circuit(tmp_path / "circuit.json") == circuit
    assert len(circuit.edges) == 9


def test_a_threshold_keeps_what_reaches_it(model: pw.Model) -> None:
    scored = pw.edge_attribution(model, PAIR, bos=False)
    known = np.abs(scored.arrays["edges"].values)
    limit = float(np.nanmedian(known))
    kept = pw.Circuit.choose(scored, model, threshold=limit)
    assert len(kept.edges) == int((known >= limit).sum())
    assert min(map(abs, kept.scores)) >= limit


def test_the_curve_ends_at_everything_with_its_areas(model: pw.Model) -> None:
    scored = pw.edge_attribution(model, PAIR, bos=False)
    whole = pw.Circuit.choose(scored, model)
    result = pw.evaluate_circuit(model, PAIR, whole, n_random=2, bos=False)
    kept, complement = result.arrays["faithfulness"], result.arrays["complement"]
    assert float(kept[-1]) == pytest.approx(1, abs=1e-9)
    assert float(complement[-1]) == pytest.approx(0, abs=1e-9)
    sizes = kept["size"].values.tolist()
    assert sizes[-1] == len(whole.edges)
    assert result.details["area"] == pytest.approx(area_under_curve(sizes, kept.values.tolist()))
    random = result.arrays["random"].mean("sample").values.tolist()
    assert result.details["random_area"] == pytest.approx(area_under_curve(sizes, random))


def test_on_the_demo_model_the_best_edges_keep_more_than_random_ones(demo: pw.Model) -> None:
    pair = pw.Pair(
        clean="When Mary and John went to the store, John gave a drink to",
        corrupt="When Mary and John went to the store, Mary gave a drink to",
        answer=" Mary",
        wrong=" John",
    )
    circuit = pw.Circuit.choose(pw.edge_attribution(demo, pair, steps=5), demo, top=200)
    result = pw.evaluate_circuit(demo, pair, circuit)
    assert result.details["area"] > result.details["random_area"]


def test_another_models_circuit_is_refused(model: pw.Model) -> None:
    circuit = pw.Circuit.choose(pw.edge_attribution(model, PAIR, bos=False), model, top=3)
    with pytest.raises(ExperimentError, match="belongs to"):
        pw.evaluate_circuit(pw.wrap_model(random_gpt2(seed=9)), PAIR, circuit)


def test_sizes_must_rise_within_the_circuit(model: pw.Model) -> None:
    circuit = pw.Circuit.choose(pw.edge_attribution(model, PAIR, bos=False), model, top=3)
    for sizes in ([], [3, 2], [4], [-1]):
        with pytest.raises(ExperimentError, match="from 0 to 3"):
            pw.evaluate_circuit(model, PAIR, circuit, sizes)


@pytest.mark.parametrize("content", ["", "[]", '{"model": "x"}'])
def test_what_is_no_circuit_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "circuit.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="is not a circuit"):
        pw.load_circuit(path)


def test_a_stopped_curve_has_the_small_sizes_and_says_so(model: pw.Model, tmp_path: Path) -> None:
    circuit = pw.Circuit.choose(pw.edge_attribution(model, PAIR, bos=False), model)
    sizes = [5, 10, 20]
    whole = pw.evaluate_circuit(model, PAIR, circuit, sizes, n_random=2, bos=False)
    counted: list[tuple[int, int]] = []

    def progress(now: pw.Progress) -> bool:
        counted.append((now.done, now.total))
        return now.done < 6  # four a size: the circuit, its complement, two random ones

    result = pw.evaluate_circuit(
        model, PAIR, circuit, sizes, n_random=2, bos=False, progress=progress
    )
    assert list(dict.fromkeys(counted)) == [(done, 12) for done in range(7)]
    for name, known in (("faithfulness", 2), ("complement", 2), ("random", 1)):
        found, expected = result.arrays[name].values, whole.arrays[name].values
        np.testing.assert_array_equal(found[:known], expected[:known])
        assert np.isnan(found[known:]).all()
    assert [one["code"] for one in result.warnings][-1] == "stopped"
    assert "6 of 12 circuits" in result.warnings[-1]["message"]
    kept = whole.arrays["faithfulness"].values[:2].tolist()
    assert result.details["area"] == pytest.approx(area_under_curve([5, 10], kept))
    result.plot(tmp_path / "curve.png")
    assert pw.load_result(_written(result, tmp_path)).details == result.details


def test_stopped_scores_say_of_how_many_pairs_they_are(model: pw.Model) -> None:
    pairs = [PAIR, pair_of([1, 2, 3, 4], [6, 2, 3, 4])]
    result = pw.edge_attribution(model, pairs, bos=False, progress=lambda now: now.done < 1)
    assert result.warnings[-1]["code"] == "stopped"
    assert "1 of 2 pairs" in result.warnings[-1]["message"]
    one = pw.edge_attribution(model, PAIR, bos=False)
    np.testing.assert_array_equal(result.arrays["edges"], one.arrays["edges"])
    assert "stopped" not in [notice["code"] for notice in one.warnings]


def test_a_flat_gap_leaves_faithfulness_empty(tmp_path: Path) -> None:
    gpt2 = random_gpt2(seed=4)
    with torch.no_grad():
        embedding = gpt2.get_parameter("transformer.wte.weight")
        embedding[11] = embedding[7]
    model = pw.wrap_model(gpt2)
    circuit = pw.Circuit.choose(pw.edge_attribution(model, PAIR, bos=False), model, top=4)
    result = pw.evaluate_circuit(model, PAIR, circuit, bos=False)
    assert result.arrays["faithfulness"].isnull().all()
    assert "flat_gap" in [one["code"] for one in result.warnings]
    result.plot(tmp_path / "curve.svg")
    assert "no area" in (tmp_path / "curve.svg").read_text(encoding="utf-8")
    assert set(pw.load_result(_written(result, tmp_path)).details) == {"gap"}


def _written(result: pw.Result, folder: Path) -> Path:
    result.to_json(folder / "result.json")
    return folder / "result.json"


@pytest.mark.parametrize("metric", ["logit_diff", "logprob"])
def test_the_strongest_edges_are_measured_each_alone(model: pw.Model, metric: str) -> None:
    found = pw.edge_attribution(model, PAIR, metric=metric, exact=4, bos=False)
    exact = found.array("exact")
    chosen = pw.Circuit.choose(found, model, top=4)
    assert int(exact.notnull().sum()) == 4
    for sender, receiver in chosen.edges:
        alone = pw.Circuit(
            model=model.name,
            fingerprint=model.fingerprint,
            edges=((sender, receiver),),
            scores=(0.0,),
        )
        # The complement of a circuit of one edge is the model with that edge corrupted.
        kept = pw.evaluate_circuit(model, PAIR, alone, metric=metric, n_random=0, bos=False)
        gap = kept.clean.metric - kept.corrupt.metric
        change = (float(kept.array("complement")[0]) - 1) * gap
        assert float(exact.sel(sender=sender, receiver=receiver)) == pytest.approx(change, abs=1e-9)


def test_more_edges_to_measure_than_there_are_means_all(model: pw.Model) -> None:
    found = pw.edge_attribution(model, PAIR, exact=10**6, bos=False)
    assert bool((found.array("exact").notnull() == found.array("edges").notnull()).all())


def test_a_stopped_check_says_how_many_edges_were_measured(model: pw.Model) -> None:
    found = pw.edge_attribution(model, PAIR, exact=4, bos=False, progress=lambda now: now.done < 3)
    assert int(found.array("exact").notnull().sum()) == 2
    assert any("2 of 4 edges" in notice["message"] for notice in found.warnings)


def test_a_stop_during_the_scores_begins_no_other_work(model: pw.Model) -> None:
    counted: list[tuple[int, int]] = []

    def progress(now: pw.Progress) -> bool:
        counted.append((now.done, now.total))
        return now.done < 1

    found = pw.edge_attribution(model, PAIR, steps=3, exact=4, bos=False, progress=progress)
    assert counted[-1] == (1, 7)
    assert "exact" not in found.arrays
    assert "1 of 3 steps" in found.warnings[-1]["message"]
    found = pw.edge_attribution(model, PAIR, exact=4, bos=False, progress=lambda now: now.done < 1)
    assert "0 of 4 edges" in found.warnings[-1]["message"]


def test_what_is_stopped_at_once_has_no_scores_no_edges_and_no_gap(
    model: pw.Model, tmp_path: Path
) -> None:
    found = pw.edge_attribution(model, PAIR, steps=3, exact=4, bos=False, progress=lambda _: False)
    assert found.array("edges").isnull().all()
    assert "0 of 3 steps" in found.warnings[-1]["message"]
    for connected in (False, True):
        assert pw.Circuit.choose(found, model, connected=connected).edges == ()
    circuit = pw.Circuit.choose(pw.edge_attribution(model, PAIR, bos=False), model)
    result = pw.evaluate_circuit(model, PAIR, circuit, bos=False, progress=lambda _: False)
    assert result.array("faithfulness").isnull().all()
    assert result.details == {}
    assert "0 of " in result.warnings[-1]["message"]
    assert pw.load_result(_written(result, tmp_path)).details == {}


def test_edges_to_measure_are_counted_from_nothing_up(model: pw.Model) -> None:
    with pytest.raises(ExperimentError, match="0 or more"):
        pw.edge_attribution(model, PAIR, exact=-1, bos=False)


def passes_of(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with every pass through the graph."""
    ran: list[None] = []
    passed = circuits.run_graph
    monkeypatch.setattr(circuits, "run_graph", lambda *given: ran.append(None) or passed(*given))
    return ran


def evaluation(model: pw.Model, sizes: list[int], **more: object) -> EvaluateCircuit:
    circuit = pw.Circuit.choose(pw.edge_attribution(model, PAIR, bos=False), model)
    edges = circuit.edges[: sizes[-1]]
    return EvaluateCircuit.on(model, PAIR, False, edges=edges, sizes=sizes, n_random=2, **more)


ENDS = 3
"""Passes for the clean run, the corrupted one, and the circuit of no edges."""


def test_sizes_that_an_earlier_result_has_are_not_measured_again(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = evaluation(model, [1, 7, 8, 40])
    whole, other = pw.run(asked, model), evaluation(model, [1, 8, 32])
    ran = passes_of(monkeypatch)
    before = pw.run(other, model)
    assert len(ran) == ENDS + 3 * 4
    before = pw.load_result(_written(before, tmp_path))
    ran.clear()
    counted: list[tuple[int, int]] = []
    found = pw.run(asked, model, lambda now: counted.append((now.done, now.total)), known=before)
    assert len(ran) == ENDS + 2 * 4
    assert counted[-1] == (8, 8)
    same = ("experiment", "details", "warnings", "tokens", "model", "clean", "corrupt")
    for name in same:
        assert getattr(found, name) == getattr(whole, name), name
    for name, array in whole.arrays.items():
        xr.testing.assert_identical(found.arrays[name], array)
    assert found.asked == asked


def test_what_was_stopped_goes_on_from_where_it_was(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = evaluation(model, [1, 7, 8])
    whole = pw.run(asked, model)
    half = pw.run(asked, model, lambda now: now.done < 6)
    ran = passes_of(monkeypatch)
    found = pw.run(asked, model, known=half)
    assert len(ran) == ENDS + 2 * 4
    xr.testing.assert_identical(found.array("faithfulness"), whole.array("faithfulness"))
    again = pw.run(asked, model, lambda now: now.done < 2, known=half)
    assert "Stopped after 6 of 12 circuits" in again.warnings[-1]["message"]


@pytest.mark.parametrize(
    "other",
    [{"metric": "logprob"}, {"seed": 1}, {"outside": "mean"}, {"pairs": pair_of([3], [4])}],
)
def test_of_another_question_nothing_is_known(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch, other: dict[str, object]
) -> None:
    asked = evaluation(model, [1, 8])
    before = pw.run(asked.model_copy(update=other), model)
    ran = passes_of(monkeypatch)
    pw.run(asked, model, known=before)
    pw.run(asked, model, known=pw.edge_attribution(model, PAIR, bos=False))
    assert len(ran) >= 2 * (ENDS + 2 * 4)


def test_of_other_edges_the_sizes_before_the_first_that_differs_are_known(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = evaluation(model, [1, 8])
    edges = (*asked.edges[:4], *asked.edges[:3:-1])
    before = pw.run(asked.model_copy(update={"edges": edges}), model)
    ran = passes_of(monkeypatch)
    pw.run(asked, model, known=before)
    assert len(ran) == ENDS + 4
