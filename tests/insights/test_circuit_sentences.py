"""Sentences about circuits: each number is the Result's, and what is not known is not said."""

import pytest
import xarray as xr

import patchwright as pw
from handmade_results import baseline
from patchwright.algorithms.result import Tokens
from patchwright.insights.circuits import (
    disagreement_sentence,
    kept_sentence,
    pruned_sentence,
    smallest_size,
)
from patchwright.warnings import Notice

NAN = float("nan")


def evaluated(
    curve: dict[int, float], random: float = 0.02, without: float = 0.1, stopped: bool = False
) -> pw.Result:
    sizes = {"size": list(curve)}
    arrays = {
        "faithfulness": xr.DataArray(list(curve.values()), dims=["size"], coords=sizes),
        "complement": xr.DataArray([without] * len(curve), dims=["size"], coords=sizes),
        "random": xr.DataArray(
            [[random - 0.01, random + 0.01]] * len(curve), dims=["size", "sample"], coords=sizes
        ),
    }
    notices = [Notice(code="stopped", message="Stopped.")] if stopped else []
    return _result("evaluate_circuit", arrays, notices)


def _result(
    method: str, arrays: dict[str, xr.DataArray], notices: list[Notice] | None = None
) -> pw.Result:
    experiment = {"metric": "logit_diff", "pairs": {}}
    texts: dict[str, Tokens] = {"clean": ["a"], "corrupt": ["b"]}
    runs = baseline(4), baseline(-4)
    return pw.Result(method, experiment, {}, texts, *runs, arrays, notices or [], 1.0)


def test_what_is_kept_stands_beside_chance_and_the_complement() -> None:
    one = kept_sentence(evaluated({30: 0.923, 60: 1.0}), 30, 1234)
    assert one.text == (
        "30 of 1,234 edges keep 92 % of the gap; random circuits of that size keep 2 %. "
        "Everything except these edges keeps 10 %."
    )
    assert one.numbers == pytest.approx((30, 1234, 0.923, 0.02, 0.1))


def test_of_one_edge_it_is_said_in_the_singular() -> None:
    curve = evaluated({1: 0.7, 2: 0.9}, random=NAN)
    said = "1 of 100 edges keeps 70 % of the gap. Everything except this edge keeps 10 %."
    assert kept_sentence(curve, 1, 100).text == said
    assert "has 1 edge. It keeps 70 %" in pruned_sentence(curve, 0.5).text
    assert pruned_sentence(evaluated({1: 0.7, 2: 0.6}), 0.9).text.endswith("with 1 edge.")


def test_without_random_circuits_none_are_spoken_of() -> None:
    one = kept_sentence(evaluated({30: 0.9}, random=NAN, without=NAN), 30, 100)
    assert one.text == "30 of 100 edges keep 90 % of the gap."


@pytest.mark.parametrize(("stopped", "says"), [(False, "too small"), (True, "stopped")])
def test_an_unknown_share_is_not_a_number(stopped: bool, says: str) -> None:
    one = kept_sentence(evaluated({30: NAN}, stopped=stopped), 30, 100)
    assert says in one.text
    assert "nan" not in one.text
    assert "%" not in one.text


def test_the_smallest_size_that_suffices_is_the_first_to_reach_the_share() -> None:
    curve = evaluated({1: 0.0, 2: 0.79, 4: 0.8, 8: 0.5, 16: 1.1})
    assert smallest_size(curve, 0.8) == 4
    assert smallest_size(curve, 0.81) == 16
    assert smallest_size(curve, 1.2) is None
    assert pruned_sentence(curve, 0.8).text == (
        "The smallest evaluated circuit that keeps at least 80 % of the gap has 4 edges. It keeps 80 %."
    )
    assert pruned_sentence(curve, 0.8).numbers == (0.8, 4, 0.8)


def test_where_none_suffices_the_best_is_named() -> None:
    one = pruned_sentence(evaluated({1: 0.1, 2: 0.4, 4: 0.3}), 0.8)
    assert one.text == (
        "No evaluated circuit keeps 80 % of the gap. The best keeps 40 %, with 2 edges."
    )
    near = pruned_sentence(evaluated({1: 0.1, 2: 0.7963}), 0.8).text
    assert near.endswith("The best keeps 79.6 %, with 2 edges."), "80 % would be enough"
    assert pruned_sentence(evaluated({1: NAN, 2: NAN}), 0.8).code == "no_scale"


def test_the_largest_disagreement_is_named_with_both_numbers() -> None:
    coords = {"receiver": ["L1H0.q", "logits"], "sender": ["embed", "L0.mlp"]}
    scores = xr.DataArray([[1.0, -5.0], [0.5, NAN]], dims=list(coords), coords=coords)
    exact = xr.DataArray([[1.5, -3.0], [NAN, NAN]], dims=list(coords), coords=coords)
    one = disagreement_sentence(_result("edge_attribution", {"edges": scores, "exact": exact}))
    assert one is not None
    assert "for MLP 0 → queries of head 0 of layer 1: estimated -5, exactly -3" in one.text
    assert one.numbers == (2, -5.0, -3.0)


def test_without_exact_values_nothing_is_said() -> None:
    coords = {"receiver": ["logits"], "sender": ["embed"]}
    scores = xr.DataArray([[1.0]], dims=list(coords), coords=coords)
    assert disagreement_sentence(_result("edge_attribution", {"edges": scores})) is None
    both = {"edges": scores, "exact": scores * NAN}
    assert disagreement_sentence(_result("edge_attribution", both)) is None
