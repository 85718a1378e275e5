"""What names an experiment: its method and what differs from the defaults, in any spelling."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchwright.errors import ExperimentError
from patchwright.experiment.base import Experiment
from patchwright.methods import METHODS
from patchwright.upgrade import RENAMED_FIELDS

PAIR = {"clean": "a b", "corrupt": "a c", "answer": [" d"], "wrong": [" e"]}

LEAST: dict[str, dict[str, Any]] = {
    "patch": {},
    "patch_together": {"places": ["L0.z"]},
    "path_patch": {"receivers": ["logits"]},
    "ablate": {},
    "ablate_together": {"places": ["L0.z"]},
    "attribute": {},
    "trace": {"prompt": "a b", "subject": "a", "answer": [" d"]},
    "difference": {},
    "edge_attribution": {},
    "evaluate_circuit": {"edges": [["embed", "logits"]], "sizes": [1]},
    "attention": {"layer": 0, "head": 1},
    "head_scores": {},
    "logit_lens": {},
    "logit_attribution": {},
}
"""What each method needs besides its model and its pair."""

GOLDEN = {
    "patch": "282154a0c1e1a9f6728ad68d869a750c977bc030503edbea4a7ae4fe56d14e51",
    "patch_together": "cc67d37a69a6ebc116c0cfc500c177283d05ef27ed9c1b26a9534257a2924e4b",
    "path_patch": "3d602a9bb7f364a072fe5606f4b5288f7fea1df6e263540dddd6bdc3ab4bf15c",
    "ablate": "24a5d3c4153111151981d24f37261b5470299b9c97306068e7d7119963aaa260",
    "ablate_together": "1f952daf7870484f4f2f9d529455e072a74ae2bf6ed82f2b579baf2094f80522",
    "attribute": "23db0c5666c2d143808e28a27e8281be3e196f20fad8597a66efb60ca371420b",
    "trace": "51f5ff212baa5dfdaadef5ef639d597bbd45a895e6e69d208ba2edfda741deac",
    "difference": "bb5c36c349468d6770d99216776de9d95f71fb4d83ab30c396b29996a002af68",
    "edge_attribution": "090454a190b9b53007dc86b3d58b655a3ab6407a3c5f74bc6dbec702cf2a2c76",
    "evaluate_circuit": "519b54373d402abdbf1a0bbb677a109085f4fac05d8ea7b226ff3ce8c5516d90",
    "attention": "257d295742baf4b10806d7ba4a7aba63a2938b57942cabbc0ff014ef2b5311e5",
    "head_scores": "e563b7533bef7ac6cfb32daefbc650376f760ce56421a13745ce265abc9e8b99",
    "logit_lens": "1c4d8520e8a51f00c4a09d21a1f36ed53ab1533ded47c2b4d1e3727971b98fba",
    "logit_attribution": "9e01aa5636c180b382546cae35667a3998baaa19e9f5da3570c5f0266bdad8ee",
}
"""Stored runs, links and jobs are found by these: a change here loses them."""


FORMER: dict[str, dict[str, Any]] = {
    "ablate": {"site": "resid_pre"},
    "path_patch": {"site": "resid_pre", "direction": "denoise"},
}
"""Defaults that were others when the golden hashes were taken."""


def least(method: str, **more: Any) -> dict[str, Any]:
    pairs = {} if method == "trace" else {"pairs": PAIR}
    return {"method": method, "model": "m", **pairs, **LEAST[method], **more}


def test_every_method_is_here() -> None:
    assert set(LEAST) == set(GOLDEN) == set(METHODS)


@pytest.mark.parametrize("method", LEAST)
def test_hashes_are_those_of_stored_runs(method: str) -> None:
    assert METHODS.parse(least(method, **FORMER.get(method, {}))).hash == GOLDEN[method]


@pytest.mark.parametrize("method", LEAST)
def test_a_default_that_is_written_out_names_the_same_experiment(method: str) -> None:
    short = METHODS.parse(least(method))
    whole = short.model_dump(mode="json")
    assert set(whole) > set(least(method)) | {"metric", "bos"}
    assert METHODS.parse(whole).hash == short.hash
    assert METHODS.parse(json.dumps(whole)).hash == short.hash
    assert type(short).of(json.loads(json.dumps(whole))).hash == short.hash


CHANGES: dict[str, Any] = {
    "model": "n",
    "revision": "r",
    "metric": "prob_diff",
    "bos": False,
    "pairs": {**PAIR, "align": "edges"},
    "site": "mlp_act",
    "per": "layer",
    "layers": [0],
    "positions": [1],
    "heads": [0],
    "direction": "noise",
    "max_exact": 2,
    "roles": ["last"],
    "places": ["L1.z"],
    "prompts": ["a"],
    "by_position": False,
    "seed": 5,
    "steps": 7,
    "exact": 1,
    "mlps": "freeze",
    "norms": "freeze",
    "receivers": ["L0H0.q"],
    "edges": [["a", "b"]],
    "sizes": [2],
    "outside": "mean",
    "n_random": 1,
    "prompt": "other",
    "subject": "b",
    "occurrence": 2,
    "answer": ["x"],
    "wrong": ["y"],
    "noise": 2.0,
    "samples": 3,
    "window": 2,
    "sever": "mlp_out",
    "layer": 1,
    "head": 0,
    "repeats": 1,
    "length": 3,
    "words": "w",
    "part": "neuron",
}
"""A value of each field that is not its default."""

OTHERWISE: dict[tuple[str, str], Any] = {
    ("ablate", "ablation"): "mean",
    ("ablate_together", "ablation"): "mean",
    ("attribute", "estimator"): "qk_fix",
    ("trace", "site"): "mlp_out",
    ("trace", "metric"): "logit",
    ("attribute", "exact"): True,
    ("path_patch", "direction"): "denoise",
}


def other_values() -> list[tuple[str, str, Any]]:
    found = []
    for method, kind in METHODS.items():
        for name, field in kind.model_fields.items():
            fixed = name in ("method", "order")
            fixed |= name == "direction" and len(get_args(field.annotation)) == 1
            if not fixed:
                value = OTHERWISE.get((method, name), CHANGES.get(name))
                found.append((method, name, value))
    return found


@pytest.mark.parametrize(("method", "name", "value"), other_values())
def test_every_field_that_asks_for_other_numbers_changes_the_hash(
    method: str, name: str, value: Any
) -> None:
    assert value is not None, f"give {name} another value in CHANGES"
    plain = METHODS.parse(least(method))
    assert METHODS.parse(least(method, **{name: value})).hash != plain.hash


def test_the_order_of_cells_is_a_hint_unless_it_decides_which_are_computed() -> None:
    def hash_of(**more: Any) -> str:
        return METHODS.parse(least("patch", **more)).hash

    assert hash_of(order="attribution") == hash_of()
    assert hash_of(order="attribution", max_exact=3) != hash_of(max_exact=3)


@pytest.mark.parametrize("method", [name for name in LEAST if "per" in METHODS[name].model_fields])
def test_per_may_be_left_out(method: str) -> None:
    def per(**more: Any) -> str:
        found: Experiment = METHODS.parse(least(method, **more))
        return found.model_dump()["per"]

    assert per(site="resid_pre") == per(site="mlp_act") == "position"
    assert per(site="z") == "head"
    assert per(site="z", per="position") == "position"
    if method == "patch":
        assert per(site="z", roles=["last"]) == "position"


RENAMED = [
    (
        "patch",
        "most",
        "max_exact",
        2,
        "ae36cbd614ce9a7a7a83c128fd86f4b37b6e7ade5a69f49a52fa58198e661cda",
    ),
    (
        "ablate",
        "how",
        "ablation",
        "mean",
        "18e07a33b4773e2cd02a4b3bbc7cc57f04937ef3005b9a0a0ec35f2dfca4ee00",
    ),
    (
        "ablate_together",
        "how",
        "ablation",
        "mean",
        "c88c4a7495416010a2a7c0c5503bd70afd870ab66bb65f17c10bd500445a6382",
    ),
    (
        "attribute",
        "how",
        "estimator",
        "qk_fix",
        "d17272be3c460f7aa68233572c0da817645583de819af98324ef49094e7d8541",
    ),
    (
        "evaluate_circuit",
        "randoms",
        "n_random",
        7,
        "12453fd93e655e70f9ba8c20a68dd40a788bffa8f8a7cc6eb3cbea2a9dc26807",
    ),
]
"""Fields with another name today, a value of each, and the hash that its experiment had then."""


def test_every_renamed_field_is_here() -> None:
    known = {(method, old, new) for method, old, new, *_ in RENAMED}
    names = {
        (method, old, new)
        for method, renamed in RENAMED_FIELDS.items()
        for old, new in renamed.items()
    }
    assert known == names


@pytest.mark.parametrize(("method", "old", "new", "value", "golden"), RENAMED)
def test_a_renamed_field_leaves_stored_runs_findable(
    method: str, old: str, new: str, value: Any, golden: str
) -> None:
    former = FORMER.get(method, {})
    for name in (old, new):
        assert METHODS.parse(least(method, **former, **{name: value})).hash == golden


@pytest.mark.parametrize(("method", "old", "new", "value", "_"), RENAMED)
def test_older_names_of_fields_are_read_and_given_with_the_newer_refused(
    method: str, old: str, new: str, value: Any, _: str
) -> None:
    today = METHODS.parse(least(method, **{new: value}))
    assert METHODS.parse(least(method, **{old: value})) == today
    assert METHODS[method].of(least(method, **{old: value})) == today
    with pytest.raises(ExperimentError, match=f"'{old}'"):
        METHODS.parse(least(method, **{old: value, new: value}))


@given(st.text())
def test_numbers_of_a_method_that_is_not_here_are_none_of_ours(name: str) -> None:
    assert (METHODS.numbers_of(name) >= 1) == (name in METHODS)
