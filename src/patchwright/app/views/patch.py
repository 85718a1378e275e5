"""Explore, by patching: the model as a map, the place under the pointer, and what it shows."""

from typing import Any

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import address_bar, asked, state
from patchwright.app.text import complaint, plain
from patchwright.app.views import (
    fields,
    inspector,
    kinds,
    pair,
    place,
    said,
    tabs,
    taken,
    topbar,
    waiting,
)
from patchwright.app.widgets.heat_map import data_of, tops_of
from patchwright.app.widgets.workbench import workbench
from patchwright.app.work import desk, job_of, result_of, start_again, stop
from patchwright.axes import DIRECTIONS, METRICS
from patchwright.errors import PatchwrightError
from patchwright.figures.grid import grid_of, title_of
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITES, parse_place

SLOT = "job"
LOOK_AGAIN = 0.4
"""Seconds between two looks at work that is under way."""


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    model = topbar.shown()
    if model is None:
        return
    experiment = pair.shown(model)
    tabs.shown("patch")
    try:
        _choices(model)
        if experiment is None:
            return
        experiment = pair.checked(model)
        conclusion = st.empty()
        result = _bench(experiment, model)
        if result is not None:
            _about(experiment, result, model, conclusion)
    except PatchwrightError as error:
        st.error(complaint(error))
