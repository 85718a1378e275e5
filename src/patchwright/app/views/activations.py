"""Compare activations: where the two runs differ, and what copying such a place does."""

from functools import partial

import streamlit as st

from patchwright.algorithms.difference import ARRAYS
from patchwright.algorithms.result import Result
from patchwright.app import build_experiment
from patchwright.app.results import result_of
from patchwright.app.views import explore, export, fields, inspector, topbar, workbench
from patchwright.figures.grid import grid_of_array
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITE_TABLE, Place

MEASURES = {
    "relative": "size of the difference, as a share of the clean run's",
    "norm": "size of the difference (Euclidean norm)",
    "clean_norm": "size in the clean run",
    "cosine": "cosine: 1 is the same direction",
}


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    explore.show_tab("activations", _show_content)


def _show_content(experiment: Patch | None, bar: topbar.Bar) -> None:
    model = bar.model
    site, measure = _show_controls(model)
    if experiment is None:
        return
    result = result_of(build_experiment.difference_of(experiment, site), model, keep=True)
    tab = explore.reading_tab("activations", experiment, model, partial(_differences_at, result))
    explore.show_maps(tab, _maps(result, measure), model)
    _show_largest_differences(result)
    export.show(bar, result)


def _show_controls(model: Model) -> tuple[str, str]:
    """Which site is compared, by which measure."""
    columns = st.container(key="controls").columns([4, 5])
    names = {site: SITE_TABLE[site].meaning for site in model.spec.sites}
    site = fields.choice(
        columns[0], "What is compared", model.spec.sites, "seen_site", names, **fields.UNLABELLED
    )
    measure = fields.choice(columns[1], "Measure", ARRAYS, "measure", MEASURES, **fields.UNLABELLED)
    return site, measure


def _maps(result: Result, measure: str) -> workbench.Maps:
    bounds = (-1.0, 1.0) if measure == "cosine" else None
    grid = grid_of_array(
        result, measure, MEASURES[measure], centred=measure == "cosine", bounds=bounds
    )
    return workbench.Maps([grid], result, str(result.top(1)["place"].iloc[0]))


def _differences_at(result: Result, chosen: Place) -> list[inspector.Fact]:
    """How far the runs are apart at a place, in every measure; nothing where it is of another site."""
    table = result.table()
    row = table[table["place"] == str(chosen)]
    if row.empty:
        return []
    return [(words, f"{float(row[name].iloc[0]):.2f}") for name, words in MEASURES.items()]


def _show_largest_differences(result: Result) -> None:
    with st.expander("Largest differences"):
        order = ["place", *(name for name in ARRAYS if name != "clean_norm")]
        st.dataframe(
            result.top(10)[["place", *ARRAYS]],
            hide_index=True,
            column_order=order,
            column_config={name: st.column_config.NumberColumn(format="%.2f") for name in ARRAYS},
        )
