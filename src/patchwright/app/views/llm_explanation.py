"""What this shows, in a language model's words: only where the server names one, and when asked."""

from collections.abc import Sequence

import streamlit as st

from patchwright.app.text import error_markdown, escape
from patchwright.errors import ExplainError
from patchwright.hashing import hash_of
from patchwright.insights import Sentence
from patchwright.insights.llm import (
    Endpoint,
    LlmExplanation,
    endpoint_from_environment,
    write_explanation,
)
from patchwright.methods.patch import Patch
from patchwright.prompts.messages import prompt_text
from patchwright.prompts.pair import Pair


@st.cache_resource(max_entries=256, show_spinner=False)
def explanation_slot(key: str) -> dict[str, LlmExplanation]:
    """What was written of some facts: the operator pays once, whoever asks."""
    return {}


def show(facts: Sequence[Sentence], experiment: Patch) -> None:
    """A button that asks, and below it the answer or why there is none; nothing without endpoint.

    `facts` are numbered as the page numbers them.
    """
    try:
        where = endpoint_from_environment()
        if where is None:
            return
        prompts = _prompts(experiment)
        key = hash_of([where.url, where.model, prompts, [one.text for one in facts]])
        slot = explanation_slot(key)
        asked = st.button(
            "In a language model's words",
            type="tertiary",
            icon=":material/forum:",
            key="worded",
            help=f"Sends these sentences and the two prompts to {escape(where.model)}, which the "
            "server's operator chose. Its answer is checked: each number must stand in a sentence here.",
        )
        if asked:
            said = slot.get("said") or _ask(facts, prompts, where)
            if said.note is None:
                slot["said"] = said
            st.session_state["worded_said"] = key, said
    except ExplainError as error:
        st.caption(error_markdown(error))
        return
    of, said = st.session_state.get("worded_said", ("", None))
    if of == key:
        _show_explanation(said)


def _ask(facts: Sequence[Sentence], prompts: dict[str, str], where: Endpoint) -> LlmExplanation:
    with st.spinner("The language model is writing", show_time=True):
        return write_explanation(facts, prompts, where)


def _prompts(experiment: Patch) -> dict[str, str]:
    assert isinstance(experiment.pairs, Pair), "the page has one pair"
    pair = experiment.pairs
    return {"clean": prompt_text(pair.clean), "corrupted": prompt_text(pair.corrupt)}


def _show_explanation(said: LlmExplanation) -> None:
    """The sentences with the numbers of the facts that they rest on, or the note."""
    if said.note is not None:
        st.warning(escape(said.note.replace(" Below is what the rules say.", "")))
        st.caption("The sentences above, by fixed rules, stand as they are.")
        return
    with st.container(border=True):
        for one in said.sentences:
            numbers = ", ".join(map(str, one.facts))
            st.markdown(
                f"{escape(one.text)} :small[[{numbers}]]".replace("[[", r"[\[").replace(
                    "]]", r"\]]"
                )
            )
        rejected = "No sentence was struck out."
        if said.rejected:
            sentences = (
                "1 sentence was" if said.rejected == 1 else f"{said.rejected} sentences were"
            )
            rejected = f"{sentences} struck out: numbers or places were not in the results."
        st.caption(
            f"Written by a language model; in brackets the sentences above that it rests on. {rejected}"
        )
