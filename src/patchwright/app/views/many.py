"""Sets: many pairs, the mean map with its intervals, and the pairs behind each place."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.metrics import METRIC_TABLE, check_metric
from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale
from patchwright.algorithms.statistics import FALSE_DISCOVERY_RATE, Statistics, stored_statistics
from patchwright.app import build_experiment, pair_sets, restore_state, session_state
from patchwright.app.page_controls import has_role
from patchwright.app.results import statistics_of
from patchwright.app.text import error_markdown, escape, escape_typed
from patchwright.app.views import (
    controls,
    explanation,
    export,
    fields,
    inspector,
    pair,
    pair_set_form,
    patch,
    progress,
    tabs,
    topbar,
    workbench,
)
from patchwright.errors import PatchwrightError
from patchwright.figures.grid import grid_of, shared_position_texts
from patchwright.insights import Insights, insights
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import Place, parse_place
from patchwright.prompts.messages import prompt_text
from patchwright.prompts.pairs_file import PairSet
from patchwright.spelling import percent
from patchwright.warnings import is_stopped

SET_WARNINGS = ("stopped", "estimate", "duplicate_pairs", "nothing_moved")
"""Warnings that are about the whole set, not about one of its pairs."""

MOST_OUTLIERS = 10
"""Pairs that stand out, told one by one."""

OUTLIERS_BESIDE = 2
"""Of them, those that stand beside the map."""

MOST_WORDS = 70
"""Characters of a prompt that names its pair."""


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    bar = topbar.show(with_examples=False)
    if bar is None:
        return
    model = bar.model
    tabs.show_heading("Sets")
    try:
        pair_set_form.show_source(model)
        understood = st.container()
        room, right = st.columns([12, 1])
        with room:
            patch.show_controls(model, "set_site", "set_per")
        more = right.popover("⚙", help="First token, roles", width="stretch")
        with more:
            pair.show_bos_option(model)
        found, swept = _set_and_sweep(model)
        with understood:
            pair_set_form.show_set(found)
        if swept.per in ("position", "head_position"):
            _show_roles(found, more)
        swept = build_experiment.patch_of_set(st.session_state, model.name, tuple(found.pairs))
        conclusion = st.container(key="conclusion").empty()
        results = progress.draw_sweeps({"set": swept}, partial(_draw, swept=swept), model)
        if results is not None:
            _show_findings(swept, statistics_of(results[0]), bar, conclusion, found)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _set_and_sweep(model: Model) -> tuple[PairSet, Patch]:
    """The pairs that this model can take, and the sweep over them; built once for its controls."""
    swept = build_experiment.patch_of_set({**st.session_state, "set_roles": []}, model.name, ())
    key = (pair_sets.set_key(st.session_state), swept.metric, model.fingerprint)
    held: tuple[Any, PairSet] | None = st.session_state.get("built")
    if held is None or held[0] != key:
        with st.spinner("Making the pairs", show_time=True):
            whole = pair_sets.pair_set(st.session_state, model)
            held = (key, pair_sets.usable_pairs(whole, swept, model))
        st.session_state["built"] = held
    return held[1], swept


def _show_roles(found: PairSet, more: DeltaGenerator) -> None:
    """Positions, or named places of each pair's own prompt: these where the lengths differ."""
    now, offered = st.session_state, found.roles
    now["set_roles"] = [one for one in now["set_roles"] if one in offered]
    unequal = len(set(found.lengths)) > 1
    if unequal and not now["set_roles"]:
        now["set_roles"] = list(offered)
    more.multiselect(
        "Compare by roles",
        offered,
        placeholder="every position",
        format_func=escape,
        **fields.persistent_key("set_roles"),
        help="Named places of each prompt, such as a template's slots; `last` is the last token. "
        "Without roles, position is compared with position.",
    )
    if unequal:
        st.caption("The prompts have different lengths, so they are compared by roles.")


def _show_findings(
    swept: Patch, result: Result, bar: topbar.Bar, conclusion: DeltaGenerator, found: PairSet
) -> None:
    """What the mean over the pairs shows, and how to take it away."""
    over = stored_statistics(result)
    assert over is not None, "they were just computed"
    for notice in result.warnings:
        if notice["code"] in SET_WARNINGS:
            st.warning(escape(notice["message"]))
    _show_outliers(swept, over)
    shown = Insights((), ())
    try:
        shown = insights(result)
        explanation.show_steps(shown, swept)
    except PatchwrightError as error:
        st.caption(error_markdown(error))
    conclusion.html(explanation.conclusion_html(shown, conclusion_text(result, over)))
    sharable = st.session_state["set_source"] not in ("file", "run")
    export.show(bar, result, sharable=sharable, notes=[one.notes for one in found.items])


def conclusion_text(result: Result, over: Statistics) -> str:
    """What the set shows, in a sentence; nothing where there is nothing to conclude, or not yet."""
    top = over.strongest(1)
    if over.array != "effect" or not has_scale(result) or top.empty or "place" not in top:
        return ""
    if is_stopped(result.warnings):
        return ""
    row = top.iloc[0]
    done = "brings back" if result.experiment["direction"] == "denoise" else "takes away"
    differing, tested = int(over.differs().sum()), int(over.p_value.notnull().sum())
    named = set_place_title(str(row["place"]), result)
    odd = len(over.outliers)
    outliers = f"; {odd} {'pairs are outliers' if odd > 1 else 'pair is an outlier'}" if odd else ""
    return (
        f"In short: over {int(row['pairs'])} pairs, {named[:1].lower()}{named[1:]} {done} "
        f"{percent(row['mean_effect'])} of the gap on average{_interval_text(row, over)}; "
        f"{differing} of {tested} places differ from zero{outliers}."
    )


def parse_set_place(place: str) -> tuple[Place, str]:
    """A place of a set, and the role of each pair that it stands at, if it does."""
    base, _, role = place.rpartition("@") if has_role(place) else (place, "", "")
    return parse_place(base), role


def set_place_title(place: str, result: Result) -> str:
    """A place of a set in words."""
    one, role = parse_set_place(place)
    named = inspector.place_title(replace(one, position=None), result)
    if one.position is not None:
        role = (shared_position_texts(result) or {})[one.position] or f"position {one.position}"
    return f"{named}, at {role}" if role else named


def _interval_text(row: Any, over: Statistics, none: str = "") -> str:
    """A cell's interval in brackets; `none` where it has no bounds."""
    if not math.isfinite(row["low"]):
        return none
    return f" ({percent(over.level)} interval {percent(row['low'])} to {percent(row['high'])})"


def _draw(results: Sequence[Result], under_way: inspector.Json | None, swept: Patch) -> None:
    """The mean map, and beside it what the pairs do at the selected place (at first the strongest)."""
    if "go_to" in st.session_state:
        st.rerun()
    result = results[0] if under_way else statistics_of(results[0])
    maps = maps_of(swept, result, under_way)
    chosen = workbench.place_on_maps(st.session_state["chosen"], maps)
    said = inspector_data(chosen, swept, result)
    said["facts"] += workbench.pin_facts(
        maps, chosen, lambda one: controls.metric_and_effect(result.averaged(), one)[1]
    )
    acts = {"pair": lambda number: _open_pair(swept, result, int(number) - 1)}
    workbench.show("many", maps, workbench.Bench(said, None, acts=acts), ["set"])


def maps_of(
    swept: Patch, result: Result, under_way: inspector.Json | None = None
) -> workbench.Maps:
    """The mean of each place, with its interval where it is one of effects and all is done."""
    grid = grid_of(result)
    legend = "mean share of the gap" if grid.centred else f"mean {grid.unit}"
    legend += "; line: 95 % interval" if grid.bounds is not None else ""
    legend += "; ○ may be 0" if grid.unsure is not None else ""
    return workbench.Maps(
        [grid],
        result,
        workbench.strongest_place(grid, result),
        [swept.question],
        under_way,
        legend,
    )


def inspector_data(chosen: str, swept: Patch, result: Result) -> inspector.Json:
    """A place for the inspector: its mean, interval and test, every pair's value, and outliers."""
    a, b = result.clean, result.corrupt
    after, effect = controls.metric_and_effect(result.averaged(), chosen)
    source, target = ("A", "B") if swept.direction == "denoise" else ("B", "A")
    base, other = (b, a) if target == "B" else (a, b)
    unit = METRIC_TABLE[check_metric(swept.metric)].label
    copied = f"; with the copy {after:.3g}" if math.isfinite(after) else ""
    said: inspector.Json = {
        "place": chosen,
        "title": set_place_title(chosen, result),
        "ruler": inspector.ruler_data(source, target, base.metric, other.metric, after),
        "facts": [(f"mean {unit}", f"A {a.metric:.3g}, B {b.metric:.3g}{copied}")],
    }
    if not has_scale(result):
        return {**said, "sentence": unscaled_sentence(chosen, result)}
    over = stored_statistics(result)
    if over is None:
        so_far = (
            f"{percent(effect)} of the gap so far" if math.isfinite(effect) else "Not computed yet"
        )
        return {**said, "sentence": f"{so_far}; the interval comes when all pairs are done."}
    rows = over.to_frame()
    rows = rows[rows["place"] == chosen]
    if rows.empty:
        few = "Fewer than two pairs have this cell, so nothing says how sure it is."
        return {**said, "sentence": few}
    row, odd = rows.iloc[0], over.outliers
    said["facts"] += [
        ("pairs", f"{int(row['pairs'])}, of which {int(row['same_sign'])} have the mean's sign"),
        (
            "corrected p",
            f"{row['q_value']:.2g}, at a false discovery rate of {percent(FALSE_DISCOVERY_RATE)}",
        ),
    ]
    return {
        **said,
        "sentence": cell_sentence(row, over),
        "strip": strip_data(chosen, swept, result, row, odd),
        "outliers": [
            (i + 1, prompt_text(swept.pair_list[i].clean)[:MOST_WORDS], odd[i])
            for i in list(odd)[:OUTLIERS_BESIDE]
        ],
    }


def strip_data(
    chosen: str, swept: Patch, result: Result, row: Any, odd: Collection[int]
) -> inspector.Json:
    """Every pair's own value at a place, with the mean and its interval; pairs count from 1."""
    place, role = parse_set_place(chosen)
    array, at = result.arrays[result.main], {**asdict(place), "role": role or None}
    cell = array.sel({dim: at[str(dim)] for dim in array.dims if at.get(str(dim)) is not None})
    values = cell.transpose("pair", ...).values.reshape(array.sizes["pair"], -1)[:, 0].tolist()
    return {
        "mean": float(row["mean_effect"]),
        "interval": None if math.isnan(row["low"]) else (float(row["low"]), float(row["high"])),
        "dots": [
            (i + 1, value, i in odd, prompt_text(swept.pair_list[i].clean)[:MOST_WORDS])
            for i, value in enumerate(values)
            if math.isfinite(value)
        ],
    }


def _open_pair(swept: Patch, result: Result, number: int) -> None:
    """Look at one pair of the set in Explore, at the same map and place."""
    one = swept.model_copy(update={"pairs": (swept.pair_list[number],)})
    found = restore_state.nearest_page(one, result)
    if found is None:
        said = f"Pair {number + 1} is of token ids or of a longer chat, which no text field holds."
        st.session_state.update(complaint=said, go_to="many")
        return
    page, given = found
    kept = {"chosen": st.session_state["chosen"]}
    session_state.set_controls(st.session_state, restore_state.CLEARED | given | kept)
    st.session_state["go_to"] = page


def unscaled_sentence(chosen: str, result: Result) -> str:
    """What a cell does in the metric's own unit, where shares of the gap say nothing."""
    after, _ = controls.metric_and_effect(result.averaged(), chosen)
    return (
        f"Mean {result.experiment['metric']} {after:.3g} after the patch, {result.base.metric:.3g} "
        "before it. The mean gap is too small for shares of it."
    )


def cell_sentence(row: Any, over: Statistics) -> str:
    """What a cell's numbers say."""
    sure = (
        "differs from zero"
        if row["q_value"] <= FALSE_DISCOVERY_RATE
        else "does not differ from zero"
    )
    none = " (no interval: the gap itself is not distinguishable from zero)"
    moved = f"{percent(row['mean_effect'])} of the gap{_interval_text(row, over, none)}"
    return f"On average the copy moves {moved}. It {sure}."


def _show_outliers(swept: Patch, over: Statistics) -> None:
    """The pairs that stand out, with their prompts and why."""
    odd = over.outliers
    if not odd:
        st.caption("No pair stands out, in its gap or in how its effects lie over the places.")
        return
    with st.expander(f"Outliers: pairs unlike the rest ({len(odd)})"):
        for i in list(odd)[:MOST_OUTLIERS]:
            both = swept.pair_list[i]
            st.markdown(f"**Pair {i + 1}**: {escape(odd[i])}")
            st.caption(
                f"{escape_typed(prompt_text(both.clean))}  \n{escape_typed(prompt_text(both.corrupt))}"
            )
        if (more := len(odd) - MOST_OUTLIERS) > 0:
            st.caption(f"And {more} more: the exported JSON has them all.")
