"""A grid in a terminal of any width: nothing is missing, nothing is wider than the terminal."""

import math
from io import BytesIO, TextIOWrapper
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console

import patchwright as pw
from patchwright.figures.comparison import comparison_grids
from patchwright.figures.grid import Grid
from patchwright.figures.terminal import renderable, side_by_side
from patchwright.figures.terminal_map import MOST_CELLS, TerminalMap
from patchwright.prompts.tokens import visible
from patchwright.streams import ERROR_HANDLER
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])
NUMBERS = st.one_of(
    st.floats(-1.2, 1.2), st.floats(-200, 200), st.floats(allow_infinity=False), st.just(math.nan)
)


def printed(what: object, width: int, encoding: str = "utf-8") -> list[str]:
    """The lines that a terminal of `width` and `encoding` gets."""
    stream = TextIOWrapper(BytesIO(), encoding, ERROR_HANDLER)
    Console(width=width, file=stream, highlight=False).print(what)
    stream.seek(0)
    return stream.read().splitlines()


def grid_with(
    values: NDArray[np.float64], columns: list[str], rows: list[str] | None = None
) -> Grid:
    rows = [str(i) for i in range(len(values))] if rows is None else rows
    known = values[np.isfinite(values)]
    low, high = float(known.min(initial=0)), float(known.max(initial=0))
    names = [[""] * len(columns)] * len(rows)
    return Grid("", values, rows, columns, "layer", "position", names, True, "effect", low, high)


def blocks(lines: list[str], heads: int) -> list[tuple[list[str], list[list[str]]]]:
    """Each block of columns: the words of the last line of its head, and those of its rows."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line)
        else:
            found.append([])
    return [(part[heads - 1].split(), [row.split() for row in part[heads:]]) for part in found]


def digits_of(cell: str) -> str:
    """The format that a number was written in."""
    return ".0e" if "e" in cell else f".{len(cell.partition('.')[2])}f"


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    n_rows, n_columns = draw(st.integers(1, 14)), draw(st.integers(1, 70))
    some = draw(st.lists(NUMBERS, min_size=1, max_size=20))
    values = np.resize(np.array(some), (n_rows, n_columns))
    texts = draw(st.lists(st.text(max_size=12), min_size=1, max_size=8))
    columns = [f"{visible(texts[i % len(texts)]) or '·'} {i}" for i in range(n_columns)]
    return grid_with(values, columns)


@given(grid=grids(), width=st.integers(40, 200), encoding=st.sampled_from(["utf-8", "ascii"]))
@settings(max_examples=150)
def test_each_column_is_printed_once_and_no_line_is_too_wide(
    grid: Grid, width: int, encoding: str
) -> None:
    lines = printed(TerminalMap(grid), width, encoding)
    assert max(map(cell_len, lines)) <= width
    found = blocks(lines, heads=2)
    assert [int(one) for head, _ in found for one in head] == list(range(len(grid.columns)))
    layers = [str(i) for i in reversed(range(len(grid.rows)))]
    values = [list[str]() for _ in layers]
    for head, rows in found:
        assert [row[0] for row in rows] == layers
        for cells, row in zip(values, rows, strict=True):
            assert len(row) == 1 + len(head)
            cells += row[1:]
    for cells, exact in zip(values, reversed(grid.values.tolist()), strict=True):
        for cell, value in zip(cells, exact, strict=True):
            assert (cell == ".") == math.isnan(value)
            if cell != ".":
                assert float(cell) == float(format(value, digits_of(cell))) + 0.0


@given(
    labels=st.lists(st.text(min_size=1, max_size=12).map(visible), min_size=1, max_size=30),
    width=st.integers(40, 120),
)
@settings(max_examples=60)
def test_rows_of_tokens_keep_their_positions(labels: list[str], width: int) -> None:
    rows = [f"{label} {i}" for i, label in enumerate(labels)]
    values = np.zeros((len(rows), len(rows)))
    lines = printed(TerminalMap(grid_with(values, rows, rows)), width)
    assert max(map(cell_len, lines)) <= width
    for _, block in blocks(lines, heads=2):
        positions = [
            next(one for one in row[::-1] if one != "0.00" and one != ".00") for row in block
        ]
        assert [int(one) for one in positions] == list(reversed(range(len(rows))))


@given(n=st.integers(1, 400), first=st.integers(0, 20_000), width=st.integers(40, 160))
@settings(max_examples=60)
def test_heads_and_neurons_keep_their_whole_number(n: int, first: int, width: int) -> None:
    columns = [str(first + i) for i in range(n)]
    lines = printed(TerminalMap(grid_with(np.full((2, n), -0.25), columns)), width)
    assert max(map(cell_len, lines)) <= width
    assert [one for head, _ in blocks(lines, heads=1) for one in head[1:]] == columns


@given(
    n_rows=st.sampled_from([1, 12, 144, 1200]),
    n_columns=st.sampled_from([1024, 3072, 10_001]),
    width=st.integers(40, 160),
    at=st.floats(0, 0.999),
)
@settings(max_examples=15)
def test_of_a_grid_that_is_too_large_the_strongest_cell_is_shown(
    n_rows: int, n_columns: int, width: int, at: float
) -> None:
    values = np.zeros((n_rows, n_columns))
    row, column = int(at * n_rows), int(at * n_columns)
    values[row, column] = -7.5
    lines = printed(TerminalMap(grid_with(values, [str(i) for i in range(n_columns)])), width)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) < MOST_CELLS
    assert " ".join(lines).count("-7.5") == 1
    if values.size > MOST_CELLS:
        said = " ".join(" ".join(lines).split())
        assert f"of {n_rows} rows" in said
        assert f"of {n_columns} columns with the strongest cells" in said


def test_at_80_columns_fifteen_tokens_stand_side_by_side() -> None:
    values = np.linspace(-1, 1, 90).reshape(6, 15)
    lines = printed(TerminalMap(grid_with(values, [f"·word {i}" for i in range(15)])), 80)
    assert len(lines) == 8
    assert lines[1].split() == [str(i) for i in range(15)]
    assert [line.split()[0] for line in lines[2:]] == ["5", "4", "3", "2", "1", "0"]


def results(model: pw.Model) -> dict[str, pw.Result]:
    pairs = [PAIR, pair_of([6, 2, 3, 4], [8, 5, 3, 4])]
    many = pw.patch(model, pairs)
    circuit = pw.Circuit.choose(pw.edge_attribution(model, pairs), model, top=5)
    return {
        "patch": pw.patch(model, PAIR),
        "heads": pw.patch(model, PAIR, "z", "head_position"),
        "neurons": pw.patch(model, PAIR, "mlp_act", layers=[1]),
        "intervals": pw.statistics(many).on(many),
        "together": pw.patch_together(model, PAIR, ["L1H2.z", "L0.mlp_out@-1"]),
        "attention": pw.attention(model, PAIR, 1, 2),
        "scores": pw.head_scores(model, PAIR, length=7),
        "lens": pw.logit_lens(model, PAIR),
        "attribution": pw.logit_attribution(model, PAIR, "head"),
        "difference": pw.difference(model, PAIR, "z", "head_position"),
        "trace": pw.trace(model, [1, 2, 3, 4], [1], 5, samples=2),
        "paths": pw.path_patch(model, PAIR, ["logits"]),
        "edges": pw.edge_attribution(model, PAIR),
        "circuit": pw.evaluate_circuit(model, PAIR, circuit, sizes=[1, 5], n_random=2),
    }


def test_whatever_is_shown_fits_the_terminal_and_is_not_cut(model: pw.Model) -> None:
    for name, result in results(model).items():
        for width, encoding in product((40, 60, 80, 120), ("utf-8", "ascii")):
            lines = printed(renderable(result), width, encoding)
            assert max(map(cell_len, lines)) <= width, (name, width)
            assert "…" not in "".join(lines), (name, width)
            words = " ".join(" ".join(lines).split())
            assert str(result.experiment["metric"]) in words, (name, width)
            assert f"{result.clean.metric:.4g}" in words, (name, width)


@pytest.mark.parametrize("width", [40, 80])
def test_two_results_side_by_side_keep_their_positions(model: pw.Model, width: int) -> None:
    one, other = pw.patch(model, PAIR), pw.patch(model, PAIR, direction="noise")
    lines = printed(side_by_side(one, other, comparison_grids(one, other)), width)
    assert max(map(cell_len, lines)) <= width
    assert sum(line.split() == ["0", "1", "2", "3"] for line in lines) == 3
