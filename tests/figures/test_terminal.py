from dataclasses import replace
from io import StringIO

from rich.console import Console

import patchwright as pw
from patchwright.algorithms.statistics import OddPair, statistics
from patchwright.figures.terminal import renderable
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])


def printed(result: pw.Result) -> str:
    console = Console(width=160, record=True, file=StringIO())
    console.print(renderable(result))
    return console.export_text()


def test_the_terminal_shows_baselines_map_and_strongest_places(model: pw.Model) -> None:
    result = pw.patch(model, PAIR)
    text = printed(result)
    assert f"{result.clean.metric:.4g}" in text
    assert all(f"{round(value, 2) + 0.0:.2f}" in text for value in result.effect.values.ravel())
    assert result.top(1)["place"][0] in text


def test_layers_are_printed_from_the_highest_down(model: pw.Model) -> None:
    lines = printed(pw.patch(model, PAIR)).splitlines()
    rows = [line.split()[0] for line in lines if len(line.split()) == 5]
    assert rows[1:4] == ["2", "1", "0"]


def test_warnings_are_printed(model: pw.Model) -> None:
    result = pw.patch(model, PAIR)
    assert result.warnings
    text = printed(result)
    assert all(f"Warning ({notice['code']})" in text for notice in result.warnings)


def test_what_baselines_are_means_of_is_said(model: pw.Model) -> None:
    traced = printed(pw.trace(model, [1, 2, 3], [1], [7], samples=2))
    assert "means of 2 noise samples" in traced
    assert "means of 2 pairs" not in traced
    several = printed(pw.patch(model, [PAIR, pair_of([5, 2, 3, 4], [5, 4, 3, 4])]))
    assert several.count("means of 2 pairs") == 2


def test_places_together_are_a_line(model: pw.Model) -> None:
    text = printed(pw.patch_together(model, PAIR, ["L1H2.z", "L0.mlp_out@-1"]))
    assert "L1H2.z, L0.mlp_out@-1 copied together from the clean run: " in text


def test_pairs_that_stand_out_are_numbered_as_in_warnings_and_tables(model: pw.Model) -> None:
    result = pw.patch(model, [PAIR, pair_of([5, 2, 3], [5, 4, 3])], "z")
    odd = OddPair(1, "gap", 9.0, "Its gap is large.")
    text = printed(replace(statistics(result), odd_pairs=[odd]).on(result))
    assert "Pair 2 stands out: Its gap is large." in text
    assert {notice["message"][:7] for notice in result.warnings} == {"Pair 1:", "Pair 2:"}
    assert set(result.table()["pair"]) == {1, 2}
