"""Ablation: what is lost of the answer when a place says nothing."""

from typing import get_args

import streamlit as st

from patchwright.app import build_experiment, page_fields
from patchwright.app.page_controls import CONTROLS
from patchwright.app.text import escape
from patchwright.app.views import (
    controls,
    explore,
    export,
    fields,
    inspector,
    place_detail,
    topbar,
)
from patchwright.axes import METRICS
from patchwright.insights.cautions import SELF_REPAIR
from patchwright.methods.ablate import Ablate, Ablation
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITES
from patchwright.prompts.messages import prompt_text

ABLATION_NAMES: dict[Ablation, str] = {
    "zero": "zero",
    "mean": "mean over prompts",
    "resample": "resample: one prompt",
}
OVER_NAMES = {"position": "each position by itself", "all": "all positions together"}


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    explore.show_tab("ablation", _show_content)


def _show_content(swept: Patch | None, bar: topbar.Bar) -> None:
    model = bar.model
    _show_controls(model)
    if swept is None:
        return
    result = explore.show_sweep(tab_of(swept, model), model)
    if result is not None:
        controls.show_warnings(result)
        st.caption(f"Caution: {escape(SELF_REPAIR)}")
        export.show(bar, result)


def tab_of(swept: Patch, model: Model) -> explore.Tab:
    """What the workbench asks and says of places that say nothing."""
    now = st.session_state
    experiment = build_experiment.ablate_of(now, swept)
    return explore.Tab(
        page="ablation",
        experiment=experiment,
        swept=swept,
        together=lambda places: build_experiment.ablate_together_of(experiment, places),
        target="A",
        change=f"{replacement_text(experiment)} in A",
        altered="A without it",
        facts=lambda one: [
            *inspector.attention_facts(one, swept, model),
            *inspector.copy_facts(one, swept, model),
            *inspector.direct_facts(one, swept, model),
        ],
        legend="share of the way from A to B that is lost; 0 is no change",
        closer=lambda chosen: place_detail.show_details(chosen, swept, model),
        question=experiment.question,
        zooms=("ablated_site", "ablated_per"),
    )


def _show_controls(model: Model) -> None:
    """What is replaced, by what, and how the answer is measured."""
    columns = st.container(key="controls").columns([4, 3, 3, 3])
    controls.show_site_and_per(
        columns[:2],
        SITES,
        "ablated_site",
        "ablated_per",
        "chosen",
        model,
        "What is ablated",
        **fields.UNLABELLED,
    )
    fields.choice(
        columns[2],
        "Replace it by",
        get_args(Ablation),
        "ablation",
        ABLATION_NAMES,
        help="Zero depends on the parametrisation: here the checkpoint's own. A mean keeps what all "
        "prompts share, and takes away what is special about this one. Resample writes what one "
        "other prompt has there, which the model finds the most natural.",
        **fields.UNLABELLED,
    )
    fields.choice(
        columns[3],
        "Metric",
        METRICS,
        "metric",
        controls.METRIC_NAMES,
        help=controls.METRIC_HELP,
        **fields.UNLABELLED,
    )
    if st.session_state["ablation"] != "zero":
        _show_references()


def _show_references() -> None:
    """The prompts that the activations come from."""
    left, right = st.columns([3, 1])
    fields.text_area(
        left,
        "Reference prompts, one a line",
        "references",
        height=96,
        placeholder="When Tom and Eva went to the park, Tom gave a ball to",
        help="Position by position they need as many tokens as the clean prompt.",
    )
    if st.session_state["ablation"] == "mean":
        fields.choice(right, "Mean over", page_fields.OVERS, "over", OVER_NAMES)
    else:
        low, high = CONTROLS["draw_seed"].bounds
        fields.number_input(
            right,
            "Seed",
            int(low),
            int(high),
            "draw_seed",
            help="Draws one of the prompts: the same seed draws the same one.",
        )
    fields.check({"references": "Reference prompts"})
    if not st.session_state["references"].strip():
        st.caption(f"No reference prompts are typed. {_default_text(st.session_state['ablation'])}")


def _default_text(ablation: str) -> str:
    if ablation == "mean":
        return "The mean is then taken over the clean and the corrupted prompt."
    return "Activations then come from the corrupted prompt."


def replacement_text(experiment: Ablate) -> str:
    """What is written into a place."""
    prompts = experiment.prompts
    if experiment.ablation == "zero":
        return "Set to zero"
    if experiment.ablation == "resample":
        if len(prompts) == 1:
            return f"Taken from “{_short(prompt_text(prompts[0]))}”"
        return f"Taken from one of {len(prompts)} reference prompts (seed {experiment.seed})"
    over = "at each position" if experiment.by_position else "over all their positions"
    many = "1 reference prompt" if len(prompts) == 1 else f"{len(prompts)} reference prompts"
    return f"Set to its mean over {many}, {over},"


def _short(prompt: str) -> str:
    return prompt if len(prompt) <= 60 else f"{prompt[:59]}…"
