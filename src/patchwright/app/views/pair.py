"""Two prompts side by side, their tokens and answers: the head of every tab but Causal trace."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.metrics import default_metric
from patchwright.algorithms.result import Baseline, Result
from patchwright.algorithms.suggest import same_length_prompts, suggested_answers
from patchwright.app import build_experiment, session_state
from patchwright.app.results import unpatched_runs
from patchwright.app.session_jobs import in_best_order
from patchwright.app.text import error_markdown, escape, escape_typed, token_markdown
from patchwright.app.views import controls, fields
from patchwright.app.widgets.chips import chips_html
from patchwright.errors import AnswerError, PatchwrightError, UnequalLengthsError
from patchwright.experiment.run import tokens_of
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.prompts.align import common_prefix_length
from patchwright.prompts.examples import example, examples
from patchwright.prompts.pair import prompt_ids, prompt_notices
from patchwright.prompts.tokens import (
    answer_text,
    encode_inside,
    round_trip_text,
    starts_chat_turn,
    token_texts,
)
from patchwright.spelling import percent

PROMPT_NAMES = {"clean": "Prompt A", "corrupt": "Prompt B"}
ANSWER_NAMES = {"answer": "Answer", "wrong": "Wrong answer"}
LETTER_KEYS = dict(zip("AB", zip(PROMPT_NAMES, ANSWER_NAMES, strict=True), strict=True))

AnswerPlaces = Sequence[DeltaGenerator]
"""Where it is said what the model answers to each prompt."""


def show(model: Model) -> Patch | None:
    """Draw both prompts; the sweep that all controls describe, or None and what is wrong."""
    try:
        says = _show_prompts(model)
        if not any(st.session_state[key] for key in PROMPT_NAMES):
            st.info(
                "Type a sentence that the model is to continue into A, and the same with one word "
                "changed into B. Then let ⚙ take the model's own answers, or type them."
            )
            return None
        texts = [token_texts(ids, model.tokenizer) for ids in _ids(model)]
        st.container(key="tokens").html(chips_html(*texts))
        _show_alignment()
        _show_model_hint(model)
        experiment = runnable_sweep(model)
        _show_answers(unpatched_runs(experiment, model), says)
        return experiment
    except UnequalLengthsError:
        _show_length_fixes(model)
    except PatchwrightError as error:
        st.error(error_markdown(error))
        if isinstance(error, AnswerError):
            _show_other_metrics(model)
    return None


def _show_answers(runs: Result, says: AnswerPlaces) -> None:
    """What the model says next after each prompt, beside the prompt."""
    for place, run in zip(says, (runs.clean, runs.corrupt), strict=True):
        show_answer(place, run, runs.experiment["metric"])


def show_answer(place: DeltaGenerator, run: Baseline, metric: str) -> None:
    """What the model says next after one prompt."""
    first = run.top[0]
    place.markdown(
        f"→ **{token_markdown(str(first['token']))}** {percent(first['probability'])}",
        help="What the model puts first after this prompt; the "
        + f"{escape(controls.METRIC_NAMES[metric])} is {run.metric:.3g}. Then: "
        + ", ".join(
            f"**{token_markdown(str(one['token']))}** {percent(one['probability'])}"
            for one in run.top[1:5]
        ),
    )


def _show_alignment() -> None:
    """Say that only the edges are matched, and how to go back."""
    if st.session_state["align"] == "edges":
        left, right = st.columns([3, 1], vertical_alignment="center")
        left.caption(
            "Only the edges that the two prompts have in common are matched: what lies between them "
            "is not patched."
        )
        right.button(
            "Match every position",
            on_click=_set_alignment,
            args=("exact",),
            width="stretch",
            help="As usual; the prompts then need the same number of tokens.",
        )


def _show_model_hint(model: Model) -> None:
    """Say of an example for other models why it may look odd in this one."""
    name = session_state.current_example(st.session_state)
    tried = {suited for one in examples() for suited in one.models}
    if name is None or model.name not in tried or model.name in (suited := example(name).models):
        return
    few = " The demo model knows few words and splits the others into pieces."
    st.info(
        f"This example is for {' or '.join(suited)}: choose {'it' if len(suited) == 1 else 'one of them'} at the top."
        + (few if model.name == "demo" else "")
    )


def runnable_sweep(model: Model) -> Patch:
    """The sweep that the controls describe. Raises InputError where it cannot be run."""
    experiment = build_experiment.patch_of(st.session_state, model.name)
    tokens = tokens_of(build_experiment.pair_of(st.session_state), experiment, model)
    return in_best_order(experiment, tokens, model)


def _show_prompts(model: Model) -> AnswerPlaces:
    """Each prompt in a row with its answer; where it is to be said what the model answers."""
    says: list[DeltaGenerator] = []
    with st.container(key="prompts", gap="xxsmall"):
        options = st.container()
        for letter, (key, answer) in LETTER_KEYS.items():
            said, room = show_prompt_row(letter, key, [answer])
            says.append(said)
            if letter == "A":
                options = room.popover("⚙", help="Options of both prompts", width="stretch")
            else:
                room.button(
                    "⇄",
                    help="Swap A and B: exchange the two prompts and their answers.",
                    on_click=session_state.swap,
                    args=(st.session_state,),
                    width="stretch",
                )
        fields.check(PROMPT_NAMES)
        fields.check(ANSWER_NAMES)
        with options:
            _show_options(model)
    return says


def show_prompt_row(
    letter: str, key: str, answers: Sequence[str]
) -> tuple[DeltaGenerator, DeltaGenerator]:
    """A prompt and its answers; where it is said what the model answers, and room for a button."""
    widths = [0.35, 11 - 2 * len(answers), *(2 for _ in answers), 3, 0.8]
    name, prompt, *typed_answers, said, room = st.columns(
        widths, vertical_alignment="center", gap="small"
    )
    name.markdown(f"**{letter}**")
    fields.text_area(prompt, PROMPT_NAMES[key], key, "content", **fields.UNLABELLED)
    for column, answer in zip(typed_answers, answers, strict=True):
        answer_field(column, answer, **fields.UNLABELLED)
    return said.empty(), room


def _show_options(model: Model) -> None:
    """What is done with the prompts besides typing them."""
    st.button(
        "Use the model's own answers",
        help="Take what the model puts first after each prompt.",
        on_click=_take_answers,
        args=(model,),
        width="stretch",
    )
    show_answer_tokens(model, tuple(ANSWER_NAMES))
    show_chat_options(model)
    show_bos_option(model)


def show_chat_options(model: Model) -> None:
    """Whether what is typed is said in a chat, where the model has a template for one."""
    now = st.session_state
    if not now["chat"] and (model.tokenizer is None or not model.tokenizer.has_template):
        return
    st.toggle(
        "Chat",
        **fields.persistent_key("chat"),
        on_change=session_state.forget_places,
        args=(now,),
        help="What is typed is what a user says to the model: its chat template goes around it, and "
        "the answer begins the model's turn, often without a space.",
    )
    if now["chat"]:
        fields.text_input(
            st.container(),
            "System message",
            "system",
            placeholder="none of your own",
            help="What the model is told before the user speaks. Where it is left empty, some "
            "templates put in one of their own, which then is among the tokens.",
        )
        fields.check({"system": "System message"})


def ids_of(key: str, model: Model) -> tuple[int, ...]:
    """The tokens of what was typed into a field."""
    prompt = build_experiment.prompt_of(st.session_state, st.session_state[key])
    return prompt_ids(prompt, model.tokenizer, st.session_state["bos"])


def show_bos_option(model: Model) -> None:
    """Whether the prompts begin with the model's beginning-of-text token, where it has one.

    Of a chat the template has decided that, and what else it put in is said.
    """
    if st.session_state["chat"]:
        prompt = build_experiment.prompt_of(st.session_state, st.session_state["clean"])
        for notice in prompt_notices([prompt], model.tokenizer, st.session_state["bos"]):
            st.caption(escape(notice["message"]))
        return
    if model.tokenizer is None or not model.tokenizer.bos_ids:
        return
    shown = " ".join(map(token_markdown, token_texts(model.tokenizer.bos_ids, model.tokenizer)))
    st.checkbox(
        "Begin with the beginning-of-text token",
        **fields.persistent_key("bos"),
        on_change=session_state.move_places,
        args=(st.session_state,),
        help=f"In this model it is {shown}. Put before every prompt it is one more token, which the "
        "model reads and attends to.",
    )
    if st.session_state["bos"] and starts_chat_turn(model.tokenizer):
        st.caption(
            f"In this model {shown} starts a turn of a chat: plain text behind it is text that the "
            "model saw seldom in its training, so its answers may be worse with it."
        )


def answer_field(place: DeltaGenerator, key: str, **more: Any) -> None:
    """A text field for one kind of answer."""
    fields.text_input(
        place,
        ANSWER_NAMES[key],
        key,
        placeholder=ANSWER_NAMES[key],
        help="With its leading space; several are separated by |.",
        **more,
    )


def show_answer_tokens(model: Model, keys: Sequence[str]) -> None:
    """How the answers split into tokens, in a line."""
    checks = [f"{ANSWER_NAMES[key]}: {_token_check(st.session_state[key], model)}" for key in keys]
    st.caption("; ".join(checks))


def _token_check(text: str, model: Model) -> str:
    """How the answers split into tokens, in a line."""
    split = [
        token_texts(encode_inside(part, model.tokenizer), model.tokenizer)
        for part in build_experiment.answers_of(text)
    ]
    checks = [
        " ".join(f"**{token_markdown(one)}**" for one in tokens)
        + f" ({len(tokens)} token{'s' if len(tokens) > 1 else ''})"
        for tokens in split[:6]
    ]
    more = [f"and {len(split) - 6} more"] if len(split) > 6 else []
    return ", ".join([*checks, *more]) or "none yet"


def _ids(model: Model) -> list[tuple[int, ...]]:
    return [ids_of(key, model) for key in PROMPT_NAMES]


def _take_answers(model: Model) -> None:
    try:
        found = suggested_answers(model.network, *_ids(model))
        answer, wrong = (answer_text(one, model.tokenizer) for one in found)
    except PatchwrightError as error:
        st.session_state["complaint"] = error_markdown(error)
        return
    st.session_state["answer"], st.session_state["wrong"] = answer, wrong


def _show_other_metrics(model: Model) -> None:
    """Offer metrics that these answers have, where there is at least one answer."""
    for compared in (True, False):
        metric = default_metric(one_token=False, compared=compared)
        fitting = build_experiment.patch_of({**st.session_state, "metric": metric}, model.name)
        try:
            tokens_of(build_experiment.pair_of(st.session_state), fitting, model)
        except PatchwrightError:
            continue
        st.button(f"Measure {metric}", on_click=_take_metric, args=(metric,))


def _take_metric(metric: str) -> None:
    st.session_state["metric"] = metric


def _show_length_fixes(model: Model) -> None:
    """What to do about unequal lengths: corrupted prompts as long as the clean one, or edges."""
    clean, corrupt = _ids(model)
    start = common_prefix_length(clean, corrupt)
    st.error(
        f"Prompt A has {len(clean)} tokens and prompt B has {len(corrupt)}; they first differ at "
        f"position {start}. Reword one so that both have the same number of tokens, or choose below."
    )
    assert model.tokenizer is not None, "text was encoded, so there is a tokenizer"
    begun = model.tokenizer.bos_ids if st.session_state["bos"] else ()
    n = len(begun)
    # What fits into a chat's message is not looked for: its tokens are not all there are.
    proposed = (
        []
        if st.session_state["chat"]
        else same_length_prompts(
            model.network, clean, corrupt, lambda one: token_texts([one], model.tokenizer)[0]
        )
    )
    offered = [
        round_trip_text(tokens[n:], model.tokenizer) for tokens in proposed if tokens[:n] == begun
    ]
    same = list(dict.fromkeys(text for text in offered if text is not None))
    if same:
        st.write("Other prompts B, as long as A:")
    for i, text in enumerate(same):
        st.button(escape_typed(text), key=f"same-{i}", on_click=_take_corrupt, args=(text,))
    st.button(
        "Match only the common edges",
        on_click=_set_alignment,
        args=("edges",),
        help="Patches between the positions that both prompts begin with, those that both end "
        "with, and the last token of what differs.",
    )


def _take_corrupt(text: str) -> None:
    st.session_state["corrupt"] = text


def _set_alignment(how: str) -> None:
    st.session_state["align"] = how
