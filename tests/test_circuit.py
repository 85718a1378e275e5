from pathlib import Path

import numpy as np
import pytest

import patchwright as pw
from patchwright.errors import ExperimentError, InputError
from patchwright.methods.circuits import area
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
    result = pw.evaluate_circuit(model, PAIR, whole, randoms=2, bos=False)
    kept, complement = result.arrays["faithfulness"], result.arrays["complement"]
    assert float(kept[-1]) == pytest.approx(1, abs=1e-9)
    assert float(complement[-1]) == pytest.approx(0, abs=1e-9)
    sizes = kept["size"].values.tolist()
    assert sizes[-1] == len(whole.edges)
    assert result.details["area"] == pytest.approx(area(sizes, kept.values.tolist()))
    random = result.arrays["random"].mean("sample").values.tolist()
    assert result.details["random_area"] == pytest.approx(area(sizes, random))


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
