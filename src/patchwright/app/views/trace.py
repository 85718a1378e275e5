"""Trace: noise on the subject ruins the answer; which clean activations bring it back?"""

from typing import get_args

import streamlit as st

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result
from patchwright.algorithms.suggest import likeliest
from patchwright.app import build_experiment, session_state
from patchwright.app.session_jobs import jobs_of, result_so_far
from patchwright.app.text import error_markdown, token
from patchwright.app.views import fields, pair, progress, tabs, topbar, trace_result
from patchwright.axes import METRICS
from patchwright.errors import AnswerError, PatchwrightError, PromptError
from patchwright.jobs import Job
from patchwright.methods.trace import Severed, Trace, TraceSite
from patchwright.model.load import Model
from patchwright.prompts.tokens import answer_text, token_texts

SITES: tuple[TraceSite, ...] = get_args(TraceSite)
SLOTS = [f"trace-{site}" for site in SITES]
SEVER_NAMES = {
    "nothing": "nothing",
    "mlp_out": "the MLPs (mlp_out)",
    "attn_out": "attention (attn_out)",
}


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    model = topbar.shown()
    if model is None:
        return
    tabs.shown("trace")
    st.caption(
        "Where does the model look up what it knows about a subject? Noise on the subject's tokens "
        "ruins the answer; then one clean activation at a time is put back, to see which brings it "
        "back (causal tracing)."
    )
    try:
        texts = _prompt(model)
        _subject(texts, model)
        _answers(model)
        _choices()
        _traced(_experiments(texts, model), model)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _prompt(model: Model) -> tuple[str, ...]:
    """The prompt's field; its tokens' texts."""
    fields.text_area(st.container(), "Prompt", "clean")
    fields.check({"clean": "Prompt"})
    pair.chat(model)
    pair.beginning(model)
    return _texts("clean", model)


def _texts(key: str, model: Model) -> tuple[str, ...]:
    return token_texts(pair.ids_of(key, model), model.tokenizer)


def _subject(texts: tuple[str, ...], model: Model) -> None:
    """The chips that the subject is chosen by."""
    try:
        other = _texts("corrupt", model)
    except PromptError:
        other = texts
    first = _first(model)
    complaint = session_state.settle_subject(st.session_state, texts, other, first)
    if complaint is not None:
        st.warning(complaint)
    st.pills(
        "Subject",
        range(first, len(texts)),
        key="subject",
        selection_mode="multi",
        format_func=lambda position: f"{token(texts[position])} :small[{position}]",
        on_change=_note_choice,
        **fields.KEPT,
        help="The tokens that the noise falls on: what the prompt is about. Click a token to add it "
        "or take it out. The number is its position.",
    )


def _first(model: Model) -> int:
    """The first position that the subject may have: behind the beginning-of-text token."""
    start = () if model.tokenizer is None else model.tokenizer.start
    ids = pair.ids_of("clean", model)
    return len(start) if ids[: len(start)] == start else 0


def _note_choice() -> None:
    st.session_state["subject_cleared"] = not st.session_state["subject"]
    st.session_state["subject_complaint"] = None


def _answers(model: Model) -> None:
    """The answer, and the wrong one where the metric compares with it."""
    needs_wrong = METRIC_TABLE[st.session_state["trace_metric"]].needs_wrong
    keys = ("answer", "wrong") if needs_wrong else ("answer",)
    columns = st.columns([3, 3, 2] if needs_wrong else [3, 2, 3], vertical_alignment="bottom")
    for key, column in zip(keys, columns, strict=False):
        pair.answer_field(column, key)
    fields.check({key: pair.ANSWER_NAMES[key] for key in keys})
    columns[len(keys)].button(
        "Use the model's own answer",
        help="Take what the model puts first after the prompt.",
        on_click=_take_answer,
        args=(model,),
        width="stretch",
    )
    pair.answer_tokens(model, keys)


def _take_answer(model: Model) -> None:
    try:
        likely = likeliest(model.network, pair.ids_of("clean", model), 2)
        found = [answer_text(one, model.tokenizer) for one in likely]
    except AnswerError as error:
        st.session_state["complaint"] = error_markdown(error)
        return
    except PatchwrightError:
        return  # The page says what is wrong with the prompt.
    st.session_state["answer"], st.session_state["wrong"] = found


def _choices() -> None:
    """How much noise, how much is restored at a time, and how it is measured."""
    first, second = st.columns(3), st.columns(3)
    low, high = session_state.BOUNDS["noise"]
    fields.number_input(
        first[0],
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
        first[1],
        "Samples",
        *_whole("samples"),
        "samples",
        help="How often the noise is drawn. Every place is tried with the same samples; effects "
        "are means over them.",
    )
    fields.number_input(
        second[0],
        "Window",
        *_whole("window"),
        "window",
        help="How many layers around each are restored at once in the MLP and attention panels. A "
        "window inflates effects: look at single layers first. The hidden state is always restored "
        "at one layer, which holds all that went before.",
    )
    fields.number_input(
        first[2], "Seed", *_whole("seed"), "seed", help="The same seed draws the same noise."
    )
    fields.choice(
        second[1],
        "Sever",
        ("nothing", *get_args(Severed)),
        "sever",
        SEVER_NAMES,
        help="What is held at its noisy values at the restored position, in every layer. If a place "
        "brings back less with the MLPs severed, its effect went by way of them.",
    )
    fields.choice(
        second[2],
        "Metric",
        METRICS,
        "trace_metric",
        help="The paper traces the probability of the answer. logit_diff compares with a wrong "
        "answer.",
    )


def _whole(name: str) -> tuple[int, int]:
    low, high = session_state.BOUNDS[name]
    return int(low), int(high)


def _experiments(texts: tuple[str, ...], model: Model) -> list[Trace]:
    """One trace a site. Raises InputError where nothing can be traced."""
    if not st.session_state["subject"]:
        raise PromptError(
            "No subject is chosen: click the tokens that name what the prompt is about, above."
        )
    return [build_experiment.trace_of(st.session_state, model.name, site) for site in SITES]


def _traced(experiments: list[Trace], model: Model) -> None:
    """The three traces: finished, or as far as they are."""
    jobs = _jobs(experiments, model)
    if not all(job.over for job in jobs):
        _under_way(experiments, model)
        return
    results: dict[TraceSite, Result | None] = {
        experiment.site: progress.result_of_job(job, experiment, model)
        for experiment, job in zip(experiments, jobs, strict=True)
    }
    whole: dict[TraceSite, Result] = {site: one for site, one in results.items() if one is not None}
    if any(job.late for job in jobs):
        st.warning(progress.TOO_LONG)
    elif any(progress.stopped(one) for one in whole.values()):
        progress.rest(SLOTS)
    trace_result.finished(whole)


def _jobs(experiments: list[Trace], model: Model) -> list[Job]:
    """One job a site. Raises what went wrong in any."""
    jobs = jobs_of(dict(zip(SLOTS, experiments, strict=True)), model)
    for job in jobs:
        if job.error is not None:
            raise job.error
    return jobs


@st.fragment(run_every=0.4)
def _under_way(experiments: list[Trace], model: Model) -> None:
    """Stop, how far each trace is, and the cells that are finished, all on one scale."""
    try:
        jobs = _jobs(experiments, model)
    except PatchwrightError:
        st.rerun()  # The page says what went wrong.
    if all(job.over for job in jobs):
        st.rerun()
    progress.stop_button(SLOTS, jobs, st.columns([5, 1])[1])
    try:
        partial: dict[TraceSite, Result] = {
            experiment.site: job.result or result_so_far(experiment, model, job)
            for experiment, job in zip(experiments, jobs, strict=True)
        }
    except PatchwrightError as error:
        st.error(error_markdown(error))  # What the work itself will end in.
        return
    grids = trace_result.grids_of_sites(partial)
    for job, site, grid, column in zip(
        jobs, partial, grids, st.columns(3, gap="medium"), strict=True
    ):
        with column:
            trace_result.panel(grid, f"so-far-{site}")
            progress.show_progress(job, "runs", column)
