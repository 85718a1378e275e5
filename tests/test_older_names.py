"""Names of arguments and options that changed: the older ones are still read."""

import json
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

import patchwright as pw
from command import IOI, patchwright, process
from patchwright.methods import METHODS
from patchwright.upgrade import RENAMED_FIELDS, upgrade_result

PAIR = pw.Pair(clean=[1, 2, 3, 4], corrupt=[1, 5, 3, 4], answer=6, wrong=7)

ARGUMENTS: dict[str, tuple[str, str, Any, dict[str, Any]]] = {
    "patch": ("most", "max_exact", 2, {"order": "attribution"}),
    "ablate": ("how", "ablation", "mean", {"prompts": [[5, 4, 3, 2]]}),
    "ablate_together": ("how", "ablation", "mean", {"places": ["L0.z"], "prompts": [[5, 4, 3, 2]]}),
    "attribute": ("method", "estimator", "integrated", {}),
    "compare_with_exact": ("method", "estimator", "integrated", {"layers": [0]}),
    "evaluate_circuit": ("randoms", "n_random", 0, {"sizes": [1]}),
}
"""Functions with an argument that was called otherwise: how, today, a value, and what else to give."""


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_is_read_under_its_older_name_too(demo: pw.Model, name: str) -> None:
    old, new, value, more = ARGUMENTS[name]
    call: Any = getattr(pw, name)
    if name == "evaluate_circuit":
        found: dict[str, Any] = {"edges": [("embed", "logits")], "scores": [0.0]}
        circuit = pw.Circuit(model=demo.name, fingerprint=demo.fingerprint, **found)
        more = {**more, "circuit": circuit}
    today = call(demo, PAIR, **more, **{new: value})
    assert today.experiment[new] == value
    assert call(demo, PAIR, **more, **{old: value}).experiment == today.experiment
    with pytest.raises(TypeError, match=f"'{old}' is the older name of '{new}'"):
        call(demo, PAIR, **more, **{old: value, new: value})


def test_every_renamed_field_is_an_argument_of_its_call() -> None:
    for method, renamed in RENAMED_FIELDS.items():
        assert set(renamed.values()) == {ARGUMENTS[method][1]}
        assert ARGUMENTS[method][1] in signature(getattr(pw, method)).parameters


@pytest.mark.parametrize("name", ["patch", "ablate"])
def test_a_result_of_before_is_read(demo: pw.Model, name: str, tmp_path: Path) -> None:
    old, new, value, more = ARGUMENTS[name]
    result = getattr(pw, name)(demo, PAIR, **more, **{new: value})
    document = json.loads(result.to_json())
    document["experiment"][old] = document["experiment"].pop(new)
    assert upgrade_result(document)["experiment"] == result.experiment
    (tmp_path / "older.json").write_text(json.dumps(document))
    again = pw.load_result(tmp_path / "older.json")
    assert (again.experiment, METHODS.experiment_of_result(again)) == (
        result.experiment,
        result.asked,
    )


OPTIONS: list[tuple[list[str], str, str, str]] = [
    (["patch", "--site", "z"], "--most", "--max-exact", "3"),
    (["ablate"], "--how", "--ablation", "zero"),
    (["attribute"], "--method", "--estimator", "integrated"),
    (["circuit", "--top", "3"], "--randoms", "--n-random", "0"),
]


@pytest.mark.parametrize(("command", "old", "new", "value"), OPTIONS)
def test_an_option_is_read_under_its_older_name_too(
    command: list[str], old: str, new: str, value: str
) -> None:
    asked = [
        json.loads(patchwright(*command, *IOI, option, value, "--experiment", "-").stdout)
        for option in (old, new)
    ]
    assert asked[0] == asked[1]


@pytest.mark.parametrize(("command", "old", "new", "value"), OPTIONS)
def test_an_option_under_both_names_is_one_sentence(
    command: list[str], old: str, new: str, value: str
) -> None:
    said = patchwright(*command, *IOI, f"{old}={value}", new, value, "--experiment", "-")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == f"Error: {old} is the older name of {new}: give only one.\n"


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        ("app", "--own", "--allow-edits"),
        ("app", "--sweeps", "--max-jobs"),
        ("serve", "--sweeps", "--max-jobs"),
    ],
)
def test_options_of_the_servers_are_read_under_their_older_names_too(
    command: str, old: str, new: str
) -> None:
    value = () if new == "--allow-edits" else ("2",)
    for option in (old, new):
        # What is wrong is the port alone.
        said = process(command, option, *value, "--port", "0")
        assert said.returncode == 2
        assert "'--port'" in said.stderr
    both = patchwright(command, old, *value, new, *value)
    assert f"{old} is the older name of {new}" in both.stderr


def test_the_status_of_a_batch_is_exported_under_its_older_name_too() -> None:
    from patchwright import Tally  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

    assert Tally is pw.BatchStatus
    assert "Tally" not in dir(pw)
