"""Many prompts: a set of pairs, its mean heat map with intervals, and the pairs behind a cell."""

import math
from typing import Any, cast

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale
from patchwright.algorithms.statistics import RATE, Statistics, statistics_on
from patchwright.app import build_experiment, pair_sets
from patchwright.app.pair_sets import PairSet
from patchwright.app.results import statistics_of
from patchwright.app.text import error_markdown, escape, typed
from patchwright.app.views import controls, export, fields, pair, pair_set_form, progress, topbar
from patchwright.app.widgets.heat_map import heat_map
from patchwright.axes import DIRECTIONS, METRICS
from patchwright.errors import PatchwrightError
from patchwright.figures.grid import Grid, grid_of, title_of
from patchwright.figures.pair_strip import Interval, strip_chart
from patchwright.insights import insights
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITES
from patchwright.prompts.messages import prompt_text
from patchwright.spelling import percent

OVER_PAIRS = ("stopped", "estimate", "duplicate_pairs", "nothing_moved")
"""Warnings that are about the whole set, not about one of its pairs."""

MOST_ODD = 10
"""Pairs that stand out, shown one by one."""


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    bar = topbar.shown(with_examples=False)
    if bar is None:
        return
    model = bar.model
    st.header("Sets", anchor=False)
    st.caption(
        "One pair is an anecdote. The same sweep over a set of pairs: the mean of every place, how "
        "sure it is, and the pairs that behave unlike the rest."
    )
    try:
        pair_set_form.choices()
        below = st.container()
        _choices(model)
        found, experiment = _set(model)
        with below:
            pair_set_form.listed(found)
        swept = _experiment(found, experiment, model)
        result = progress.finished(swept, model, "set", "cells")
        if result is not None:
            _finished(found, result, bar)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _choices(model: Model) -> None:
    """What is patched, and how it is measured."""
    columns = st.columns(4)
    controls.site_and_per(
        columns[:2],
        SITES,
        "set_site",
        "set_per",
        "set_chosen",
        model,
        help="Which kind of activation is copied.",
    )
    fields.choice(
        columns[2],
        "Direction",
        DIRECTIONS,
        "direction",
        controls.DIRECTION_NAMES,
        help=controls.DIRECTION_HELP,
    )
    fields.choice(
        columns[3], "Metric", METRICS, "metric", controls.METRIC_NAMES, help=controls.METRIC_HELP
    )
    pair.beginning(model)


def _set(model: Model) -> tuple[PairSet, Patch]:
    """The pairs that this model can take, and the sweep over them; built once for its controls."""
    swept = build_experiment.set_experiment_of(
        {**st.session_state, "set_roles": []}, model.name, ()
    )
    key = (pair_sets.wanted(st.session_state), swept.metric, model.fingerprint)
    held: tuple[Any, PairSet] | None = st.session_state.get("built")
    if held is None or held[0] != key:
        whole = pair_sets.pair_set(st.session_state, model)
        held = (key, pair_sets.fitting(whole, swept, model))
        st.session_state["built"] = held
    return held[1], swept


def _experiment(found: PairSet, swept: Patch, model: Model) -> Patch:
    """The sweep, by roles where they are chosen. Raises InputError for what is too much."""
    at_positions = swept.per in ("position", "head_position")
    if at_positions:
        _roles(found)
    return build_experiment.set_experiment_of(st.session_state, model.name, found.pairs)


def _roles(found: PairSet) -> None:
    """Positions, or named places of each pair's own prompt."""
    offered = found.roles
    st.session_state["set_roles"] = [one for one in st.session_state["set_roles"] if one in offered]
    unequal = len(set(found.lengths)) > 1
    if unequal and not st.session_state["set_roles"]:
        st.session_state["set_roles"] = list(offered)
    st.multiselect(
        "Compare by roles",
        offered,
        key="set_roles",
        placeholder="every position",
        format_func=escape,
        **fields.KEPT,
        help="Named places of each prompt, such as a template's slots; `last` is the last token. "
        "Without roles, position is compared with position.",
    )
    if unequal:
        st.caption(
            f"The prompts have different lengths ({pair_sets.length_groups(found.lengths)}), so they "
            "are compared by roles."
        )


def _finished(found: PairSet, raw: Result, bar: topbar.Bar) -> None:
    """The mean heat map, and beside it the pairs of one cell (at first the strongest)."""
    for notice in raw.warnings:
        if notice["code"] in OVER_PAIRS:
            st.warning(escape(notice["message"]))
    result = statistics_of(raw)
    over = statistics_on(result)
    assert over is not None, "they were just computed"
    _baselines(result)
    grid = grid_of(result)
    chosen = _chosen(grid, over)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.markdown(f"#### {escape(title_of(result))}, mean of {len(found.items)} pairs")
        heat_map(grid, "set-map", chosen, _choose)
        st.caption(_legend(grid))
    with right:
        _cell(chosen, found, result, over)
    _odd(found, over)
    _said(result)
    export.shown(bar, result, sharable=st.session_state["set_source"] not in ("file", "run"))


def _baselines(result: Result) -> None:
    """Both unpatched runs, as means over the pairs."""
    metric = result.experiment["metric"]
    with st.container(horizontal=True, gap="large"):
        for name, run in {"Clean": result.clean, "Corrupted": result.corrupt}.items():
            st.metric(f"{name} runs: mean {metric}", f"{run.metric:.3g}", width="content")
        gap = result.clean.metric - result.corrupt.metric
        st.metric("Mean gap", f"{gap:.3g}", width="content")
        st.metric("Pairs", len(result.clean.pairs), width="content")


def _chosen(grid: Grid, over: Statistics) -> str:
    """The chosen cell if the map has it, else the strongest."""
    chosen: str = st.session_state["set_chosen"]
    if any(chosen in row for row in grid.places):
        return chosen
    top = over.strongest(1)
    return "" if top.empty or "place" not in top else str(top["place"].iloc[0])


def _choose(chosen: str) -> None:
    st.session_state["set_chosen"] = chosen


def _legend(grid: Grid) -> str:
    circles = (
        f"Cells with an open circle do not differ from zero at a false discovery rate of {percent(RATE)}. "
        "Click a cell, or move with the arrow keys and press Enter."
    )
    if grid.centred:
        return (
            "Each cell is a mean over the pairs: the share of the mean gap that the patch moved. White "
            f"is nothing, 1 all the way to the other run. {circles}"
        )
    if grid.unsure is None:
        return f"Each cell is a mean over the pairs: {grid.unit}. The mean gap is too small for effects."
    return f"Each cell is a mean over the pairs: {grid.unit}. {circles}"


def _cell(chosen: str, found: PairSet, result: Result, over: Statistics) -> None:
    """One cell: its mean, interval and test in a sentence, and every pair's value."""
    rows = over.to_frame()
    rows = rows[rows["place"] == chosen] if "place" in rows else rows[:0]
    if rows.empty:
        st.caption("Fewer than two pairs have this cell, so nothing says how sure it is.")
        return
    row = rows.iloc[0]
    st.markdown(f"#### `{chosen}`")
    if over.array == "effect" and not has_scale(result):
        st.markdown(without_scale(chosen, result))
        return
    st.markdown(cell_sentence(row, over))
    table = result.table()
    table = table[table["place"] == chosen].set_index("pair")
    name = over.array
    values = [
        cast("float", table[name].get(i, math.nan)) for i in range(1, len(result.clean.pairs) + 1)
    ]
    prompts = [prompt_text(pair.clean) for pair in found.pairs]
    odd = [one.pair for one in over.odd_pairs]
    interval = Interval(*(float(row[one]) for one in ("mean_effect", "low", "high")))
    st.altair_chart(strip_chart(values, prompts, odd, interval, name))
    st.caption(
        f"Every pair's own {name}, sorted. Dashed: the mean over pairs; the band is its "
        f"{percent(over.level)} interval. Squares are pairs that stand out, listed below."
    )


def without_scale(chosen: str, result: Result) -> str:
    """What a cell does in the metric's own unit, where shares of the gap say nothing, as Markdown."""
    after, _ = controls.at_place(result.averaged(), chosen)
    return (
        f"Mean {escape(result.experiment['metric'])} **{after:.3g}** after the patch, "
        f"{result.base.metric:.3g} before it. The mean gap is too small for shares of it."
    )


def cell_sentence(row: Any, over: Statistics) -> str:
    """What a cell's numbers say, as Markdown."""
    sure = "differs from zero" if row["q_value"] <= RATE else "does **not** differ from zero"
    bounds = (
        f" ({percent(over.level)} interval {row['low']:+.3f} to {row['high']:+.3f})"
        if math.isfinite(row["low"])
        else " (its interval has no bounds: the gap itself is not told from zero)"
    )
    return (
        f"Mean {over.array} **{row['mean_effect']:+.3f}**{bounds}; {int(row['same_sign'])} of "
        f"{int(row['pairs'])} pairs have its sign. It {sure} at a false discovery rate of {percent(RATE)} "
        f"(corrected p {row['q_value']:.2g})."
    )


def _odd(found: PairSet, over: Statistics) -> None:
    """The pairs that stand out, with their prompts."""
    st.subheader("Pairs unlike the rest", anchor=False)
    if not over.odd_pairs:
        st.caption("No pair stands out, in its gap or in how its effects lie over the places.")
        return
    for one in over.odd_pairs[:MOST_ODD]:
        pair = found.pairs[one.pair]
        st.markdown(f"**Pair {one.pair + 1}**: {escape(one.why)}")
        st.caption(f"{typed(prompt_text(pair.clean))}  \n{typed(prompt_text(pair.corrupt))}")
    if (more := len(over.odd_pairs) - MOST_ODD) > 0:
        st.caption(f"And {more} more: the JSON below has them all.")


def _said(result: Result) -> None:
    """Steps and cautions over the pairs."""
    st.subheader("What this shows", anchor=False)
    try:
        found = insights(result)
    except PatchwrightError as error:
        st.caption(error_markdown(error))
        return
    for number, one in enumerate(found.steps, 1):
        st.markdown(f"{number}. {escape(one.text)}")
    if found.cautions:
        st.markdown("**Cautions**")
    for number, one in enumerate(found.cautions, 1):
        st.markdown(f"{number}. {escape(one.text)}")
