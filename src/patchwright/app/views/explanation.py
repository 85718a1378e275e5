"""What this shows: numbered sentences with their numbers, each leading to its cell."""

from typing import Any

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import build_experiment, session_state
from patchwright.app.results import result_of
from patchwright.app.session_jobs import estimated_seconds
from patchwright.app.terms import with_definitions
from patchwright.app.text import error_markdown, sentence_html, sentence_markdown
from patchwright.app.views import llm_explanation
from patchwright.errors import PatchwrightError
from patchwright.insights import Insights, Sentence, heads_to_look_at, insights
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import parse_place

QUICK = 4.0
"""Seconds that two more sweeps may take without being asked for."""


def find_insights(experiment: Patch, result: Result, model: Model) -> Insights:
    """What a sweep shows, with what the stream and the heads add where that is quick or wanted."""
    more: dict[str, Any] = {}
    wanted = [build_experiment.sweep_of_site(experiment, site) for site in ("resid_pre", "z")]
    wanted = [one for one in wanted if not _has_same_cells(one, experiment)]
    n = len(result.tokens["clean"])
    seconds = sum(estimated_seconds(one, n, model) for one in wanted)
    if seconds > QUICK and not st.session_state.get("said_more"):
        st.button(
            "Sweep the residual stream and the heads too",
            on_click=_request_more,
            help="The sentences about where the difference travels and which heads carry it rest "
            "on these two sweeps, which take a while on this model.",
        )
    else:
        try:
            with st.spinner("Looking at the residual stream and the heads", show_time=True):
                more = _extra_results(experiment, result, model)
        except PatchwrightError as error:
            st.caption(error_markdown(error))
    return insights(result, **more)


def conclusion_html(shown: Insights, instead: str = "") -> str:
    """One sentence for above the map, and how many cautions there are; text, never markup."""
    one = shown.conclusion
    n = len(shown.cautions)
    cautions = f"{n} caution{'' if n == 1 else 's'}" if n else ""
    text = sentence_html(instead if one is None else one.text)
    return (
        '<div data-testid="conclusion">'
        f"<strong>{with_definitions(text)}</strong><span>{cautions}</span></div>"
    )


def show_steps(shown: Insights, experiment: Patch) -> None:
    """Steps from the prompts to a conclusion, then cautions."""
    with st.expander("What this shows, step by step"):
        _show_sentences(shown.steps)
        if not experiment.many:
            llm_explanation.show((*shown.steps, *shown.cautions), experiment)
    if shown.cautions:
        with st.expander(f"Cautions: when not to believe it ({len(shown.cautions)})"):
            _show_sentences(shown.cautions, len(shown.steps) + 1)


def _request_more() -> None:
    st.session_state["said_more"] = True


def _has_same_cells(one: Patch, other: Patch) -> bool:
    """Whether two sweeps of one pair have the same cells, in whatever order they are computed."""
    return (one.site, one.per, one.layers) == (other.site, other.per, other.layers)


def _extra_results(experiment: Patch, result: Result, model: Model) -> dict[str, Any]:
    """The sweeps of the residual stream and the heads, and where the strongest heads look.

    The sweep that the page shows is not done again, and so not told of twice.
    """
    by_head = build_experiment.sweep_of_site(experiment, "z")
    stream, heads = (
        result if _has_same_cells(one, experiment) else result_of(one, model)
        for one in (build_experiment.sweep_of_site(experiment, "resid_pre"), by_head)
    )
    found = {name: parse_place(name) for name in heads_to_look_at(heads)}
    if not found:
        return {"stream": stream, "heads": heads}
    at = [(one.layer or 0, one.head or 0) for one in found.values()]
    patterns = {
        name: result_of(build_experiment.attention_of(experiment, *one), model)
        for name, one in zip(found, at, strict=True)
    }
    chosen = {"layers": tuple(layer for layer, _ in at), "heads": tuple(head for _, head in at)}
    acting = result_of(by_head.model_copy(update={"per": "head_position", **chosen}), model)
    return {"stream": stream, "heads": heads, "patterns": patterns, "acting": acting}


def _show_sentences(sentences: tuple[Sentence, ...], first: int = 1) -> None:
    for number, one in enumerate(sentences, first):
        text, link = st.columns([6, 1], vertical_alignment="center")
        text.markdown(f"{number}. {sentence_markdown(one.text)}")
        if one.place is not None:
            link.button(
                one.place,
                key=f"said-{one.code}-{number}",
                type="tertiary",
                help="Look at this place.",
                on_click=session_state.choose_place,
                args=(st.session_state, one.place),
            )
