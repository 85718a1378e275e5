"""Every method's result can be shown: on paper, in a terminal, as a table."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import patchwright as pw
from patchwright.errors import InputError
from patchwright.figures.grid import grids_of, title_of
from patchwright.figures.matplotlib_figures import (
    draw_layer_lines,
    draw_result,
    draw_scatter,
    save_figure,
)
from patchwright.figures.terminal import renderable
from patchwright.spelling import run_name
from patchwright.storage.export import csv_text
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4, 2], [1, 5, 3, 4, 2])
PAIRS = [PAIR, pair_of([6, 2, 3, 4, 2], [8, 5, 3, 4, 2])]
PROMPT, SUBJECT, ANSWER = [1, 2, 3, 4, 2], [1], 7


def circuit_of(model: pw.Model) -> pw.Circuit:
    return pw.Circuit.choose(pw.edge_attribution(model, PAIR), model, top=20)


CALLS: dict[str, Callable[[pw.Model], pw.Result]] = {
    "patch": lambda model: pw.patch(model, PAIR, "z"),
    "ablate": lambda model: pw.ablate(model, PAIR, "z"),
    "trace": lambda model: pw.trace(model, PROMPT, SUBJECT, ANSWER, samples=2, window=2),
    "attribute": lambda model: pw.attribute(model, PAIR),
    "attribute and exact": lambda model: pw.compare_with_exact(model, PAIR, "z"),
    "paths": lambda model: pw.path_patch(model, PAIR, ["L2H1.q"], mlps="freeze"),
    "most promising first": lambda model: pw.patch(
        model, PAIR, "z", order="attribution", max_exact=5
    ),
    "edges": lambda model: pw.edge_attribution(model, PAIR),
    "edges over pairs": lambda model: pw.edge_attribution(model, PAIRS, steps=2),
    "circuit": lambda model: pw.evaluate_circuit(model, PAIR, circuit_of(model), n_random=2),
    "difference": lambda model: pw.difference(model, PAIR),
    "neurons": lambda model: pw.difference(model, PAIR, "mlp_act", "neuron"),
    "attention": lambda model: pw.attention(model, PAIR, 1, 2),
    "head_scores": lambda model: pw.head_scores(model, PAIR, length=5),
    "lens": lambda model: pw.logit_lens(model, PAIR),
    "lens of a patched run": lambda model: pw.logit_lens(model, PAIR, ["L1.mlp_out"]),
    "direct by layer": lambda model: pw.logit_attribution(model, PAIR, "layer"),
    "direct by head": lambda model: pw.logit_attribution(model, PAIR, "head"),
    "direct by position": lambda model: pw.logit_attribution(model, PAIR, "position"),
    "direct by neuron": lambda model: pw.logit_attribution(model, PAIR, "neuron"),
    "difference over pairs": lambda model: pw.difference(model, PAIRS, "z"),
    "lens over pairs": lambda model: pw.logit_lens(model, PAIRS),
    "scores over pairs": lambda model: pw.head_scores(model, PAIRS, length=5),
    "direct over pairs": lambda model: pw.logit_attribution(model, PAIRS),
    "ablation over pairs": lambda model: pw.ablate(model, PAIRS, "mlp_out"),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_result_can_be_shown_and_read_again(
    model: pw.Model, tmp_path: Path, name: str
) -> None:
    result = CALLS[name](model)
    figure = draw_result(result)
    assert figure.axes
    console = Console(width=200, record=True, file=StringIO())
    console.print(renderable(result))
    assert title_of(result) in console.export_text().replace("\n", " ")
    assert csv_text(result).count("\n") == len(result.table()) + 1 > 1
    assert len(result.top(3)) == 3
    result.to_json(tmp_path / "result.json")
    assert pw.load_result(tmp_path / "result.json").document() == result.document()


@pytest.mark.parametrize("name", CALLS)
def test_panels_share_one_scale_that_holds_every_value(model: pw.Model, name: str) -> None:
    grids = grids_of(CALLS[name](model))
    assert len({(grid.low, grid.high, grid.centred, grid.unit) for grid in grids}) == 1
    for grid in grids:
        known = grid.values[np.isfinite(grid.values)]
        low, high = (-grid.limit, grid.limit) if grid.centred else (grid.low, grid.high)
        assert low - 1e-9 <= known.min()
        assert known.max() <= high + 1e-9


def test_the_runs_of_a_lens_are_panels(model: pw.Model) -> None:
    titles = [grid.title for grid in grids_of(pw.logit_lens(model, PAIR, ["L1.mlp_out"]))]
    assert titles == ["clean", "corrupt", "patched"]


def test_the_windows_size_is_on_the_figure(model: pw.Model) -> None:
    result = pw.trace(model, PROMPT, SUBJECT, ANSWER, samples=2, window=3, sever="mlp_out")
    assert draw_result(result).axes[0].get_title() == "Hidden state (3 layers at a time)"
    assert "Noise of 3 standard deviations" in result.caption()
    assert "MLP severed." in result.caption()


def test_the_graph_has_a_line_a_run(model: pw.Model, tmp_path: Path) -> None:
    result = pw.logit_lens(model, PAIR, ["L1.mlp_out"])
    lines = draw_layer_lines(result).axes[0].get_lines()
    drawn = {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in lines}
    for run in ("clean", "corrupt", "patched"):
        expected = result.arrays["accumulated"].sel(run=run)
        np.testing.assert_allclose(drawn[run_name(run)], expected)
    save_figure(draw_layer_lines(result), tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8").count("after layer") == 1


def test_without_a_wrong_answer_there_is_no_graph(model: pw.Model) -> None:
    result = pw.logit_lens(model, pair_of([1, 2], [1, 3], wrong=[]))
    with pytest.raises(InputError, match="accumulated"):
        draw_layer_lines(result)


def test_estimates_are_drawn_against_exact_values(model: pw.Model) -> None:
    result = pw.compare_with_exact(model, PAIR, "z")
    points = np.asarray(draw_scatter(result).axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(points[:, 0], result.arrays["exact"].values.ravel())
    np.testing.assert_allclose(points[:, 1], result.patched.values.ravel())
    with pytest.raises(InputError, match="exact"):
        draw_scatter(pw.attribute(model, PAIR))
