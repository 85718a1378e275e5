"""Causal trace: noise on the subject ruins the answer; which clean activations bring it back?"""

from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result
from patchwright.algorithms.suggest import next_tokens
from patchwright.app import build_experiment, session_state
from patchwright.app.page_controls import CONTROLS
from patchwright.app.results import unpatched_runs
from patchwright.app.text import error_markdown, escape, token_markdown
from patchwright.app.views import (
    controls,
    export,
    fields,
    pair,
    progress,
    tabs,
    topbar,
    trace_maps,
    trace_place,
    workbench,
)
from patchwright.axes import METRICS
from patchwright.errors import AnswerError, PatchwrightError, PromptError
from patchwright.figures.matplotlib_figures import drawing_of
from patchwright.methods.trace import SeverSite, Trace
from patchwright.model.load import Model
from patchwright.prompts.tokens import answer_text, token_texts

SLOTS = {f"trace-{site}": site for site in trace_maps.SITES}
SEVER_NAMES = {
    "nothing": "nothing",
    "mlp_out": "the MLPs (mlp_out)",
    "attn_out": "attention (attn_out)",
}


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    bar = topbar.show()
    if bar is None:
        return
    model = bar.model
    says = _show_prompt(model)
    tabs.show("trace")
    if says is None:
        return
    try:
        noise = _show_controls()
        sweeps = _experiments(model)
        runs = unpatched_runs(next(iter(sweeps.values())), model)
        pair.show_answer(says, runs.clean, runs.experiment["metric"])
        noise.markdown(trace_maps.noise_in_words(runs, st.session_state["sever"]))
        results = progress.draw_sweeps(sweeps, partial(_draw, model=model), model, "runs")
        if results is not None:
            _show_findings(results, bar)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _show_prompt(model: Model) -> DeltaGenerator | None:
    """Draw A and its subject; where it is to be said what the model answers, or None where A is wrong."""
    compared = METRIC_TABLE[st.session_state["trace_metric"]].needs_wrong
    answers = tuple(pair.ANSWER_NAMES) if compared else ("answer",)
    try:
        with st.container(key="prompts", gap="xxsmall"):
            says, room = pair.show_prompt_row("A", "clean", answers)
            fields.check(
                {
                    key: {**pair.PROMPT_NAMES, **pair.ANSWER_NAMES}[key]
                    for key in ("clean", *answers)
                }
            )
            with room.popover("⚙", help="Options of the prompt", width="stretch"):
                st.button(
                    "Use the model's own answer",
                    help="Take what the model puts first after the prompt.",
                    on_click=_take_answer,
                    args=(model,),
                    width="stretch",
                )
                pair.show_answer_tokens(model, answers)
                pair.show_chat_options(model)
                pair.show_bos_option(model)
        _show_subject(_texts("clean", model), model)
    except PatchwrightError as error:
        st.error(error_markdown(error))
        return None
    return says


def _texts(key: str, model: Model) -> tuple[str, ...]:
    return token_texts(pair.ids_of(key, model), model.tokenizer)


def _show_subject(texts: tuple[str, ...], model: Model) -> None:
    """The chips that the subject is chosen by."""
    try:
        other = _texts("corrupt", model)
    except PromptError:
        other = texts
    first = _first_position(model)
    complaint = session_state.settle_subject(st.session_state, texts, other, first)
    if complaint is not None:
        st.warning(complaint)
    name, chips = st.columns([1.1, 14], vertical_alignment="center", gap="small")
    name.markdown(
        "Subject",
        help="The tokens that the noise falls on: what the prompt is about. Click a token to add it "
        "or take it out. The number is its position.",
    )
    chips.pills(
        "Subject",
        range(first, len(texts)),
        selection_mode="multi",
        format_func=lambda position: f"{token_markdown(texts[position])} :small[{position}]",
        on_change=_note_choice,
        **fields.persistent_key("subject"),
        **fields.UNLABELLED,
    )


def _first_position(model: Model) -> int:
    """The first position that the subject may have: behind the beginning-of-text token."""
    start = () if model.tokenizer is None else model.tokenizer.bos_ids
    ids = pair.ids_of("clean", model)
    return len(start) if ids[: len(start)] == start else 0


def _note_choice() -> None:
    st.session_state["subject_cleared"] = not st.session_state["subject"]
    st.session_state["subject_complaint"] = None


def _take_answer(model: Model) -> None:
    try:
        likely = next_tokens(model.network, pair.ids_of("clean", model), 2)
        found = [answer_text(one, model.tokenizer) for one in likely]
    except AnswerError as error:
        st.session_state["complaint"] = error_markdown(error)
        return
    except PatchwrightError:
        return  # The page says what is wrong with the prompt.
    st.session_state["answer"], st.session_state["wrong"] = found


def _show_controls() -> DeltaGenerator:
    """How much noise, how much is restored at a time, and how it is measured; room for words."""
    said, metric, options = st.columns([9, 2.4, 1.6], vertical_alignment="center")
    fields.choice(
        metric,
        "Metric",
        METRICS,
        "trace_metric",
        controls.METRIC_NAMES,
        help="The paper traces the probability of the answer. The logit difference compares with a "
        "wrong answer.",
        **fields.UNLABELLED,
    )
    with options.popover(
        "⚙ Noise…", help="Noise, samples, window, what is severed", width="stretch"
    ):
        _show_noise()
        _show_restoration()
    return said


def _show_noise() -> None:
    columns = st.columns(3)
    low, high = CONTROLS["noise"].bounds
    fields.number_input(
        columns[0],
        "Noise",
        low,
        high,
        "noise",
        step=0.5,
        format="%g",
        help="In multiples of σ, the standard deviation of the subject tokens' embeddings. The "
        "paper uses 3. Too little leaves the answer standing, then there is nothing to bring back.",
    )
    fields.number_input(
        columns[1],
        "Samples",
        *_integer_bounds("samples"),
        "samples",
        help="How often the noise is drawn. Every place is tried with the same samples; effects "
        "are means over them.",
    )
    fields.number_input(
        columns[2],
        "Seed",
        *_integer_bounds("seed"),
        "seed",
        help="The same seed draws the same noise.",
    )


def _show_restoration() -> None:
    columns = st.columns([1, 2])
    fields.number_input(
        columns[0],
        "Window",
        *_integer_bounds("window"),
        "window",
        help="How many layers around each are restored at once in the MLP and attention maps. A "
        "window inflates effects: look at single layers first. The hidden state is always restored "
        "at one layer, which holds all that went before.",
    )
    fields.choice(
        columns[1],
        "Sever",
        ("nothing", *get_args(SeverSite)),
        "sever",
        SEVER_NAMES,
        help="What is held at its noisy values at the restored position, in every layer. If a place "
        "brings back less with the MLPs severed, its effect went by way of them.",
    )


def _integer_bounds(name: str) -> tuple[int, int]:
    low, high = CONTROLS[name].bounds
    return int(low), int(high)


def _experiments(model: Model) -> dict[str, Trace]:
    """One trace a site, by slot. Raises InputError where nothing can be traced."""
    if not st.session_state["subject"]:
        raise PromptError(
            "No subject is chosen: click the tokens that name what the prompt is about, above."
        )
    return {
        slot: build_experiment.trace_of(st.session_state, model.name, site)
        for slot, site in SLOTS.items()
    }


def _draw(results: Sequence[Result], under_way: dict[str, Any] | None, model: Model) -> None:
    """The three maps, as far as they are, and what restoring the selected place does."""
    maps = trace_maps.maps_of(results, under_way)
    chosen = workbench.place_on_maps(st.session_state["chosen"], maps)
    result = trace_maps.result_of_place(chosen, results)
    said = trace_place.inspector_data(chosen, result, model)
    said["facts"] += workbench.pin_facts(
        maps, chosen, lambda one: trace_maps.effect_at(one, results)
    )
    workbench.show("trace", maps, workbench.Bench(said, None), list(SLOTS))
    if under_way is None:
        trace_place.show_details(chosen, result)


def _show_findings(results: Sequence[Result], bar: topbar.Bar) -> None:
    """What the traces warn of, how to read them, and how to take them away."""
    # The hidden states have their strongest cell at the end of the last row, whatever is asked.
    mlps = results[trace_maps.SITES.index("mlp_out")]
    export.show(bar, *results, asked=mlps, drawings=[drawing_of(*results)])
    for text in trace_maps.warnings_of(results):
        st.warning(escape(text))
    st.caption(
        "Each cell is the mean over the samples; below 0 a place makes it worse. The hidden state of "
        "the last token in the last layer always brings back all: what lies before it tells where "
        "the information moves."
    )
