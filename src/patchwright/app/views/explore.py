"""What the tabs of Explore share: a sweep as a map, its selected place, and the set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import usable_effect
from patchwright.app import build_experiment
from patchwright.app.page_controls import has_role
from patchwright.app.results import result_of
from patchwright.app.text import error_markdown, error_text, escape
from patchwright.app.views import (
    controls,
    inspector,
    pair,
    pins,
    place_detail,
    tabs,
    topbar,
    workbench,
)
from patchwright.app.views.inspector import Json
from patchwright.app.views.progress import draw_sweeps
from patchwright.app.views.workbench import Bench, Maps, strongest_place
from patchwright.errors import PatchwrightError
from patchwright.experiment.base import CellByCell
from patchwright.experiment.patching import Together
from patchwright.figures.altair_charts import top_tokens_chart
from patchwright.figures.grid import Grid, grid_of
from patchwright.methods.ablate import Ablate
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import Place, parse_place

SIMILAR_BUTTON = (
    "Fifty like this",
    "Asks the same of up to fifty pairs like this one: does it hold on average?",
)
"""The button that makes the pair a set, and its tip."""


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


def show_tab(page: str, draw: Callable[[Patch | None, topbar.Bar], None]) -> None:
    """A tab about the pair at the top; what is wrong is said in place of what follows.

    `draw` is given no pair where it cannot be run: why is said above the tabs.
    """
    bar = topbar.show()
    if bar is None:
        return
    experiment = pair.show(bar.model)
    tabs.show(page)
    try:
        draw(experiment, bar)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def reading_tab(
    page: str, experiment: Patch, model: Model, read: Callable[[Place], list[inspector.Fact]]
) -> Tab:
    """A tab whose maps patch nothing: it says what was `read` at a place, and what copying it does."""
    swept = experiment.model_copy(update={"direction": "denoise"})
    return Tab(
        page=page,
        experiment=None,
        swept=swept,
        together=lambda places: build_experiment.patch_together_of(swept, places),
        target="B",
        change="Copied from A into B",
        altered="B with the copy",
        facts=lambda one: [
            *read(one),
            *inspector.attention_facts(one, swept, model),
            *inspector.ablation_facts(one, swept, model),
            *inspector.direct_facts(one, swept, model),
        ],
        legend="",
        closer=lambda chosen: place_detail.show_details(chosen, swept, model),
    )


def show_sweep(tab: Tab, model: Model) -> Result | None:
    """Draw the workbench of a sweep; its result once it is over. Raises what the work raised."""
    assert tab.experiment is not None, "a sweep is asked for"

    def draw(results: Sequence[Result], under_way: Json | None) -> None:
        (result,) = results
        grid = grid_of(result)
        usual, said = strongest_place(grid, result), _legend(grid, tab)
        maps = Maps([grid], result, usual, (tab.question,), under_way, said)
        _draw(tab, maps, model)

    results = draw_sweeps({tab.page: tab.experiment}, draw, model)
    if results is None:
        return None
    for notice in results[0].warnings:
        if notice["code"] in ("stopped", "estimate", "nothing_moved"):
            st.warning(escape(notice["message"]))
    return results[0]


def show_maps(tab: Tab, maps: Maps, model: Model) -> None:
    """Draw the workbench around maps that take no work of their own."""
    st.fragment(_draw)(tab, maps, model)


def _draw(tab: Tab, maps: Maps, model: Model) -> None:
    """The maps, and beside them the selected place."""
    now, result = st.session_state, maps.result
    if now.pop("zoomed", False) or "go_to" in now:
        st.rerun()
    chosen = _selected_place(maps, model)
    try:
        one = result_of(tab.together([chosen]), model)
    except PatchwrightError as error:
        st.error(error_markdown(error))
        return
    acts: dict[str, Callable[[Any], None]] = {
        "pin": lambda place: pins.pin_place(str(place), tab.sweep),
        "zoom": lambda to: _zoom(tab, str(to)),
    }
    said = _inspector_data(tab, chosen, one, result, model)
    bench = Bench(said, _set_data(tab, model), now["places"], acts)
    workbench.show(tab.page, maps, bench, [tab.page])
    if maps.progress is None:
        with st.expander("The ten likeliest next tokens"):
            st.altair_chart(
                top_tokens_chart(inspector.runs_of(tab.source, tab.target, tab.altered, one))
            )
        tab.closer(chosen)
        _show_set_places(tab, model)


def _inspector_data(tab: Tab, chosen: str, one: Result, swept: Result, model: Model) -> Json:
    """What stands beside the map about the selected place."""
    facts = [*tab.facts(parse_place(chosen)), *inspector.logit_facts(one)]
    change = inspector.change_data(tab.source, tab.target, tab.change, tab.altered, one, swept)
    try:
        pin = pins.pin_of(tab.sweep, model)
    except PatchwrightError as error:
        pin = None
        facts.append(("pinned", f"{st.session_state['pinned']}: {error_text(error)}"))
    pinned_here = pin is not None and (pin.place, pin.run) == (chosen, "")
    if pin is not None and not pinned_here:
        facts += inspector.pin_facts(pin.place, pin.effect, float(usable_effect(one)), pin.run)
        change["ruler"] = inspector.with_mark(change["ruler"], pin.effect)
    return {
        "place": chosen,
        "title": inspector.place_title(parse_place(chosen), swept),
        **change,
        "facts": facts,
        "isPinned": pinned_here,
        "add": "Add to set",
        "inSet": chosen in st.session_state["places"],
        "addHelp": "Collect places to copy several at once.",
        "closer": _zoom_links(tab, parse_place(chosen)),
    }


def _zoom_links(tab: Tab, chosen: Place) -> list[tuple[str, str]]:
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
    chosen = "" if has_role(now["chosen"]) else now["chosen"]
    position = parse_place(chosen).position if chosen else None
    now["chosen"] = ""
    if to == "tokens":
        now[site], now[per] = "resid_pre", "position"
    else:
        now[site], now[per] = "z", "head" if position is None else "head_position"


def _selected_place(maps: Maps, model: Model) -> str:
    """The place that was chosen, if these prompts have it."""
    chosen: str = st.session_state["chosen"]
    if not chosen or maps.of_place or has_role(chosen):
        return maps.usual
    n_positions = min(len(maps.result.tokens[run]) for run in ("clean", "corrupt"))
    try:
        parse_place(chosen).within(model.spec, n_positions)
    except PatchwrightError as error:
        st.warning(f"{error_markdown(error)} Shown is the strongest place.")
        return maps.usual
    return controls.absolute_place(chosen, maps.result)


def _legend(grid: Grid, tab: Tab) -> str:
    """What the colour bar's numbers are."""
    return tab.legend if grid.centred else f"{grid.unit} (A and B are too close for shares)"


def _set_data(tab: Tab, model: Model) -> Json:
    """The places that are changed together, and what that does."""
    places: list[str] = st.session_state["places"]
    hint = "Add places to change several at once: together they can do more, or less, than the sum."
    data: Json = {"places": places, "hint": hint, "said": "", "like": SIMILAR_BUTTON}
    if places:
        try:
            joint, single = _set_results(tab, model)
        except PatchwrightError as error:
            return {**data, "said": error_text(error)}
        summed = sum(float(usable_effect(one)) for one in single.values())
        together = place_detail.share_text(float(usable_effect(joint)))
        data["said"] = f"together {together}, their sum {place_detail.share_text(summed)}"
    return data


def _set_results(tab: Tab, model: Model) -> tuple[Result, dict[str, Result]]:
    """The set's places changed in one run, and each alone. Raises InputError for what is no place."""
    written = [str(parse_place(one)) for one in st.session_state["places"]]
    single = {one: result_of(tab.together([one]), model) for one in written}
    return result_of(tab.together(written), model), single


def _show_set_places(tab: Tab, model: Model) -> None:
    """Each place of the set by itself: its metric and its effect."""
    if not st.session_state["places"]:
        return
    with st.expander("Each place of the set by itself"):
        try:
            _, single = _set_results(tab, model)
        except PatchwrightError as error:
            st.error(error_markdown(error))
            return
        place_detail.show_table(tab.swept.metric, single)
