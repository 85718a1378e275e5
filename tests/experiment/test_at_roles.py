"""Pairs of different lengths, compared by roles; the oracle is each pair alone, at positions."""

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import patchwright as pw
from patchwright.errors import ExperimentError, PromptError, UnequalLengthsError
from patchwright.experiment.partial_result import partial_result
from patchwright.figures.grid import grid_of
from patchwright.figures.terminal import renderable
from patchwright.insights import insights
from patchwright.storage.export import script_text
from tiny import pair_of, token_pairs


def role(start: int, name: str = "subject") -> pw.Role:
    return pw.Role(name=name, start=start, stop=start + 1)


@st.composite
def role_pairs(draw: st.DrawFn) -> pw.Pair:
    clean, corrupt = draw(token_pairs())
    return pair_of(clean, corrupt, roles=(role(draw(st.integers(0, len(clean) - 1))),))


def alone(model: pw.Model, pair: pw.Pair, positions: list[int], **how: Any) -> np.ndarray:
    """[..., position]: the pair by itself, at these positions in this order."""
    rows = [pw.patch(model, pair, positions=[one], **how).patched.values for one in positions]
    return np.concatenate(rows, axis=-1)


@settings(max_examples=8)
@given(
    pairs=st.lists(role_pairs(), min_size=1, max_size=3),
    site=st.sampled_from(["resid_pre", "mlp_out", "embed"]),
    direction=st.sampled_from(["denoise", "noise"]),
)
def test_each_pair_is_patched_at_its_own_roles(
    model: pw.Model, pairs: list[pw.Pair], site: str, direction: str
) -> None:
    how: dict[str, Any] = {"site": site, "direction": direction}
    result = pw.patch(model, pairs, roles=["last", "subject"], **how)
    assert result.patched.dims == ("pair", "layer", "role")
    assert result.patched["role"].values.tolist() == ["last", "subject"]
    for i, pair in enumerate(pairs):
        expected = alone(model, pair, [-1, pair.roles[0].start], per="position", **how)
        np.testing.assert_allclose(result.patched[i], expected, rtol=0, atol=1e-10)


def two_lengths() -> list[pw.Pair]:
    return [
        pair_of([1, 2, 3, 4], [1, 5, 3, 4], roles=(role(1),)),
        pair_of([6, 1, 2, 3, 4, 8], [6, 9, 2, 3, 4, 8], roles=(role(1),)),
        pair_of([1, 2, 3], [5, 2, 3], roles=(role(0),)),
    ]


def test_heads_at_roles_and_the_most_promising_first(model: pw.Model) -> None:
    pairs, positions = two_lengths(), ([1, -1], [1, -1], [0, -1])
    how: dict[str, Any] = {"site": "z", "per": "head_position", "heads": [0, 3]}
    result = pw.patch(model, pairs, roles=["subject", "last"], **how)
    assert result.patched.dims == ("pair", "layer", "head", "role")
    for i, (pair, at) in enumerate(zip(pairs, positions, strict=True)):
        np.testing.assert_allclose(result.patched[i], alone(model, pair, at, **how), atol=1e-10)
    ordered = pw.patch(model, pairs, roles=["subject", "last"], order="attribution", **how)
    np.testing.assert_allclose(ordered.patched, result.patched, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("site", "per", "more"),
    [("z", "head", {}), ("attn_out", "layer", {}), ("mlp_act", "neuron", {"layers": [1]})],
)
def test_places_without_positions_take_pairs_of_any_length(
    model: pw.Model, site: str, per: str, more: dict[str, Any]
) -> None:
    pairs = two_lengths()
    for method in (pw.patch, pw.ablate, pw.attribute):
        result = method(model, pairs, site, per, **more)
        expected = [method(model, one, site, per, **more).patched.values for one in pairs]
        np.testing.assert_allclose(result.patched, np.stack(expected), rtol=0, atol=1e-10)


def test_paths_of_heads_take_pairs_of_any_length(model: pw.Model) -> None:
    pairs = two_lengths()
    result = pw.path_patch(model, pairs, ["L2H0.q"])
    expected = [pw.path_patch(model, one, ["L2H0.q"]).patched.values for one in pairs]
    np.testing.assert_allclose(result.patched, np.stack(expected), rtol=0, atol=1e-10)
    with pytest.raises(UnequalLengthsError, match="3 to 6 tokens"):
        pw.path_patch(model, pairs, ["L2H0.q@-1"])


def test_positions_of_different_lengths_are_refused_with_the_ways_out(model: pw.Model) -> None:
    with pytest.raises(UnequalLengthsError, match=r"--roles last"):
        pw.patch(model, two_lengths(), per="position")
    with pytest.raises(UnequalLengthsError, match="name no positions"):
        pw.patch(model, two_lengths(), per="layer", positions=[-1])


def test_a_role_without_a_counterpart_is_empty(model: pw.Model) -> None:
    # Of the differing middle, 2 3 against 9, only the last tokens answer to each other.
    roles = (role(1, "first"), role(2, "second"))
    pair = pair_of([1, 2, 3, 4], [1, 9, 4], align="edges", roles=roles)
    result = pw.patch(
        model, pair, roles=["first", "second", "last"], order="attribution", max_exact=9
    )
    assert result.patched.isnull().any("layer").values.tolist() == [True, False, False]
    assert float(result.arrays["estimated"].sel(role="first").sum()) == 0
    expected = alone(model, pair, [1, 2], per="position")
    np.testing.assert_allclose(result.patched[:, 1:], expected, rtol=0, atol=1e-10)
    noised = pw.patch(model, pair, roles=["first", "second"], direction="noise")
    assert noised.patched.isnull().any("layer").values.tolist() == [True, False]


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"roles": ["last"], "per": "layer"}, "a sweep per layer has none"),
        ({"roles": ["last"], "positions": [1]}, "either roles or positions"),
        ({"roles": []}, "at least one role"),
        ({"roles": ["last", "last"]}, "none twice"),
    ],
)
def test_roles_that_no_sweep_can_have_are_refused(
    model: pw.Model, choice: dict[str, Any], says: str
) -> None:
    with pytest.raises(ExperimentError, match=says):
        pw.patch(model, two_lengths(), **choice)


def test_a_pair_without_the_role_is_named_with_those_it_has(model: pw.Model) -> None:
    pairs = [*two_lengths(), pair_of([1, 2], [3, 2])]
    with pytest.raises(PromptError, match=r"'\(1,·2\)' has no role 'subject': its roles are last"):
        pw.patch(model, pairs, roles=["subject"])


def test_a_result_by_roles_survives_its_file_and_is_drawn(model: pw.Model, tmp_path: Path) -> None:
    result = pw.patch(model, two_lengths(), roles=["subject", "last"])
    result.to_json(tmp_path / "result.json")
    again = pw.load_result(tmp_path / "result.json")
    assert again.effect.equals(result.effect)
    assert again.experiment == result.experiment
    grid = grid_of(again)
    assert (grid.columns, grid.column_title) == (["subject", "last"], "role")
    assert grid.places[1] == ["L1.resid_pre@subject", "L1.resid_pre@last"]
    again.plot(tmp_path / "figure.svg")
    console = Console(width=100, file=StringIO())
    with console.capture() as printed:
        console.print(renderable(again))
    assert "subject" in printed.get()
    heads = pw.patch(model, two_lengths(), "z", "head_position", roles=["subject", "last"])
    assert grid_of(heads).places[1][0] == "L0H1.z@subject"
    assert set(heads.top(3)["role"]) <= {"subject", "last"}


def test_a_script_of_a_result_by_roles_names_them(model: pw.Model) -> None:
    code = script_text(pw.patch(model, two_lengths(), roles=["subject", "last"]))
    names: dict[str, Any] = {}
    start, stop = code.index("pairs = ["), code.index("# The experiment")
    exec("import patchwright as pw\n" + code[start:stop], names)
    assert names["pairs"] == two_lengths()
    assert 'roles=["subject", "last"]' in code


def test_what_is_there_before_the_end_has_the_roles_as_columns(model: pw.Model) -> None:
    pair = two_lengths()[1]
    whole = pw.patch(model, pair, roles=["subject", "last"])
    experiment = pw.Patch.of(whole.experiment)
    partial = partial_result(experiment, model, experiment.run_unpatched(model), None)
    assert partial.patched.dims == whole.patched.dims
    assert partial.patched["role"].equals(whole.patched["role"])


def test_sentences_are_refused_for_roles(model: pw.Model) -> None:
    with pytest.raises(ExperimentError, match="without roles"):
        insights(pw.patch(model, two_lengths()[0], roles=["last"]))
