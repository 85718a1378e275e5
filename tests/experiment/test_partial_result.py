"""A sweep before it is done: what is shown is what the finished sweep says, as far as it is."""

from typing import Any, get_args

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.algorithms.batches import Progress
from patchwright.algorithms.result import Result
from patchwright.axes import BUDGET, DIMS, DIRECTIONS, Direction, Metric, Per
from patchwright.experiment.base import CellByCell
from patchwright.experiment.partial_result import partial_result
from patchwright.experiment.run import run
from patchwright.figures.grid import title_of
from patchwright.methods.ablate import Ablate
from patchwright.methods.patch import Patch
from patchwright.methods.paths import PathPatch
from patchwright.methods.trace import Trace
from patchwright.model.load import Model
from patchwright.places import SITES, Site, pers_of
from patchwright.prompts.builtin_templates import task
from tiny import pair_of, token_pairs

PAIR = pair_of([1, 2, 3, 4, 6], [1, 5, 3, 8, 6])
KINDS = [(site, per) for site in SITES for per in pers_of(site)]


def experiment_of(site: Site, per: Per, direction: Direction = "denoise", **more: Any) -> Patch:
    layers = (1,) if per == "neuron" else None
    fields: dict[str, Any] = {"model": "tiny", "pairs": PAIR, "layers": layers, **more}
    return Patch(site=site, per=per, direction=direction, **fields)


def followed(
    experiment: CellByCell, model: Model, budget: int = BUDGET
) -> tuple[Result, list[Progress]]:
    """The finished sweep, and every snapshot on the way."""
    seen: list[Progress] = []

    def note(now: Progress) -> None:
        estimate = None if now.estimate is None else now.estimate.copy()
        seen.append(Progress(now.done, now.total, now.patched.copy(), estimate))

    return run(experiment, model, note, budget), seen


def same(one: Result, other: Result, names: tuple[str, ...]) -> None:
    for name in names:
        xr.testing.assert_identical(one.array(name), other.array(name))
        assert one.array(name).dims == DIMS[one.experiment["per"]]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("site", "per"), KINDS)
def test_with_all_cells_it_is_the_finished_result_exactly(
    model: Model, site: Site, per: Per, direction: Direction
) -> None:
    experiment = experiment_of(site, per, direction)
    whole, seen = followed(experiment, model)
    shown = partial_result(experiment, model, experiment.run_unpatched(model), seen[-1])
    same(shown, whole, ("patched", "effect"))
    assert not shown.array("estimated").any()
    assert shown.experiment == whole.experiment


@pytest.mark.parametrize(("site", "per"), KINDS)
def test_by_attribution_every_cell_is_exact_or_marked_as_an_estimate(
    model: Model, site: Site, per: Per
) -> None:
    experiment = experiment_of(site, per, order="attribution")
    unpatched = experiment.run_unpatched(model)
    # A budget of a few rows: many batches, so many snapshots.
    whole, seen = followed(experiment, model, budget=20_000)
    same(
        partial_result(experiment, model, unpatched, seen[-1]),
        whole,
        ("patched", "effect", "estimated"),
    )
    for now in seen:
        shown = partial_result(experiment, model, unpatched, now)
        exact = shown.array("estimated").values == 0
        assert exact.sum() == now.done
        np.testing.assert_array_equal(shown.patched.values[exact], whole.patched.values[exact])
        assert now.estimate is not None
        np.testing.assert_array_equal(shown.patched.values[~exact], now.estimate[0][~exact])
        assert np.isfinite(shown.patched).all()


@pytest.mark.parametrize(("site", "per"), [("embed", "layer"), ("z", "head_position")])
def test_before_the_first_cell_everything_is_empty(model: Model, site: Site, per: Per) -> None:
    experiment = experiment_of(site, per)
    whole = run(experiment, model)
    shown = partial_result(experiment, model, experiment.run_unpatched(model), None)
    assert shown.patched.shape == whole.patched.shape
    assert shown.patched.isnull().all()
    assert shown.effect.isnull().all()
    assert not shown.array("estimated").any()
    for dim in whole.patched.dims:
        np.testing.assert_array_equal(shown.patched[dim], whole.patched[dim])


@pytest.mark.parametrize("metric", get_args(Metric))
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_baselines_are_those_of_the_sweep(
    model: Model, metric: Metric, direction: Direction
) -> None:
    experiment = experiment_of("z", "head", direction, metric=metric)
    whole, found = run(experiment, model), experiment.run_unpatched(model)
    assert (found.clean, found.corrupt) == (whole.clean, whole.corrupt)
    # That nothing moves is known of the whole sweep alone.
    warnings = [one for one in whole.warnings if one["code"] != "nothing_moved"]
    assert (found.tokens, found.warnings) == (whole.tokens, warnings)
    assert (found.experiment, found.model) == (whole.experiment, whole.model)
    assert found.arrays == {}


def test_restricted_sweeps_have_their_own_axes(model: Model) -> None:
    some: dict[str, Any] = {"layers": (0, 2), "positions": (1, 3), "heads": (3, 1)}
    experiment = experiment_of("z", "head_position", **some)
    whole, seen = followed(experiment, model)
    same(partial_result(experiment, model, experiment.run_unpatched(model), seen[-1]), whole,
         ("patched", "effect"))  # fmt: skip


@given(pair=token_pairs(), kind=st.sampled_from(KINDS), direction=st.sampled_from(DIRECTIONS))
def test_whatever_the_prompts_all_cells_are_the_result(
    model: Model, pair: tuple[list[int], list[int]], kind: tuple[Site, Per], direction: Direction
) -> None:
    experiment = experiment_of(*kind, direction, pairs=pair_of(*pair))
    whole, seen = followed(experiment, model)
    same(partial_result(experiment, model, experiment.run_unpatched(model), seen[-1]), whole,
         ("patched", "effect"))  # fmt: skip


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_positions_without_a_counterpart_stay_empty_and_are_no_estimates(
    model: Model, direction: Direction
) -> None:
    unequal = pair_of([1, 2, 3, 6], [1, 4, 5, 3, 6], align="edges")
    experiment = experiment_of("resid_pre", "position", direction, pairs=unequal)
    whole, seen = followed(experiment, model)
    last = seen[-1]
    unpatched = experiment.run_unpatched(model)
    same(partial_result(experiment, model, unpatched, last), whole, ("patched", "effect"))
    # Also where an estimate comes along that says nothing of them.
    now = Progress(last.done, last.total, last.patched, np.where(np.isnan(last.patched), np.nan, 1))
    shown = partial_result(experiment, model, unpatched, now)
    same(shown, whole, ("patched", "effect"))
    assert not shown.array("estimated").any()


def others() -> list[CellByCell]:
    fields: dict[str, Any] = {"model": "tiny", "pairs": PAIR, "site": "z", "per": "head"}
    prompt: dict[str, Any] = {"prompt": [1, 2, 3, 4], "answer": [7], "wrong": [9]}
    return [
        Ablate(**fields),
        Ablate(**fields, ablation="mean", prompts=([1, 2, 3, 4, 6], [1, 5, 3, 8, 6])),
        PathPatch(**fields, receivers=("logits",)),
        PathPatch(**fields, receivers=("L1H0.q",), direction="noise"),
        Trace(model="tiny", subject=(1, 2), samples=2, metric="logit_diff", **prompt),
        Trace(model="tiny", subject=(1,), samples=1, site="mlp_out", window=2, metric="logit_diff",
              **prompt),
    ]  # fmt: skip


@pytest.mark.parametrize("experiment", others(), ids=lambda one: one.method)
def test_ablations_paths_and_traces_are_shown_cell_by_cell_too(
    model: Model, experiment: CellByCell
) -> None:
    budget = 60_000
    whole, seen = followed(experiment, model, budget)
    unpatched = experiment.run_unpatched(model)
    assert (unpatched.clean, unpatched.corrupt) == (whole.clean, whole.corrupt)
    last = partial_result(experiment, model, unpatched, seen[-1])
    names = {"patched", "effect", "spread", "samples"} & set(whole.arrays)
    for name in names:
        xr.testing.assert_equal(last.array(name), whole.array(name))
    assert len(seen) > 2, "the budget cuts the work, so that there is something before the end"
    for now in seen[:-1]:
        part = partial_result(experiment, model, unpatched, now)
        known = part.patched.notnull()
        assert 0 <= int(known.sum()) <= part.patched.size
        np.testing.assert_array_equal(
            part.patched.values[known.values], whole.patched.values[known.values]
        )
    assert partial_result(experiment, model, unpatched, seen[0]).patched.isnull().any()


@pytest.mark.parametrize("experiment", others(), ids=lambda one: one.method)
def test_what_somebody_stopped_says_how_much_is_there(model: Model, experiment: CellByCell) -> None:
    _, seen = followed(experiment, model, 60_000)
    unpatched = experiment.run_unpatched(model)
    part = partial_result(experiment, model, unpatched, seen[1], stopped=True)
    said = [one["message"] for one in part.warnings if one["code"] == "stopped"]
    assert len(said) == 1
    assert f"{int(part.patched.notnull().sum())} of {part.patched.size} cells" in said[0]
    assert not any(one["code"] == "stopped" for one in unpatched.warnings)


def test_what_is_under_way_is_called_by_what_was_asked_for(demo: pw.Model) -> None:
    """Also where its unpatched runs are those of another site's trace, whose noise is the same."""
    stream = pw.Trace(
        model="demo", prompt="The Eiffel Tower is in", subject=(2, 3), answer=" Paris", samples=2
    )
    mlps = stream.for_site("mlp_out")
    shown = partial_result(mlps, demo, stream.run_unpatched(demo), None)
    assert "restored by what the MLP adds" in title_of(shown)
    assert shown.asked == mlps


@pytest.mark.parametrize("per", ["head", "head_position"])
def test_over_many_pairs_it_has_those_that_are_done(demo: pw.Model, per: Per) -> None:
    pairs = pw.from_template(task("capital").template, 5, demo.tokenizer)
    experiment = Patch.of({"model": "demo", "pairs": pairs, "site": "z", "per": per})
    whole, seen = followed(experiment, demo, budget=1 << 20)
    unpatched = experiment.run_unpatched(demo)
    last = partial_result(experiment, demo, unpatched, seen[-1])
    for name in ("patched", "effect"):
        xr.testing.assert_identical(last.array(name), whole.array(name))
    xr.testing.assert_identical(last.mean_effect, whole.mean_effect)
    part = partial_result(experiment, demo, unpatched, seen[1])
    known = part.patched.notnull()
    assert 0 < int(known.sum()) < known.size
    xr.testing.assert_identical(part.patched, whole.patched.where(known))
    some = experiment.model_copy(update={"pairs": experiment.pair_list[:2]})
    first = partial_result(some, demo, some.run_unpatched(demo), seen[-1])
    np.testing.assert_array_equal(first.patched.values, whole.patched.values[:2])
