import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import patchwright as pw
from patchwright.errors import OutputError
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])
OTHER = pair_of([6, 2, 3, 4], [8, 5, 3, 4])


def results(model: pw.Model) -> dict[str, pw.Result]:
    return {
        "sweep": pw.patch(model, PAIR),
        "heads": pw.patch(model, PAIR, "z", "head_position"),
        "pairs": pw.patch(model, [PAIR, OTHER], "q"),
        "flat": pw.patch(model, pair_of([1, 2], [1, 3], answer=[7], wrong=[]), metric="rank"),
        "stopped": pw.patch(model, PAIR, progress=lambda _: False),
        "together": pw.patch_together(model, PAIR, ["L1H2.z", "L0.mlp_out@-1"]),
        "together over pairs": pw.patch_together(model, [PAIR, OTHER], ["L1H2.z"]),
        "edges": pw.patch(model, pair_of([1, 2, 3], [1, 4, 5, 3], align="edges")),
    }


def test_numbers_survive_json_exactly(model: pw.Model, tmp_path: Path) -> None:
    for name, result in results(model).items():
        result.to_json(tmp_path / "result.json")
        again = pw.load_result(tmp_path / "result.json")
        xr.testing.assert_identical(again.patched, result.patched)
        xr.testing.assert_identical(again.effect, result.effect)
        assert again.document() == result.document(), name
        assert (again.clean, again.corrupt, again.altered) == (
            result.clean,
            result.corrupt,
            result.altered,
        )


def test_the_document_has_the_fields_of_the_contract(model: pw.Model) -> None:
    document = json.loads(pw.patch(model, PAIR).to_json())
    assert document["schema"] == 1
    assert document["patchwright"] == pw.__version__
    assert document["method"] == "patch"
    assert document["experiment"]["site"] == "resid_pre"
    assert document["model"] | {"name": "tiny", "layers": 3, "heads": 4} == document["model"]
    assert document["model"]["fingerprint"].startswith("sha256:")
    assert len(document["tokens"]["clean"]) == len(document["tokens"]["corrupt"]) == 4
    assert {"metric", "logit_diff", "probability", "rank", "top"} <= document["clean"].keys()
    assert document["clean"]["top"][0].keys() >= {"token", "probability"}
    assert document["dims"] == ["layer", "position"]
    assert document["coords"] == {"layer": [0, 1, 2], "position": [0, 1, 2, 3]}
    assert np.shape(document["patched"]) == np.shape(document["effect"]) == (3, 4)
    assert document["seconds"] > 0


def test_the_experiment_of_a_result_gives_the_result_again(model: pw.Model) -> None:
    result = pw.patch(model, PAIR, "k", "head_position", "noise", "prob_diff", heads=[1, 2])
    again = pw.run(pw.Patch.of(result.experiment), model)
    xr.testing.assert_identical(again.patched, result.patched)


def test_top_is_the_strongest_first(model: pw.Model) -> None:
    result = pw.patch(model, PAIR, "z", "head_position")
    top = result.top(7)
    strengths = np.sort(np.abs(result.effect.values.ravel()))[::-1][:7]
    np.testing.assert_array_equal(top["effect"].abs(), strengths)
    best = top.iloc[0]
    cell = result.effect.sel(layer=best["layer"], head=best["head"], position=best["position"])
    assert float(cell) == best["effect"]
    assert best["place"] == f"L{best['layer']}H{best['head']}.z@{best['position']}"


def stopped_in_its_second_pair(model: pw.Model, **choices: Any) -> tuple[pw.Result, pw.Result]:
    """A sweep over three pairs, and the same stopped so that few pairs have all cells."""
    pairs = [PAIR, OTHER, pair_of([9, 8, 7, 6], [5, 8, 4, 6])]
    whole = pw.patch(model, pairs, "z", "head_position", **choices)
    some = pw.patch(
        model, pairs, "z", "head_position", **choices, budget=60_000,
        progress=lambda now: now.done < 0.5 * now.total,
    )  # fmt: skip
    counts = some.patched.notnull().sum("pair").values
    assert 0 < counts.min() < counts.max(), "the sweep is to be stopped amid its pairs"
    return whole, some


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_mean_effect_is_over_the_pairs_that_have_the_cell(
    model: pw.Model, direction: str
) -> None:
    whole, some = stopped_in_its_second_pair(model, direction=direction)
    expected = np.full(some.mean_effect.shape, np.nan)
    for cell in np.ndindex(*expected.shape):
        known = [i for i in range(3) if np.isfinite(some.patched.values[(i, *cell)])]
        patched = np.mean([whole.patched.values[(i, *cell)] for i in known])
        clean, corrupt = (
            np.mean([run.pairs[i].metric for i in known]) for run in (whole.clean, whole.corrupt)
        )
        moved = patched - corrupt if direction == "denoise" else clean - patched
        expected[cell] = moved / (clean - corrupt)
    np.testing.assert_allclose(some.mean_effect, expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(some.averaged().effect, some.mean_effect)


def test_where_no_effect_is_known_places_are_ranked_by_what_their_own_pairs_moved(
    model: pw.Model,
) -> None:
    _, some = stopped_in_its_second_pair(model)
    flat = replace(some, corrupt=some.clean)  # without a gap
    base = xr.DataArray([one.metric for one in some.clean.pairs], dims="pair")
    moved = abs((some.patched - base).mean("pair"))
    best = flat.top(1).iloc[0]
    assert bool(flat.mean_effect.isnull().all())
    at = {name: best[name] for name in ("layer", "head", "position")}
    assert float(moved.sel(at)) == pytest.approx(float(moved.max()), abs=1e-12)


def test_exact_values_beside_estimates_are_means_over_the_same_pairs(model: pw.Model) -> None:
    some = pw.compare_with_exact(
        model, [PAIR, OTHER], "z", budget=60_000, progress=lambda now: now.done < 18
    )
    holes = some.array("exact").isnull().any("pair")
    assert int(holes.sum()) > 0
    means = some.averaged()
    np.testing.assert_array_equal(means.array("exact").isnull(), holes)
    assert bool(means.patched.notnull().all())


def test_the_table_has_each_computed_cell_once(model: pw.Model) -> None:
    for name, result in results(model).items():
        table = result.table()
        assert len(table) == int(result.patched.notnull().sum()), name
        assert {"patched", "effect"} <= set(table.columns)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("not json", "is not JSON"),
        ("[]", "is not a Patchwright result of schema 1"),
        ('{"schema": 99}', "is not a Patchwright result of schema 1"),
        ('{"schema": 1}', "is not a Patchwright result"),
        ('{"schema": 1, "dims": 3, "coords": {}}', "is not a Patchwright result"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "some.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(OutputError, match=says):
        pw.load_result(path)
