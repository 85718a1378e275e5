"""Models and results, shared by all visitors and never changed."""

import streamlit as st

from patchwright.experiment import Patch, PatchTogether, run
from patchwright.methods.batches import OnProgress
from patchwright.methods.result import Result
from patchwright.model.load import Model, load_model

MOST_RESULTS = 128


@st.cache_resource(max_entries=2, show_spinner="Loading the model")
def model_called(name: str) -> Model:
    """The named model; loaded once for everybody."""
    return load_model(name)


@st.cache_resource(max_entries=MOST_RESULTS, show_spinner=False)
def _remembered(key: str) -> dict[str, Result]:
    return {}


def result_of(
    experiment: Patch | PatchTogether, model: Model, progress: OnProgress | None = None
) -> Result:
    """The experiment's result, computed if nobody has asked for it before."""
    slot = _remembered(f"{experiment.hash} {model.fingerprint}")
    if "result" not in slot:
        slot["result"] = run(experiment, model, progress)
    return slot["result"]
