"""Where the gap is too small, or nothing moves, nothing is ranked, drawn or said by effects: by anybody."""

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import patchwright as pw
from command import patchwright
from every_method import CLEAN, PAIR, every_experiment
from handmade_results import baseline, made
from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.scale import has_scale, nothing_moved, usable_effect
from patchwright.algorithms.statistics import statistics
from patchwright.app.views import controls, inspector, many, path_place, trace_place
from patchwright.app.views.lesson_result import estimate_and_exact
from patchwright.axes import METRICS, Metric
from patchwright.errors import FactError, InputError
from patchwright.experiment.run import run
from patchwright.figures.grid import grids_of
from patchwright.figures.matplotlib_figures import (
    draw_curve,
    draw_intervals,
    draw_scatter,
    image_bytes,
)
from patchwright.figures.terminal import renderable
from patchwright.insights import heads_to_look_at, insights
from patchwright.insights.circuits import (
    disagreement_sentence,
    kept_sentence,
    pruned_sentence,
    smallest_size,
)
from patchwright.insights.explain import explain_pair
from patchwright.lessons.cells import map_cells
from patchwright.lessons.expressions import fill_slots, holds, quantity

SMALL = pw.Pair(clean=CLEAN, corrupt=CLEAN.replace("store", "house"), answer=" Mary", wrong=" John")
"""The place makes no difference to the answer: the gap is 0.02 logits."""

OTHER = SMALL.model_copy(update={"corrupt": CLEAN.replace("store", "school")})
"""The same, of 0.07 logits."""

RANKED = re.compile(
    r"In short|sufficient|necessary|restores|destroys|carr(y|ies) most|Strongest|%\** of (the gap|the way|what)"
    r"|\beffect [+-]?\d|keep -?\d+ %"
)
"""What only a result with a gap may say."""

EFFECTS = (
    "patch",
    "ablate",
    "attribute",
    "path_patch",
    "trace",
    "patch_together",
    "ablate_together",
)
NAMES = (*EFFECTS, "edge_attribution", "evaluate_circuit")


@pytest.fixture(scope="module", params=["small", "flat", "pairs"])
def results(request: pytest.FixtureRequest, demo: pw.Model) -> dict[str, pw.Result]:
    """Every method on prompts that hardly differ; flat by a metric that does not move at all."""
    pairs: dict[str, Any] = {"small": SMALL, "flat": SMALL, "pairs": (SMALL, OTHER)}
    given = pairs[request.param]
    if request.param == "flat":
        given = SMALL.model_copy(update={"answer": (" store",), "wrong": (" park",)})
    changes: dict[str, Any] = {"metric": "prob_diff"} if request.param == "flat" else {}
    done = every_experiment(given, **changes)
    trace = done["trace"].model_copy(update={"subject": (11,), "noise": 0.001})
    return {name: run(trace if name == "trace" else one, demo) for name, one in done.items()}


def printed(result: pw.Result) -> str:
    """What the terminal shows but for the warnings, which speak of effects."""
    console = Console(width=400, record=True, file=StringIO())
    console.print(renderable(result))
    lines = console.export_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("Warning"))


@pytest.mark.parametrize("name", NAMES)
def test_the_result_itself_warns_and_has_no_scale(name: str, results: dict[str, pw.Result]) -> None:
    assert not has_scale(results[name])
    assert {"flat_gap", "small_gap"} & {one["code"] for one in results[name].warnings}


@pytest.mark.parametrize("name", list(every_experiment()))
def test_the_terminal_ranks_nothing_by_effect(name: str, results: dict[str, pw.Result]) -> None:
    text = printed(results[name])
    if name in NAMES and name != "edge_attribution":
        assert not RANKED.search(text), text
        assert not re.search(r"\beffect\b(?!: the gap is too small)", text), text


@pytest.mark.parametrize("name", list(every_experiment()))
def test_no_figure_shows_shares(name: str, results: dict[str, pw.Result]) -> None:
    result = results[name]
    drawn = image_bytes(result, "svg").decode()
    if name in NAMES:
        assert not re.search(r"share of the [\w' ]+ (restored|lost)", drawn)
        units = {grid.unit for grid in grids_of(result)}
        assert "effect" not in units
    if name == "evaluate_circuit":
        assert all(np.isnan(grid.values).all() for grid in grids_of(result))
        lines = [
            line
            for line in draw_curve(result).axes[0].lines
            if not str(line.get_label()).startswith("_")
        ]
        assert all(np.isnan(np.asarray(line.get_ydata(), dtype=float)).all() for line in lines)
        assert "too small" in drawn


def sentences(results: dict[str, pw.Result]) -> Iterator[str]:
    """Everything that insights say of these results."""
    for main in ("patch", "attribute"):
        found = insights(results[main])
        yield from (one.text for one in (*found.steps, *found.cautions))
    evaluated, scored = results["evaluate_circuit"], results["edge_attribution"]
    yield kept_sentence(evaluated, 2, 30).text
    yield pruned_sentence(evaluated, 0.5).text
    if (one := disagreement_sentence(scored)) is not None:
        yield one.text


def test_no_sentence_ranks_by_effect(results: dict[str, pw.Result]) -> None:
    for text in sentences(results):
        assert not RANKED.search(text), text
    codes = [one.code for one in insights(results["patch"]).steps]
    assert codes[-1] == "flat"
    assert smallest_size(results["evaluate_circuit"], 0.01) is None


def test_explained_says_that_there_is_nothing_to_say(demo: pw.Model) -> None:
    for pair in (SMALL, [SMALL, OTHER]):
        _, found = explain_pair(demo, pair)
        assert [one.code for one in found.steps][-1] == "flat"
        for one in (*found.steps, *found.cautions):
            assert not RANKED.search(one.text), one.text
            assert one.place is None
    assert heads_to_look_at(pw.patch(demo, SMALL, "z")) == ()


def test_lessons_have_no_quantity_that_is_a_share(results: dict[str, pw.Result]) -> None:
    for name in EFFECTS:
        for asked in ("strongest", "largest effect", "smallest effect"):
            with pytest.raises(FactError, match="too small"):
                quantity(asked, results[name])
    swept = results["patch"]
    for condition in ("effect L0.resid_pre@3 > 0.5", "largest effect < 0.5", "effect >= 0.5"):
        with pytest.raises(FactError, match="too small"):
            holds(condition, swept, map_cells(swept)[0])
    with pytest.raises(FactError, match="too small"):
        fill_slots("It restores {effect L0.resid_pre@3}.", swept)
    evaluated = results["evaluate_circuit"]
    for asked in ("faithfulness[1]", "complement[1]", "details.area", "largest faithfulness"):
        with pytest.raises(FactError, match="too small"):
            quantity(asked, evaluated)
    assert isinstance(quantity("gap", swept), float)
    if not isinstance(swept.experiment["pairs"], list):
        assert isinstance(quantity("patched L0.resid_pre@3", swept), float)


def pages(results: dict[str, pw.Result]) -> Iterator[str]:
    """The pages' sentences about one place of these results, each of one pair."""
    yield inspector.change_data(
        "A", "B", "Copied", "", results["patch_together"], results["patch"]
    )["sentence"]
    yield inspector.change_data("B", "A", "Set", "", results["ablate_together"], results["ablate"])[
        "sentence"
    ]
    yield path_place.sentence("L1H2.z", results["path_patch"], False)
    yield path_place.all_ways_text(results["patch_together"])
    yield trace_place.sentence("L1.resid_post@12", results["trace"])


def test_no_page_speaks_of_a_share(results: dict[str, pw.Result]) -> None:
    if isinstance(results["patch"].experiment["pairs"], list):
        text = many.unscaled_sentence("L0.resid_pre@3", results["patch"])
        assert "too small" in text
        assert not RANKED.search(text), text
        return
    for text in pages(results):
        assert not RANKED.search(text), text
        assert "nan" not in text
    assert np.isnan(controls.metric_and_effect(results["patch"], "L0.resid_pre@3")[1])
    assert inspector.pin_facts("L1H2.z", np.nan, np.nan) == []
    for grid in estimate_and_exact(results["attribute"]):
        assert np.isfinite(grid.values).all()
        assert not grid.centred


def test_intervals_are_not_listed_nor_drawn(demo: pw.Model) -> None:
    raw = pw.patch(demo, [SMALL, OTHER], "z")
    result = statistics(raw, resamples=100).on(raw)
    assert "interval" not in printed(result)
    with pytest.raises(InputError, match="too small to rank places"):
        draw_intervals(result)


def test_a_small_mean_gap_of_large_opposite_ones_is_warned_of_and_ranks_nothing(
    demo: pw.Model,
) -> None:
    other = PAIR.model_copy(
        update={"clean": PAIR.corrupt, "corrupt": CLEAN.replace("Mary and", "Anna and")}
    )
    pairs = [PAIR, other.model_copy(update={"clean": CLEAN.replace("John gave", "Mary gave")})]
    gaps = [pw.patch(demo, one, "z", "layer", layers=[0]) for one in pairs]
    assert all(has_scale(one) for one in gaps)
    effects = [[[0.5, -0.5]], [[0.5, -0.5]]]
    clean, corrupt = ([baseline(g) for g in some] for some in ((4.0, -4.1), (0.0, 0.0)))
    mean = made(effects, clean=baseline(-0.05, pairs=clean), corrupt=baseline(0.0, pairs=corrupt))
    assert not has_scale(mean)
    assert bool(usable_effect(mean).isnull().all())


def test_where_there_is_a_gap_all_of_it_is_said(demo: pw.Model) -> None:
    """The same words are found where they may stand, so that their absence means something."""
    results = {name: run(one, demo) for name, one in every_experiment().items()}
    for name in EFFECTS:
        assert re.search(r"Strongest places|effect", printed(results[name]))
    assert (
        ">share of the logit difference restored<" in image_bytes(results["patch"], "svg").decode()
    )
    assert any(RANKED.search(text) for text in sentences(results))
    assert all(RANKED.search(text) for text in pages(results) if "noise never" not in text)
    assert quantity("strongest", results["patch"])


@pytest.mark.parametrize("name", ["patch", "ablate", "attribute", "path_patch", "trace"])
def test_a_sweep_in_which_nothing_moves_says_so(name: str, demo: pw.Model) -> None:
    """Positions and layers before anything differs, or a value put back where it was."""
    changes: dict[str, Any] = {
        "patch": {"positions": (0, 1)},
        "attribute": {"site": "z", "per": "head_position", "positions": (0, 1)},
        "path_patch": {"positions": (0, 1)},
        "ablate": {"ablation": "resample", "prompts": (CLEAN,)},
        "trace": {"noise": 0.0},
    }
    asked = every_experiment()[name].model_copy(update=changes[name])
    result = run(asked, demo)
    assert nothing_moved(result)
    (message,) = [one["message"] for one in result.warnings if one["code"] == "nothing_moved"]
    assert "there is nothing to rank" in message
    assert "Nothing moves" in printed(result)
    assert not RANKED.search(printed(result))
    if name in ("patch", "attribute"):
        found = insights(result)
        said = [one.code for one in found.steps]
        assert any(code.endswith("still") for code in said)
        assert not {"carry", "weak", "enters_nowhere", "heads_weak"} & set(said)
        assert not any("moves most" in one.text or "at most" in one.text for one in found.steps)
    if name == "attribute":
        assert "nothing moves" in draw_scatter(result).get_suptitle()


def test_a_stopped_sweep_says_nothing_of_what_is_not_computed(demo: pw.Model) -> None:
    """Cells where the runs are alike are there at once; those that could move are not."""
    result = pw.patch(demo, PAIR, progress=lambda _: False)
    assert bool(result.patched.notnull().any())
    assert "nothing_moved" not in [one["code"] for one in result.warnings]
    assert not any(one.code.endswith("still") for one in insights(result).steps)
    paths_up = pw.PathPatch(model="demo", pairs=PAIR, site="z", per="head", receivers=("L1H0.q",))
    codes = [one["code"] for one in paths_up.run_unpatched(demo).warnings]
    assert "nothing_moved" not in codes


def test_edges_that_move_nothing_say_so(demo: pw.Model) -> None:
    flat = SMALL.model_copy(update={"answer": (" store",), "wrong": (" park",)})
    result = pw.edge_attribution(demo, flat, metric="prob_diff")
    assert nothing_moved(result)
    assert "nothing_moved" in [one["code"] for one in result.warnings]


def test_a_sweep_that_moves_something_does_not_say_so(demo: pw.Model) -> None:
    for one in every_experiment().values():
        found = run(one, demo)
        assert "nothing_moved" not in [notice["code"] for notice in found.warnings]


@pytest.mark.parametrize("metric", METRICS)
def test_the_scale_ends_where_the_warning_begins(metric: Metric) -> None:
    unit = METRIC_TABLE[metric].unit
    for gap, known in (
        (unit.small_gap, True),
        (0.99 * unit.small_gap, False),
        (unit.min_gap, False),
    ):
        for sign in (1, -1):
            result = made(
                [[0.5, 0.1]], metric=metric, clean=baseline(sign * gap), corrupt=baseline(0.0)
            )
            assert has_scale(result) == known


def test_the_commands_conclude_nothing(tmp_path: Any) -> None:
    words = [
        "--clean",
        SMALL.clean,
        "--corrupt",
        SMALL.corrupt,
        "--answer",
        " Mary",
        "--wrong",
        " John",
    ]
    told = patchwright("explain", *map(str, words))
    assert told.returncode == 0
    assert not RANKED.search(told.stdout), told.stdout
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(f"{one.model_dump_json()}\n" for one in (SMALL, OTHER)))
    swept = patchwright("patch", "--pairs", str(pairs), "--site", "z", "--intervals")
    assert swept.returncode == 0
    assert "too small to rank" in swept.stdout
    assert not RANKED.search(swept.stdout)
