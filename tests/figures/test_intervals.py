"""Statistics of a result over pairs, as the terminal, the figures and the files show them."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import patchwright as pw
from handmade_results import baseline, made
from patchwright.algorithms.statistics import statistics, stored_statistics
from patchwright.cli.options import write_outputs
from patchwright.errors import InputError
from patchwright.figures.grid import grid_of, grids_of
from patchwright.figures.matplotlib_figures import draw_intervals, draw_result
from patchwright.figures.style import FigureStyle
from patchwright.figures.terminal import renderable

N = 12


def over_pairs() -> pw.Result:
    """Heads of which L1H2 moves every pair and L0H0 none in particular."""
    draw = np.random.default_rng(0)
    effects = draw.normal(0.0, 0.05, (N, 2, 3))
    effects[:, 1, 2] += 0.6
    return made(
        effects,
        "z",
        "head",
        clean=baseline(4.0, pairs=[baseline(4.0)] * N),
        corrupt=baseline(-4.0, pairs=[baseline(-4.0)] * N),
        tokens=([[f"a{i}", "b"] for i in range(N)], [[f"a{i}", "c"] for i in range(N)]),
    )


@pytest.fixture(scope="module")
def sure() -> pw.Result:
    result = over_pairs()
    return statistics(result).on(result)


def test_statistics_survive_on_a_result_and_in_its_json(sure: pw.Result, tmp_path: Path) -> None:
    found = statistics(over_pairs())
    sure.to_json(tmp_path / "r.json")
    for one in (sure, pw.load_result(tmp_path / "r.json")):
        known = stored_statistics(one)
        assert known is not None
        assert known.document() == found.document()
        assert known.to_frame().equals(found.to_frame())
    assert stored_statistics(over_pairs()) is None


def test_a_heat_map_marks_the_cells_that_do_not_differ_from_zero(sure: pw.Result) -> None:
    marks = grid_of(sure).unsure
    assert marks is not None
    assert not marks[1, 2]
    figure = draw_result(sure, style=FigureStyle(title=True))
    axes = figure.axes[0]
    ends = [
        np.concatenate([np.asarray(line.get_ydata()), np.asarray(line.get_xdata())]).round()
        for line in axes.lines
    ]
    at = {(int(row), int(column)) for row, column in ends}
    assert at == {(row, column) for row, column in np.argwhere(marks).tolist()}
    assert len(at) >= 3
    assert "open circle: does not differ from zero over 12 pairs" in figure.get_supxlabel()
    assert "Open circle: does not differ from zero over 12 pairs" in sure.caption()
    plain = draw_result(over_pairs()).axes[0]
    assert len(plain.lines) == 0
    assert "circle" not in over_pairs().caption()


def test_error_bars_run_over_the_intervals(sure: pw.Result) -> None:
    found = stored_statistics(sure)
    assert found is not None
    axes = draw_intervals(sure).axes[0]
    top = found.strongest(1).to_dict("records")[0]
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == [top["low"], top["high"]]
    assert axes.get_yticklabels()[0].get_text() == "L1H2.z"
    filled = axes.lines[1].get_markerfacecolor() != "white"
    assert filled
    assert any(line.get_markerfacecolor() == "white" for line in axes.lines[3::2])
    with pytest.raises(InputError, match="no statistics"):
        draw_intervals(over_pairs())


def test_the_terminal_lists_intervals_and_how_many_places_differ(sure: pw.Result) -> None:
    console = Console(width=160, record=True, file=StringIO())
    console.print(renderable(sure))
    text = console.export_text()
    found = stored_statistics(sure)
    assert found is not None
    assert f"{int(found.differs().sum())} of 6 differ from zero at a false discovery rate" in text
    line = next(line for line in text.splitlines() if "L1H2.z" in line and " to " in line)
    assert f"{float(found.low[1, 2]):+.3f} to {float(found.high[1, 2]):+.3f}" in line
    assert "12 of 12" in line


def test_outputs_with_intervals_have_a_row_a_place_and_the_contracts_fields(
    tmp_path: Path,
) -> None:
    names = {name: str(tmp_path / name) for name in ("r.json", "r.csv", "r.png", "bars.png")}
    write_outputs(
        over_pairs(), names["r.json"], names["r.csv"], names["r.png"],
        intervals=True, interval_plot=names["bars.png"],
    )  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    frame = pd.read_csv(names["r.csv"])
    assert len(frame) == 6
    assert {"place", "mean_effect", "low", "high", "q_value", "same_sign"} <= set(frame.columns)
    document = json.loads(Path(names["r.json"]).read_text(encoding="utf-8"))
    assert set(document) == set(over_pairs().document())
    assert document["details"]["statistics"]["odd_pairs"] == []
    write_outputs(over_pairs(), "", names["r.csv"], "")
    assert len(pd.read_csv(names["r.csv"])) == 6 * N


def test_of_one_pair_intervals_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not over pairs"):
        write_outputs(
            made([[0.1, 0.2, 0.3, 0.4]]), str(tmp_path / "r.json"), "", "", intervals=True
        )
    assert list(tmp_path.iterdir()) == []


def test_panels_of_runs_have_their_own_marks(model: pw.Model) -> None:
    draw = np.random.default_rng(0).integers(0, 50, (7, 2, 4)).tolist()
    pairs = [pw.Pair(clean=one, corrupt=other, answer=[7], wrong=[11]) for one, other in draw]
    result = pw.logit_attribution(model, pairs, "head", bos=False)
    found = statistics(result)
    for grid in grids_of(found.on(result)):
        expected = found.unsure.sel(run=grid.title).values
        np.testing.assert_array_equal(grid.unsure, expected)
