"""The workbench of Explore: a sweep as a map, its selected place, and the set, whatever the method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import shares
from patchwright.app import address_bar, build_experiment, session_state
from patchwright.app.resources import job_queue
from patchwright.app.results import result_of
from patchwright.app.session_jobs import job_of, result_so_far, stop
from patchwright.app.text import error_markdown, error_text, escape
from patchwright.app.views import controls, inspector, pins, place_detail, progress
from patchwright.app.widgets.heat_map import ROOM, data_of
from patchwright.app.widgets.workbench import workbench
from patchwright.errors import PatchwrightError
from patchwright.experiment.base import CellByCell
from patchwright.experiment.patching import Together
from patchwright.figures.altair_charts import top_chart
from patchwright.figures.grid import Grid, grid_of, likeliest_of
from patchwright.jobs import Job
from patchwright.methods.ablate import Ablate
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import Place, parse_place

Json = dict[str, Any]

SHARED = 240
"""Pixels that the rows of several maps share."""

LOOK_AGAIN = 0.4
"""Seconds between two looks at work that is under way."""


@dataclass(frozen=True)
class Tab:
    """What one tab asks of the model and says of a place; all else is the same on every tab."""

    page: str
    experiment: CellByCell | None
    """The sweep that is the map; None where the map takes no work."""
    swept: Patch
    """The same pair, patched: what other methods are asked of."""
    together: Callable[[list[str]], Together]
    """The same change made to these places in one run."""
    target: str
    """The letter of the run that is changed."""
    change: str
    """What happens to a place: `Copied from A into B`."""
    altered: str
    """The changed run's name: `B with the copy`."""
    facts: Callable[[Place], list[inspector.Fact]]
    """What other methods say of a place."""
    legend: str
    closer: Callable[[str], None]
    """Draws more about the selected place."""

    @property
    def sweep(self) -> pins.Swept:
        """The run that the page is about: what a pin is of."""
        return self.experiment if isinstance(self.experiment, Ablate) else self.swept

    @property
    def source(self) -> str:
        """The letter of the other run, which an effect of 1 leads to."""
        return "A" if self.target == "B" else "B"


def reading(
    page: str, experiment: Patch, model: Model, read: Callable[[Place], list[inspector.Fact]]
) -> Tab:
    """A tab whose maps patch nothing: it says what was `read` at a place, and what copying it does."""
    swept = experiment.model_copy(update={"direction": "denoise"})
    return Tab(
        page=page,
        experiment=None,
        swept=swept,
        together=lambda places: build_experiment.together_of(swept, places),
        target="B",
        change="Copied from A into B",
        altered="B with the copy",
        facts=lambda one: [
            *read(one),
            *inspector.attention(one, swept, model),
            *inspector.ablated(one, swept, model),
            *inspector.direct(one, swept, model),
        ],
        legend="",
        closer=lambda chosen: place_detail.closer(chosen, swept, model),
    )


@dataclass(frozen=True)
class Maps:
    """What is drawn: one map, or several of one result on one scale, each under its caption."""

    grids: Sequence[Grid]
    result: Result
    usual: str
    """The place that is looked at until one is chosen."""
    captions: Sequence[str] = ("",)
    progress: Json | None = None


def shown(tab: Tab, model: Model) -> Result | None:
    """Draw the workbench of a sweep; its result once it is over. Raises what the work raised."""
    assert tab.experiment is not None, "a sweep is asked for"
    job = job_of(tab.experiment, model, tab.page)
    under_way = not job.over
    if job.error is not None:
        raise job.error
    again = LOOK_AGAIN if under_way else None
    st.fragment(_swept, run_every=again)(tab, model, under_way)
    if under_way:
        return None
    result = _result(job, tab.experiment, model)
    _incomplete(job, result, tab.page)
    return result


def still(tab: Tab, maps: Maps, model: Model) -> None:
    """Draw the workbench around maps that take no work of their own."""
    st.fragment(_draw)(tab, maps, model)


def _swept(tab: Tab, model: Model, under_way: bool) -> None:
    """The sweep as far as it is."""
    assert tab.experiment is not None, "a sweep is asked for"
    job = job_of(tab.experiment, model, tab.page, patience=0.0)
    if under_way and job.over:
        st.rerun()
    if under_way:
        result, progress = result_so_far(tab.experiment, model, job), _progress(job)
    else:
        result, progress = _result(job, tab.experiment, model), None
    grid = grid_of(result)
    top = result.top(1)["place"]
    usual = grid.places[0][0] if top.empty else str(top.iloc[0])
    _draw(tab, Maps([grid], result, usual, progress=progress), model)


def _draw(tab: Tab, maps: Maps, model: Model) -> None:
    """The maps, and beside them the selected place."""
    now, result = st.session_state, maps.result
    chosen = _selected(maps, model)
    try:
        one = result_of(tab.together([chosen]), model)
    except PatchwrightError as error:
        st.error(error_markdown(error))
        return
    data = {
        "state": "rest" if maps.progress is None else "computing",
        "progress": maps.progress,
        "maps": [
            {
                **data_of(grid, chosen),
                "caption": caption,
                "tops": likeliest_of(result) if len(maps.grids) == 1 else None,
                "legend": _legend(grid, tab),
                "set": now["places"],
                "pinned": now["pinned"],
                "threshold": now["threshold"] / 100 if grid.texts is None else 0.0,
                "sliding": grid.texts is None,
                "clickable": True,
                "room": ROOM if len(maps.grids) == 1 else SHARED / len(maps.grids),
            }
            for grid, caption in zip(maps.grids, maps.captions, strict=True)
        ],
        "inspector": _inspected(tab, chosen, one, result, model),
        "set": _set(tab, model),
    }
    acts = ACTS | {
        "stop": lambda _: stop([tab.page]),
        "pin": lambda place: pins.release() if place == "-" else pins.put(str(place), tab.sweep),
    }
    workbench(data, "workbench", acts)
    address_bar.follow(tab.page)
    if maps.progress is None:
        with st.expander("The ten likeliest next tokens"):
            st.altair_chart(top_chart(inspector.runs_of(tab.source, tab.target, tab.altered, one)))
        tab.closer(chosen)
        _each_of_set(tab, model)


def _inspected(tab: Tab, chosen: str, one: Result, swept: Result, model: Model) -> Json:
    """What stands beside the map about the selected place."""
    facts = [*tab.facts(parse_place(chosen)), *inspector.logits(one)]
    change = inspector.change(tab.source, tab.target, tab.change, tab.altered, one, swept)
    try:
        pin = pins.pin_of(tab.sweep, model)
    except PatchwrightError as error:
        pin = None
        facts.append(("pinned", f"{st.session_state['pinned']}: {error_text(error)}"))
    pinned_here = pin is not None and (pin.place, pin.run) == (chosen, "")
    if pin is not None and not pinned_here:
        facts += inspector.apart(pin.place, pin.effect, float(shares(one)), pin.run)
        change["ruler"] = inspector.with_mark(change["ruler"], pin.effect)
    return {
        "place": chosen,
        "title": inspector.title(parse_place(chosen), swept),
        **change,
        "facts": facts,
        "isPinned": pinned_here,
        "inSet": chosen in st.session_state["places"],
    }


def _progress(job: Job) -> Json:
    done, text = progress.how_far(job, job_queue().ahead_of(job), "cells")
    return {"share": done, "said": text, "stoppable": not job.stopping}


def _result(job: Job, experiment: CellByCell, model: Model) -> Result:
    """What a sweep that is over found. Raises what it raised."""
    result = progress.result_of_job(job, experiment, model)
    assert result is not None, "the cells so far of one pair can always be shown"
    return result


def _incomplete(job: Job, result: Result, slot: str) -> None:
    """Say what is missing of a sweep, and offer the rest."""
    for notice in result.warnings:
        if notice["code"] in ("stopped", "estimate", "nothing_moved"):
            st.warning(escape(notice["message"]))
    if job.late:
        st.warning(progress.TOO_LONG)
    elif progress.stopped(result):
        progress.rest([slot])


def _selected(maps: Maps, model: Model) -> str:
    """The place that was chosen, if these prompts have it."""
    chosen: str = st.session_state["chosen"]
    if not chosen:
        return maps.usual
    n_positions = min(len(maps.result.tokens[run]) for run in ("clean", "corrupt"))
    try:
        parse_place(chosen).within(model.spec, n_positions)
    except PatchwrightError as error:
        st.warning(f"{error_markdown(error)} Shown is the strongest place.")
        return maps.usual
    return controls.counted(chosen, maps.result)


def _legend(grid: Grid, tab: Tab) -> str:
    """What the colour bar's numbers are."""
    if tab.experiment is None:
        return grid.unit
    return tab.legend if grid.centred else f"{grid.unit} (A and B are too close for shares)"


def _set(tab: Tab, model: Model) -> Json:
    """The places that are changed together, and what that does."""
    places: list[str] = st.session_state["places"]
    hint = "Add places to change several at once: together they can do more, or less, than the sum."
    data: Json = {"places": places, "hint": hint, "said": ""}
    if places:
        try:
            joint, single = _together(tab, model)
        except PatchwrightError as error:
            return {**data, "said": error_text(error)}
        summed = sum(float(shares(one)) for one in single.values())
        together = place_detail.share_or_none(float(shares(joint)))
        data["said"] = f"together {together}, their sum {place_detail.share_or_none(summed)}"
    return data


def _together(tab: Tab, model: Model) -> tuple[Result, dict[str, Result]]:
    """The set's places changed in one run, and each alone. Raises InputError for what is no place."""
    written = [str(parse_place(one)) for one in st.session_state["places"]]
    single = {one: result_of(tab.together([one]), model) for one in written}
    return result_of(tab.together(written), model), single


def _each_of_set(tab: Tab, model: Model) -> None:
    """Each place of the set by itself: its metric and its effect."""
    if not st.session_state["places"]:
        return
    with st.expander("Each place of the set by itself"):
        try:
            _, single = _together(tab, model)
        except PatchwrightError as error:
            st.error(error_markdown(error))
            return
        place_detail.table(tab.swept.metric, single)


def _choose(chosen: Any) -> None:
    session_state.choose_place(st.session_state, str(chosen))


def _add(chosen: Any) -> None:
    session_state.add_to_set(st.session_state, str(chosen))


def _drop(chosen: Any) -> None:
    session_state.drop_from_set(st.session_state, str(chosen))


def _hide_below(share: Any) -> None:
    st.session_state["threshold"] = round(100 * float(share))


ACTS: dict[str, Callable[[Any], None]] = {
    "place": _choose,
    "add": _add,
    "drop": _drop,
    "threshold": _hide_below,
}
"""What follows from what a person does in the workbench."""
