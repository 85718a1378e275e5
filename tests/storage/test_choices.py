"""Two runs of one method on one pair are told apart where they are listed."""

from itertools import combinations
from typing import Any

import pytest

import patchwright as pw
from patchwright.storage.choices import choices_text
from patchwright.storage.store import Store
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"layers": [0, 1, 2, 4]}, "layers 0-2,4"),
        ({"positions": [3, -1]}, "positions 3,-1"),
        ({"heads": [1], "layers": [2]}, "layers 2, heads 1"),
        ({"max_exact": 3, "order": "attribution"}, "order attribution, max_exact 3"),
        ({"roles": ["subject", "last"]}, "roles subject last"),
        ({"bos": False}, "bos no"),
        ({"layers": None, "bos": True, "order": "layers"}, ""),
    ],
)
def test_what_is_not_as_usual_is_said(fields: dict[str, Any], said: str) -> None:
    assert choices_text({"method": "patch", "site": "z", "per": "head", **fields}) == said


def test_what_has_no_usual_value_is_always_said() -> None:
    assert choices_text({"method": "attention", "layer": 9, "head": 6}) == "layer 9, head 6"
    assert choices_text({"method": "patch_together", "places": ["L0.z"]}) == "places L0.z"
    edges = [["embed", "logits"]] * 40
    assert choices_text({"method": "evaluate_circuit", "edges": edges}) == "edges (40)"
    assert choices_text({"method": "unknown", "layer": 9}) == ""


def test_a_list_tells_runs_apart_that_differ_in_one_field(model: pw.Model, home: object) -> None:
    runs = [
        pw.patch(model, PAIR, "z"),
        pw.patch(model, PAIR, "z", layers=[0, 1]),
        pw.patch(model, PAIR, "z", layers=[0, 2]),
        pw.patch(model, PAIR, "z", heads=[1]),
        pw.patch(model, PAIR, "resid_pre", positions=[-1]),
        pw.patch(model, PAIR, "resid_pre", positions=[1]),
        pw.patch(model, PAIR, "resid_pre", positions=[1], bos=False),
        pw.attention(model, PAIR, 0, 1),
        pw.attention(model, PAIR, 0, 2),
        pw.path_patch(model, PAIR, ["logits"]),
        pw.path_patch(model, PAIR, ["L2H1.q"]),
        pw.logit_attribution(model, PAIR, "head"),
        pw.logit_attribution(model, PAIR, "layer"),
    ]
    store = Store()
    for run in runs:
        store.save(run)
    listed = [(one.method, one.about) for one in store.entries()]
    assert all(one != other for one, other in combinations(listed, 2))
    assert any("layers 0-1" in about for _, about in listed)
