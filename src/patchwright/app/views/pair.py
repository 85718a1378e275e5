"""Two prompts side by side, their tokens and answers: the head of every tab but Causal trace."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.metrics import usual_metric
from patchwright.algorithms.result import Baseline, Result
from patchwright.algorithms.suggest import same_length, suggested_answers
from patchwright.app import build_experiment, session_state
from patchwright.app.results import unpatched
from patchwright.app.session_jobs import in_best_order
from patchwright.app.text import error_markdown, escape, token, typed
from patchwright.app.views import controls, fields
from patchwright.app.widgets.chips import chips_html
from patchwright.errors import AnswerError, PatchwrightError, UnequalLengthsError
from patchwright.experiment.run import tokens_of
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.prompts.align import common_start
from patchwright.prompts.examples import example, examples
from patchwright.prompts.pair import prompt_ids, prompt_notices
from patchwright.prompts.tokens import (
    answer_text,
    encode_inside,
    starts_chat_turn,
    token_texts,
    typed_text,
)
from patchwright.spelling import percent

NAMES = {"clean": "Prompt A", "corrupt": "Prompt B"}
ANSWER_NAMES = {"answer": "Answer", "wrong": "Wrong answer"}
LETTERS = dict(zip("AB", zip(NAMES, ANSWER_NAMES, strict=True), strict=True))

Says = Sequence[DeltaGenerator]
"""Where it is said what the model answers to each prompt."""


def shown(model: Model) -> Patch | None:
    """Draw both prompts; the sweep that all controls describe, or None and what is wrong."""
    try:
        says = _prompts(model)
        if not any(st.session_state[key] for key in NAMES):
            st.info(
                "Type a sentence that the model is to continue into A, and the same with one word "
                "changed into B. Then let ⚙ take the model's own answers, or type them."
            )
            return None
        texts = [token_texts(ids, model.tokenizer) for ids in _ids(model)]
        st.container(key="tokens").html(chips_html(*texts))
        _edges()
        _suits(model)
        experiment = checked(model)
        _answered(unpatched(experiment, model), says)
        return experiment
    except UnequalLengthsError:
        _replacements(model)
    except PatchwrightError as error:
        st.error(error_markdown(error))
        if isinstance(error, AnswerError):
            _other_metrics(model)
    return None


def _answered(runs: Result, says: Says) -> None:
    """What the model says next after each prompt, beside the prompt."""
    for place, run in zip(says, (runs.clean, runs.corrupt), strict=True):
        answered(place, run, runs.experiment["metric"])


def answered(place: DeltaGenerator, run: Baseline, metric: str) -> None:
    """What the model says next after one prompt."""
    first = run.top[0]
    place.markdown(
        f"→ **{token(str(first['token']))}** {percent(first['probability'])}",
        help="What the model puts first after this prompt; the "
        + f"{escape(controls.METRIC_NAMES[metric])} is {run.metric:.3g}. Then: "
        + ", ".join(
            f"**{token(str(one['token']))}** {percent(one['probability'])}" for one in run.top[1:5]
        ),
    )


def _edges() -> None:
    """Say that only the edges are matched, and how to go back."""
    if st.session_state["align"] == "edges":
        left, right = st.columns([3, 1], vertical_alignment="center")
        left.caption(
            "Only the edges that the two prompts have in common are matched: what lies between them "
            "is not patched."
        )
        right.button(
            "Match every position",
            on_click=_match,
            args=("exact",),
            width="stretch",
            help="As usual; the prompts then need the same number of tokens.",
        )


def _suits(model: Model) -> None:
    """Say of an example for other models why it may look odd in this one."""
    name = session_state.example_shown(st.session_state)
    tried = {suited for one in examples() for suited in one.models}
    if name is None or model.name not in tried or model.name in (suited := example(name).models):
        return
    few = " The demo model knows few words and splits the others into pieces."
    st.info(
        f"This example is for {' or '.join(suited)}: choose {'it' if len(suited) == 1 else 'one of them'} at the top."
        + (few if model.name == "demo" else "")
    )


def checked(model: Model) -> Patch:
    """The sweep that the controls describe. Raises InputError where it cannot be run."""
    experiment = build_experiment.experiment_of(st.session_state, model.name)
    tokens = tokens_of(build_experiment.pair_of(st.session_state), experiment, model)
    return in_best_order(experiment, tokens, model)


def _prompts(model: Model) -> Says:
    """Each prompt in a row with its answer; where it is to be said what the model answers."""
    says: list[DeltaGenerator] = []
    with st.container(key="prompts", gap="xxsmall"):
        options = st.container()
        for letter, (key, answer) in LETTERS.items():
            said, room = row(letter, key, [answer])
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
        fields.check(NAMES)
        fields.check(ANSWER_NAMES)
        with options:
            _options(model)
    return says


def row(letter: str, key: str, answers: Sequence[str]) -> tuple[DeltaGenerator, DeltaGenerator]:
    """A prompt and its answers; where it is said what the model answers, and room for a button."""
    widths = [0.35, 11 - 2 * len(answers), *(2 for _ in answers), 3, 0.8]
    name, prompt, *typed_answers, said, room = st.columns(
        widths, vertical_alignment="center", gap="small"
    )
    name.markdown(f"**{letter}**")
    fields.text_area(prompt, NAMES[key], key, "content", **fields.UNLABELLED)
    for column, answer in zip(typed_answers, answers, strict=True):
        answer_field(column, answer, **fields.UNLABELLED)
    return said.empty(), room


def _options(model: Model) -> None:
    """What is done with the prompts besides typing them."""
    st.button(
        "Use the model's own answers",
        help="Take what the model puts first after each prompt.",
        on_click=_take_answers,
        args=(model,),
        width="stretch",
    )
    answer_tokens(model, tuple(ANSWER_NAMES))
    chat(model)
    beginning(model)


def chat(model: Model) -> None:
    """Whether what is typed is said in a chat, where the model has a template for one."""
    now = st.session_state
    if not now["chat"] and (model.tokenizer is None or not model.tokenizer.has_template):
        return
    st.toggle(
        "Chat",
        **fields.kept("chat"),
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


def beginning(model: Model) -> None:
    """Whether the prompts begin with the model's beginning-of-text token, where it has one.

    Of a chat the template has decided that, and what else it put in is said.
    """
    if st.session_state["chat"]:
        prompt = build_experiment.prompt_of(st.session_state, st.session_state["clean"])
        for notice in prompt_notices([prompt], model.tokenizer, st.session_state["bos"]):
            st.caption(escape(notice["message"]))
        return
    if model.tokenizer is None or not model.tokenizer.start:
        return
    shown = " ".join(map(token, token_texts(model.tokenizer.start, model.tokenizer)))
    st.checkbox(
        "Begin with the beginning-of-text token",
        **fields.kept("bos"),
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


def answer_tokens(model: Model, keys: Sequence[str]) -> None:
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
        " ".join(f"**{token(one)}**" for one in tokens)
        + f" ({len(tokens)} token{'s' if len(tokens) > 1 else ''})"
        for tokens in split[:6]
    ]
    more = [f"and {len(split) - 6} more"] if len(split) > 6 else []
    return ", ".join([*checks, *more]) or "none yet"


def _ids(model: Model) -> list[tuple[int, ...]]:
    return [ids_of(key, model) for key in NAMES]


def _take_answers(model: Model) -> None:
    try:
        found = suggested_answers(model.network, *_ids(model))
        answer, wrong = (answer_text(one, model.tokenizer) for one in found)
    except PatchwrightError as error:
        st.session_state["complaint"] = error_markdown(error)
        return
    st.session_state["answer"], st.session_state["wrong"] = answer, wrong


def _other_metrics(model: Model) -> None:
    """Offer metrics that these answers have, where there is at least one answer."""
    for compared in (True, False):
        metric = usual_metric(one_token=False, compared=compared)
        fitting = build_experiment.experiment_of({**st.session_state, "metric": metric}, model.name)
        try:
            tokens_of(build_experiment.pair_of(st.session_state), fitting, model)
        except PatchwrightError:
            continue
        st.button(f"Measure {metric}", on_click=_take_metric, args=(metric,))


def _take_metric(metric: str) -> None:
    st.session_state["metric"] = metric


def _replacements(model: Model) -> None:
    """What to do about unequal lengths: corrupted prompts as long as the clean one, or edges."""
    clean, corrupt = _ids(model)
    start = common_start(clean, corrupt)
    st.error(
        f"Prompt A has {len(clean)} tokens and prompt B has {len(corrupt)}; they first differ at "
        f"position {start}. Reword one so that both have the same number of tokens, or choose below."
    )
    assert model.tokenizer is not None, "text was encoded, so there is a tokenizer"
    begun = model.tokenizer.start if st.session_state["bos"] else ()
    n = len(begun)
    # What fits into a chat's message is not looked for: its tokens are not all there are.
    proposed = (
        []
        if st.session_state["chat"]
        else same_length(
            model.network, clean, corrupt, lambda one: token_texts([one], model.tokenizer)[0]
        )
    )
    offered = [
        typed_text(tokens[n:], model.tokenizer) for tokens in proposed if tokens[:n] == begun
    ]
    same = list(dict.fromkeys(text for text in offered if text is not None))
    if same:
        st.write("Other prompts B, as long as A:")
    for i, text in enumerate(same):
        st.button(typed(text), key=f"same-{i}", on_click=_take_corrupt, args=(text,))
    st.button(
        "Match only the common edges",
        on_click=_match,
        args=("edges",),
        help="Patches between the positions that both prompts begin with, those that both end "
        "with, and the last token of what differs.",
    )


def _take_corrupt(text: str) -> None:
    st.session_state["corrupt"] = text


def _match(how: str) -> None:
    st.session_state["align"] = how
