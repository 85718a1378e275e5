"""Sets: many pairs, the mean map with its intervals, and the pairs behind each place."""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.metrics import METRIC_TABLE, check_metric
from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale
from patchwright.algorithms.statistics import RATE, Statistics, statistics_on
from patchwright.app import build_experiment, pair_sets, restore_state, session_state
from patchwright.app.results import statistics_of
from patchwright.app.session_state import names_role
from patchwright.app.text import error_markdown, escape, typed
from patchwright.app.views import (
    controls,
    explanation,
    explore,
    export,
    fields,
    inspector,
    pair,
    pair_set_form,
    patch,
    progress,
    topbar,
)
from patchwright.errors import PatchwrightError
from patchwright.figures.grid import Grid, grid_of
from patchwright.insights import insights
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import parse_place
from patchwright.prompts.messages import prompt_text
from patchwright.prompts.pairs_file import PairSet
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent

OVER_PAIRS = ("stopped", "estimate", "duplicate_pairs", "nothing_moved")
"""Warnings that are about the whole set, not about one of its pairs."""

MOST_ODD = 10
"""Pairs that stand out, told one by one."""

BESIDE = 2
"""Of them, those that stand beside the map."""

MOST_WORDS = 70
"""Characters of a prompt that names its pair."""


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    bar = topbar.shown(with_examples=False)
    if bar is None:
        return
    model = bar.model
    st.html('<h1 class="pw-title">Sets</h1>')
    try:
        pair_set_form.choices(model)
        understood = st.container()
        room = patch.choices(model, "set_site", "set_per")
        more = room.popover("⚙", help="First token, roles", width="stretch")
        with more:
            pair.beginning(model)
        found, swept = _set(model)
        with understood:
            pair_set_form.understood(found)
        if swept.per in ("position", "head_position"):
            _roles(found, more)
        swept = build_experiment.set_experiment_of(st.session_state, model.name, tuple(found.pairs))
        conclusion = st.empty()
        result = progress.finished(swept, model, "set", "cells")
        if result is not None:
            _finished(swept, statistics_of(result), bar, conclusion)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _set(model: Model) -> tuple[PairSet, Patch]:
    """The pairs that this model can take, and the sweep over them; built once for its controls."""
    swept = build_experiment.set_experiment_of(
        {**st.session_state, "set_roles": []}, model.name, ()
    )
    key = (pair_sets.wanted(st.session_state), swept.metric, model.fingerprint)
    held: tuple[Any, PairSet] | None = st.session_state.get("built")
    if held is None or held[0] != key:
        with st.spinner("Making the pairs", show_time=True):
            whole = pair_sets.pair_set(st.session_state, model)
            held = (key, pair_sets.fitting(whole, swept, model))
        st.session_state["built"] = held
    return held[1], swept


def _roles(found: PairSet, more: DeltaGenerator) -> None:
    """Positions, or named places of each pair's own prompt: these where the lengths differ."""
    now, offered = st.session_state, found.roles
    now["set_roles"] = [one for one in now["set_roles"] if one in offered]
    unequal = len(set(found.lengths)) > 1
    if unequal and not now["set_roles"]:
        now["set_roles"] = list(offered)
    more.multiselect(
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
        st.caption("The prompts have different lengths, so they are compared by roles.")


def _finished(swept: Patch, result: Result, bar: topbar.Bar, conclusion: DeltaGenerator) -> None:
    """The workbench of the mean over the pairs, and what it shows."""
    over = statistics_on(result)
    assert over is not None, "they were just computed"
    for notice in result.warnings:
        if notice["code"] in OVER_PAIRS:
            st.warning(escape(notice["message"]))
    st.fragment(_draw)(swept, result, over)
    _odd(swept, over)
    try:
        found = insights(result)
        conclusion.html(explanation.conclusion_html(found, in_short(result, over)))
        explanation.steps(found, swept)
    except PatchwrightError as error:
        st.caption(error_markdown(error))
    export.shown(bar, result, sharable=st.session_state["set_source"] not in ("file", "run"))


def in_short(result: Result, over: Statistics) -> str:
    """What the set shows, in a sentence; nothing where there is nothing to conclude."""
    top = over.strongest(1)
    if over.array != "effect" or not has_scale(result) or top.empty or "place" not in top:
        return ""
    row = top.iloc[0]
    done = "brings back" if result.experiment["direction"] == "denoise" else "takes away"
    differing, tested = int(over.differs().sum()), int(over.p_value.notnull().sum())
    named = title_of(str(row["place"]), result)
    odd = len({one.pair for one in over.odd_pairs})
    outliers = f"; {odd} {'pairs are outliers' if odd > 1 else 'pair is an outlier'}" if odd else ""
    return (
        f"In short: over {len(result.clean.pairs)} pairs, {named[:1].lower()}{named[1:]} {done} "
        f"{percent(row['mean_effect'])} of the gap on average{_bounds(row, over, ' (', ')')}; "
        f"{differing} of {tested} places differ from zero{outliers}."
    )


def title_of(place: str, result: Result) -> str:
    """A place of a set in words; its position may be a role of each pair."""
    base, _, role = place.rpartition("@") if names_role(place) else (place, "", "")
    parsed = parse_place(base)
    named = inspector.title(replace(parsed, position=None), result)
    where = role if parsed.position is None else tokens_of(result)[parsed.position]
    return f"{named}, at {where}" if where else named


def _bounds(row: Any, over: Statistics, before: str = "", behind: str = "") -> str:
    """A cell's interval, in the unit of the effect; nothing where it has no bounds."""
    if not math.isfinite(row["low"]):
        return ""
    return f"{before}{percent(over.level)} interval {percent(row['low'])} to {percent(row['high'])}{behind}"


def _draw(swept: Patch, result: Result, over: Statistics) -> None:
    """The mean map, and beside it what the pairs do at the selected place (at first the strongest)."""
    if "go_to" in st.session_state:
        st.rerun()
    maps = maps_of(swept, result, over)
    chosen = explore.on_maps(st.session_state["chosen"], maps)
    said = inspected(chosen, swept, result, over)
    said["facts"] += explore.pinned(
        maps, chosen, lambda one: controls.at_place(result.averaged(), one)[1]
    )
    acts = {"pair": lambda number: _open(swept, result, int(number) - 1)}
    explore.drawn("many", maps, explore.Bench(said, None, acts=acts), ["set"])


def maps_of(swept: Patch, result: Result, over: Statistics) -> explore.Maps:
    """The mean of each place, with its interval where it is one of effects."""
    grid = grid_of(result)
    n, question = len(result.clean.pairs), patch.question_of(swept).removesuffix("?")
    if grid.column_title == "position":
        tokens = tokens_of(result)
        grid = replace(grid, columns=[tokens[int(one)] for one in grid.columns])
    legend = f"{grid.unit}, mean of {n} pairs; ○ not distinguishable from zero"
    if grid.centred:
        legend = "mean share of the gap; line: its 95 % interval; ○ not distinguishable from zero"
    return explore.Maps(
        [grid],
        result,
        explore.strongest(grid, result),
        [f"{question}, on average over {n} pairs?"],
        legend=legend,
        bounds=[bounds_of(grid, over)] if grid.centred else (),
    )


def tokens_of(result: Result) -> list[str]:
    """Each position with the token that all prompts have there; `…` where their tokens differ."""
    prompts = [tokens for run in ("clean", "corrupt") for tokens in result.tokens[run]]
    there = [set(map(str, column)) for column in zip(*prompts, strict=True)]
    return [f"{visible(min(some)) if len(some) == 1 else '…'} {i}" for i, some in enumerate(there)]


def bounds_of(grid: Grid, over: Statistics) -> list[list[tuple[float, float] | None]]:
    """The interval of each cell of a map, [row][column]; None where it has none."""
    rows = over.to_frame()
    known = {
        place: (low, high)
        for place, low, high in zip(rows["place"], rows["low"], rows["high"], strict=True)
        if math.isfinite(low) and math.isfinite(high)
    }
    return [[known.get(place) for place in row] for row in grid.places]


def inspected(chosen: str, swept: Patch, result: Result, over: Statistics) -> inspector.Json:
    """A place for the inspector: its mean, interval and test, every pair's value, and outliers."""
    said: inspector.Json = {"place": chosen, "title": title_of(chosen, result), "facts": []}
    rows = over.to_frame()
    rows = rows[rows["place"] == chosen] if "place" in rows else rows[:0]
    if rows.empty:
        few = "Fewer than two pairs have this cell, so nothing says how sure it is."
        return {**said, "sentence": few}
    row = rows.iloc[0]
    a, b, after = result.clean, result.corrupt, controls.at_place(result.averaged(), chosen)[0]
    unit = METRIC_TABLE[check_metric(swept.metric)].label
    said["facts"] = [
        (f"mean {unit}", f"A {a.metric:.3g}, B {b.metric:.3g}; with the copy {after:.3g}"),
        ("pairs", f"{int(row['pairs'])}, of which {int(row['same_sign'])} have the mean's sign"),
        ("corrected p", f"{row['q_value']:.2g}, at a false discovery rate of {percent(RATE)}"),
    ]
    if over.array == "effect" and not has_scale(result):
        return {**said, "sentence": without_scale(chosen, result)}
    odd = {one.pair: one.why for one in reversed(over.odd_pairs)}
    source, target = ("A", "B") if swept.direction == "denoise" else ("B", "A")
    base, other = (b, a) if target == "B" else (a, b)
    return {
        **said,
        "sentence": cell_sentence(row, over),
        "ruler": inspector.ruler(source, target, base.metric, other.metric, after),
        "strip": strip(chosen, swept, result, row, odd),
        "outliers": [
            (number + 1, _shortened(swept, number), odd[number]) for number in list(odd)[:BESIDE]
        ],
    }


def strip(
    chosen: str, swept: Patch, result: Result, row: Any, odd: Collection[int]
) -> inspector.Json:
    """Every pair's own value at a place, with the mean and its interval; pairs count from 1."""
    table = result.table()
    values = table[table["place"] == chosen].set_index("pair")[result.main].dropna()
    return {
        "mean": float(row["mean_effect"]),
        "interval": None if math.isnan(row["low"]) else (float(row["low"]), float(row["high"])),
        "dots": [
            (i, float(values[i]), i - 1 in odd, _shortened(swept, i - 1))
            for i in range(1, len(swept.pair_list) + 1)
            if i in values.index
        ],
    }


def _shortened(swept: Patch, number: int) -> str:
    """A pair's first prompt, as far as it names the pair."""
    text = prompt_text(swept.pair_list[number].clean)
    return text if len(text) <= MOST_WORDS else f"{text[: MOST_WORDS - 1]}…"


def _open(swept: Patch, result: Result, number: int) -> None:
    """Look at one pair of the set in Explore, at the same map and place."""
    one = swept.model_copy(update={"pairs": (swept.pair_list[number],)})
    found = restore_state.nearest(one, result)
    if found is None:
        st.session_state["complaint"] = (
            f"Pair {number + 1} is of token ids or of a longer chat, which no text field holds."
        )
        return
    page, given = found
    kept = {"chosen": st.session_state["chosen"]}
    session_state.take(st.session_state, restore_state.CLEARED | given | kept)
    st.session_state["go_to"] = page


def without_scale(chosen: str, result: Result) -> str:
    """What a cell does in the metric's own unit, where shares of the gap say nothing."""
    after, _ = controls.at_place(result.averaged(), chosen)
    return (
        f"Mean {result.experiment['metric']} {after:.3g} after the patch, {result.base.metric:.3g} "
        "before it. The mean gap is too small for shares of it."
    )


def cell_sentence(row: Any, over: Statistics) -> str:
    """What a cell's numbers say."""
    sure = "differs from zero" if row["q_value"] <= RATE else "does not differ from zero"
    bounds = _bounds(row, over, " (", ")") or (
        " (no interval: the gap itself is not distinguishable from zero)"
    )
    return f"On average the copy moves {percent(row['mean_effect'])} of the gap{bounds}. It {sure}."


def _odd(swept: Patch, over: Statistics) -> None:
    """The pairs that stand out, with their prompts and why."""
    if not over.odd_pairs:
        st.caption("No pair stands out, in its gap or in how its effects lie over the places.")
        return
    with st.expander(f"Outliers: pairs unlike the rest ({len(over.odd_pairs)})"):
        for one in over.odd_pairs[:MOST_ODD]:
            both = swept.pair_list[one.pair]
            st.markdown(f"**Pair {one.pair + 1}**: {escape(one.why)}")
            st.caption(f"{typed(prompt_text(both.clean))}  \n{typed(prompt_text(both.corrupt))}")
        if (more := len(over.odd_pairs) - MOST_ODD) > 0:
            st.caption(f"And {more} more: the exported JSON has them all.")
