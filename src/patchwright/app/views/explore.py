"""The workbench of Explore: a sweep as a map, its selected place, and the set, whatever the method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import shares
from patchwright.app import address_bar, build_experiment, session_state
from patchwright.app.resources import job_queue
from patchwright.app.results import result_of
from patchwright.app.session_jobs import jobs_of, result_so_far, stop
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

LIKE = (
    "Fifty like this",
    "Asks the same of up to fifty pairs like this one: does it hold on average?",
)
"""The button that makes the pair a set, and its tip."""

SHARED = 240
"""Pixels that the rows of several maps share."""

MOST_BESIDE = 48
"""Columns up to which several maps fit beside one another."""

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
    question: str = ""
    """What the map answers, which stands above it."""
    zooms: tuple[str, str] | None = None
    """The controls of the site and of what a cell is, where a person can go from tokens to heads."""

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
    legend: str = ""
    """What the colour bar's numbers are; the unit where nothing is said."""
    shared_bar: bool = False
    """Whether the maps are of one kind, and stand side by side under one colour bar if they can."""
    spreads: Sequence[list[list[float | None]]] = ()
    """Of each map, where it is known: how far its cells' values spread, [row][column]."""
    nothing: Mapping[str, str] = field(default_factory=dict[str, str])
    """Places without a value, and why."""
    of_place: bool = False
    """Whether all maps are of one place, so that no cell is another one; they stand side by side."""


@dataclass(frozen=True)
class Bench:
    """What stands around the maps: what is said of the selected place, and which places are a set."""

    inspector: Json
    """The place, its title, its sentence, its facts."""
    gathered: Json | None
    """The bar below the maps, if there is one."""
    marked: Sequence[str] = ()
    """The places that are marked as added."""
    acts: Mapping[str, Callable[[Any], None]] = field(default_factory=dict[str, Any])
    """What a person can do on this tab alone, or does otherwise than elsewhere."""


Draw = Callable[[Sequence[Result], Json | None], None]
"""Draws the workbench of results: as far as they are, with their progress, or at the end without."""


def shown(tab: Tab, model: Model) -> Result | None:
    """Draw the workbench of a sweep; its result once it is over. Raises what the work raised."""
    assert tab.experiment is not None, "a sweep is asked for"

    def draw(results: Sequence[Result], under_way: Json | None) -> None:
        (result,) = results
        grid = grid_of(result)
        usual, said = strongest(grid, result), _legend(grid, tab)
        maps = Maps([grid], result, usual, (tab.question,), under_way, said)
        _draw(tab, maps, model)

    results = followed({tab.page: tab.experiment}, draw, model)
    if results is None:
        return None
    for notice in results[0].warnings:
        if notice["code"] in ("stopped", "estimate", "nothing_moved"):
            st.warning(escape(notice["message"]))
    return results[0]


def followed(
    sweeps: Mapping[str, CellByCell], draw: Draw, model: Model, what: str = "cells"
) -> list[Result] | None:
    """Draw sweeps, by slot, as far as they are; their results once all are over.

    Raises what any of them raised.
    """
    jobs = jobs_of(sweeps, model)
    _check(jobs)
    under_way = not all(job.over for job in jobs)
    again = LOOK_AGAIN if under_way else None
    st.fragment(_swept, run_every=again)(sweeps, draw, model, what, under_way)
    if under_way:
        return None
    results = _results(jobs, sweeps, model)
    if any(job.late for job in jobs):
        st.warning(progress.TOO_LONG)
    elif any(map(progress.stopped, results)):
        progress.rest(list(sweeps))
    return results


def still(tab: Tab, maps: Maps, model: Model) -> None:
    """Draw the workbench around maps that take no work of their own."""
    st.fragment(_draw)(tab, maps, model)


def _check(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.error is not None:
            raise job.error


def _swept(
    sweeps: Mapping[str, CellByCell], draw: Draw, model: Model, what: str, under_way: bool
) -> None:
    """The sweeps as far as they are."""
    jobs = jobs_of(sweeps, model, patience=0.0)
    if under_way and (all(job.over for job in jobs) or any(job.error for job in jobs)):
        st.rerun()
    if under_way:
        so_far = [
            job.result or result_so_far(sweep, model, job)
            for sweep, job in zip(sweeps.values(), jobs, strict=True)
        ]
        draw(so_far, _progress(jobs, what))
    else:
        draw(_results(jobs, sweeps, model), None)


def strongest(grid: Grid, result: Result) -> str:
    """The place of the largest effect so far, else the first one."""
    top = result.top(1)["place"]
    return grid.places[0][0] if top.empty else str(top.iloc[0])


def on_maps(chosen: str, maps: Maps) -> str:
    """The place that was chosen if one of the maps has it, else the usual one."""
    if not chosen:
        return maps.usual
    chosen = controls.counted(chosen, maps.result)
    return chosen if _has(maps, chosen) else maps.usual


def _has(maps: Maps, place: str) -> bool:
    return any(place in row for grid in maps.grids for row in grid.places)


def pinned(maps: Maps, chosen: str, effect: Callable[[str], float]) -> list[inspector.Fact]:
    """The effect of the pinned place, if the maps have it, and how far the selected one is from it."""
    one: str = st.session_state["pinned"]
    if one == chosen or not _has(maps, one):
        return []
    return inspector.apart(one, effect(one), effect(chosen))


def _draw(tab: Tab, maps: Maps, model: Model) -> None:
    """The maps, and beside them the selected place."""
    now, result = st.session_state, maps.result
    if now.pop("zoomed", False) or "go_to" in now:
        st.rerun()
    chosen = _selected(maps, model)
    try:
        one = result_of(tab.together([chosen]), model)
    except PatchwrightError as error:
        st.error(error_markdown(error))
        return
    acts: dict[str, Callable[[Any], None]] = {
        "pin": lambda place: pins.put(str(place), tab.sweep),
        "zoom": lambda to: _zoom(tab, str(to)),
    }
    said = _inspected(tab, chosen, one, result, model)
    bench = Bench(said, _set(tab, model), now["places"], acts)
    drawn(tab.page, maps, bench, [tab.page])
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
        "add": "Add to set",
        "inSet": chosen in st.session_state["places"],
        "addHelp": "Collect places to copy several at once.",
        "closer": _closer(tab, parse_place(chosen)),
    }


def drawn(page: str, maps: Maps, bench: Bench, slots: Sequence[str]) -> None:
    """Draw the one workbench of the page; Stop ends the work in `slots`."""
    now, chosen, many = st.session_state, str(bench.inspector["place"]), len(maps.grids)
    texts = maps.grids[0].texts is not None
    data = {
        "state": "rest" if maps.progress is None else "computing",
        "progress": maps.progress,
        "beside": (maps.shared_bar or maps.of_place) and len(maps.grids[0].columns) <= MOST_BESIDE,
        "maps": [
            {
                **data_of(grid, chosen, maps.nothing, numbered=maps.of_place),
                "caption": maps.captions[i],
                "tops": likeliest_of(maps.result) if many == 1 else None,
                "spreads": maps.spreads[i] if maps.spreads else None,
                "legend": maps.legend or grid.unit,
                "scaled": not maps.shared_bar or i == 0,
                "set": bench.marked,
                "pinned": now["pinned"],
                "threshold": 0.0 if texts else now["threshold"] / 100,
                "sliding": not texts,
                "clickable": not maps.of_place,
                "room": ROOM if many == 1 or maps.shared_bar or maps.of_place else SHARED / many,
            }
            for i, grid in enumerate(maps.grids)
        ],
        "inspector": {"isPinned": chosen == now["pinned"], **bench.inspector},
        "set": bench.gathered,
    }
    workbench(data, "workbench", {**ACTS, "stop": lambda _: stop(slots), **bench.acts})
    address_bar.follow(page)


def _closer(tab: Tab, chosen: Place) -> list[tuple[str, str]]:
    """Where a person can go from here: from tokens to heads, from a head to what it looks at, and back."""
    found: list[tuple[str, str]] = []
    if tab.zooms is not None:
        found.append(("heads", "Its heads") if chosen.head is None else ("tokens", "All layers"))
    if chosen.head is not None and tab.page != "attention":
        found.append(("attention", "Where it looks"))
    return found


def _zoom(tab: Tab, to: str) -> None:
    """Go closer to the selected place, or away from it."""
    now = st.session_state
    if to == "attention":
        now["go_to"] = "attention"
        return
    now["zoomed"] = True
    assert tab.zooms is not None, "only such tabs offer it"
    site, per = tab.zooms
    chosen = "" if session_state.names_role(now["chosen"]) else now["chosen"]
    position = parse_place(chosen).position if chosen else None
    now["chosen"] = ""
    if to == "tokens":
        now[site], now[per] = "resid_pre", "position"
    else:
        now[site], now[per] = "z", "head" if position is None else "head_position"


def _progress(jobs: Sequence[Job], what: str) -> Json:
    """How far works are that are shown together: in words of the first that is not over."""
    ahead = job_queue().ahead_of
    far = [progress.how_far(job, ahead(job), what) for job in jobs]
    at = next((i for i, job in enumerate(jobs) if not job.over), len(jobs) - 1)
    which = f"Map {at + 1} of {len(jobs)}: " if len(jobs) > 1 else ""
    return {
        "share": sum(share for share, _ in far) / len(jobs),
        "said": which + far[at][1],
        "stoppable": not all(job.over or job.stopping for job in jobs),
    }


def _results(jobs: Sequence[Job], sweeps: Mapping[str, CellByCell], model: Model) -> list[Result]:
    """What sweeps that are over found. Raises what one raised."""
    found = [
        progress.result_of_job(job, sweep, model)
        for job, sweep in zip(jobs, sweeps.values(), strict=True)
    ]
    return [one for one in found if one is not None]


def _selected(maps: Maps, model: Model) -> str:
    """The place that was chosen, if these prompts have it."""
    chosen: str = st.session_state["chosen"]
    if not chosen or maps.of_place or session_state.names_role(chosen):
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
    return tab.legend if grid.centred else f"{grid.unit} (A and B are too close for shares)"


def _set(tab: Tab, model: Model) -> Json:
    """The places that are changed together, and what that does."""
    places: list[str] = st.session_state["places"]
    hint = "Add places to change several at once: together they can do more, or less, than the sum."
    data: Json = {"places": places, "hint": hint, "said": "", "like": LIKE}
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
    "pin": lambda place: pins.put(str(place)),
    "threshold": _hide_below,
    "like": lambda _: session_state.make_set(st.session_state),
}
"""What follows from what a person does in the workbench."""
