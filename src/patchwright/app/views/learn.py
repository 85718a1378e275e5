"""Learn: lessons in which the reader predicts before anything is revealed."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app.lesson_progress import (
    Attempt,
    Catalog,
    Score,
    Tries,
    asks_later,
    key_of,
    on_runs_alone,
    score,
)
from patchwright.app.resources import lessons
from patchwright.app.text import error_markdown, escape, paragraphs, token
from patchwright.app.views import fields, lesson_result, progress, topbar
from patchwright.errors import InputError, PatchwrightError
from patchwright.lessons import READINGS, Lesson, Step, mark, readings_of, step_experiment
from patchwright.lessons.expressions import filled
from patchwright.lessons.grading import Answer
from patchwright.places import parse_place


def show() -> None:
    """One lesson, or the list where none is chosen or there is no such lesson or step."""
    topbar.titled()
    there, now = lessons(), st.session_state
    lesson = there.on(now["reading"]).get(now["lesson"])
    if now["lesson"] and lesson is None:
        st.warning(f"There is no lesson '{escape(now['lesson'][:60])}' here. These are there:")
    elif lesson is not None and not 1 <= now["step"] <= len(lesson.steps) + 1:
        st.warning(
            f"The lesson '{escape(lesson.title)}' has {len(lesson.steps)} steps, and no step "
            f"{now['step']}. Choose a lesson:"
        )
        lesson = None
    if lesson is None:
        now["lesson"], now["step"] = "", 1
        _list(there)
    else:
        _lesson(lesson, now["step"] - 1)


def _list(there: Catalog) -> None:
    """Every lesson with what it is about, and how far this reader is in it."""
    st.header("Learn", anchor=False)
    st.caption(
        "Lessons on what goes on inside a language model. Each asks you to predict what an experiment "
        "will show, runs it, and marks your answer. Take them in this order."
    )
    _readings(list(READINGS))
    for number, (name, lesson) in enumerate(there.on(st.session_state["reading"]).items(), 1):
        with st.container(border=True):
            text, button = st.columns([5, 1], vertical_alignment="center")
            text.markdown(f"**{number}\\. {escape(lesson.title)}**  \n{escape(lesson.about)}")
            found = score(lesson, tries_of(lesson))
            text.caption(f"About {lesson.minutes} minutes. {how_far(found)}")
            button.button(
                "Open" if not found.answered or found.done else "Go on",
                key=f"open-{name}",
                on_click=_go,
                args=(name, first_left(lesson)),
                width="stretch",
                help=f"Opens the lesson {escape(lesson.title)}.",
            )
    if there.faults:
        st.warning("Some lessons of this server cannot be used:")
        for fault in there.faults:
            st.markdown("\n".join(f"- {escape(line)}" for line in fault.splitlines()))


def _readings(models: Sequence[str]) -> None:
    """On which model to read; one that is not here is offered for download where it is asked."""
    if len(models) > 1:
        fields.choice(
            st.columns(2)[0],
            "Read it on",
            models,
            "reading",
            READINGS,
            on_change=_turn,
            help="The same question, asked of another model. Step and answers are kept for each.",
        )


def _turn() -> None:
    """Another reading of the lesson was chosen: go where this reader was in it."""
    now = st.session_state
    lesson = lessons().on(now["reading"]).get(now["lesson"])
    if lesson is not None:
        now["step"] = now.get("left_at", {}).get(key_of(lesson), 1)


def how_far(found: Score) -> str:
    """A reader's progress in a lesson, in a sentence."""
    if not found.answered:
        return "Not started"
    if not found.done:
        return f"{found.answered} of {found.asked} questions answered."
    right = found.alone + found.with_hints
    return f"✓ Done: {right} of {found.asked} right{_hinted(found)}."


def _hinted(found: Score) -> str:
    return f", {found.with_hints} of them with hints" if found.with_hints else ""


def tries_of(lesson: Lesson) -> Tries:
    """This reader's tries at a reading of a lesson, which live as long as the tab is open."""
    return st.session_state.setdefault("tries", {}).setdefault(key_of(lesson), {})


def first_left(lesson: Lesson) -> int:
    """The step, from 0, at which to go on: the first that asks something still, else the first."""
    tries = tries_of(lesson)
    left = [
        i
        for i, step in enumerate(lesson.steps)
        if step.question is not None and tries.get(i, Attempt()).mark is None
    ]
    return left[0] if tries and left else 0


def _go(name: str, number: int) -> None:
    st.session_state["lesson"], st.session_state["step"] = name, number + 1


def _lesson(lesson: Lesson, number: int) -> None:
    """One step, or what came of it all; then the ways on and back."""
    st.button(
        "All lessons", icon=":material/arrow_back:", type="tertiary", on_click=_go, args=("", 0)
    )
    st.header(escape(lesson.title), anchor=False)
    st.session_state.setdefault("left_at", {})[key_of(lesson)] = number + 1
    _readings(list(readings_of(lesson)))
    if number == len(lesson.steps):
        _summary(lesson)
        return
    st.progress((number + 1) / len(lesson.steps), f"Step {number + 1} of {len(lesson.steps)}")
    try:
        _step(lesson, number)
    except PatchwrightError as error:
        st.error(error_markdown(error))
    _ways(lesson, number)


def _step(lesson: Lesson, number: int) -> None:
    """Text, tokens, question; once it is answered, what is so. Raises PatchwrightError."""
    model = topbar.model_if_here(lesson.model)
    if model is None:
        return
    if model.quantization is not None:
        st.caption(topbar.QUANTISED)
    experiment = step_experiment(lesson, number)
    result = progress.finished(experiment, model, "lesson-job", "cells")
    if result is None or progress.stopped(result):
        return
    step = lesson.steps[number]
    st.markdown(paragraphs(filled(step.text, result)))
    if step.question is None:
        if step.experiment is not None:
            lesson_result.prompts(result)
            lesson_result.whole(result)
            lesson_result.way_in(experiment, result)
        return
    lesson_result.prompts(result)
    st.markdown(f"**{paragraphs(filled(step.question, result))}**")
    tried = tries_of(lesson).get(number, Attempt())
    if tried.mark is None:
        _asked(lesson, number, result, tried)
        return
    _marked(step, result, tried)
    st.markdown(paragraphs(filled(step.reveal or "", result)))
    if on_runs_alone(step, result):
        lesson_result.runs(result)
    elif asks_later(lesson, number, tries_of(lesson)):
        lesson_result.part(result, tried)
    else:
        lesson_result.whole(result, tried if step.cell is not None else None)
    lesson_result.way_in(experiment, result)


def _asked(lesson: Lesson, number: int, result: Result, tried: Attempt) -> None:
    """What the reader predicts with, the button that checks it, and hints."""
    step, key = lesson.steps[number], f"pick-{key_of(lesson)}-{number}"
    if step.cell is None:
        picked = st.radio(
            "Your prediction",
            range(len(step.choices)),
            index=None,
            key=key,
            format_func=lambda i: escape(step.choices[i].text),
        )
    else:
        picked = _picked_cell(step, result, key)
    with st.container(horizontal=True):
        st.button(
            "Check answer",
            type="primary",
            disabled=picked is None,
            on_click=_check,
            args=(lesson, number, result, picked),
        )
        left = len(step.hints) - tried.hints
        if left > 0:
            st.button(
                "Give me a hint" if not tried.hints else "One more hint",
                on_click=_hint,
                args=(lesson, number),
                help=f"{left} left.",
            )
    for i, hint in enumerate(step.hints[: tried.hints], 1):
        st.info(f"Hint {i}: {paragraphs(filled(hint, result))}")


def _picked_cell(step: Step, result: Result, key: str) -> str | None:
    """The empty map, and which cell of it the reader has picked."""
    right = mark(step, result, "").answers
    if not right:
        raise InputError("This step asks for a cell of a map, and no cell of this result is right.")
    picks: dict[str, str] = st.session_state.setdefault("picks", {})
    picked = picks.get(key)
    lesson_result.to_predict(step, result, picked or "", lambda place: picks.update({key: place}))
    said = "none yet" if picked is None else place_in_words(picked, result)
    st.markdown(f"Your prediction: **{said}**")
    return picked


def place_in_words(name: str, result: Result) -> str:
    """A place as a reader finds it on the map, as Markdown: 'layer 0, position 2 (·keys)'."""
    place, texts = parse_place(name), result.position_tokens or ()
    words = [] if place.layer is None else [f"layer {place.layer}"]
    words += [] if place.head is None else [f"head {place.head}"]
    if place.position is not None:
        text = str(texts[place.position]) if 0 <= place.position < len(texts) else ""
        words.append(f"position {place.position}" + (f" ({token(text)})" if text else ""))
    return ", ".join(words) or escape(name)


def _check(lesson: Lesson, number: int, result: Result, picked: Answer) -> None:
    tries = tries_of(lesson)
    tried = tries.get(number, Attempt())
    try:
        tries[number] = replace(
            tried, answer=picked, mark=mark(lesson.steps[number], result, picked)
        )
    except PatchwrightError as error:
        st.session_state["complaint"] = error_markdown(error)


def _hint(lesson: Lesson, number: int) -> None:
    tries = tries_of(lesson)
    tried = tries.get(number, Attempt())
    tries[number] = replace(tried, hints=tried.hints + 1)


def _marked(step: Step, result: Result, tried: Attempt) -> None:
    """Right or not, and what would have been."""
    assert tried.mark is not None, "only an answer that was checked is shown as marked"
    helped = "" if not tried.hints else f", with {tried.hints} hint" + "s" * (tried.hints > 1)
    if tried.mark.right:
        st.success(f"Right{helped}.", icon=":material/check_circle:")
    else:
        st.error(f"Not so{helped}: see below what is.", icon=":material/cancel:")
    if step.cell is None:
        st.markdown("\n".join(_choice(step, i, tried) for i in range(len(step.choices))))
        return
    right = [place_in_words(str(one), result) for one in tried.mark.answers]
    more = f" and {len(right) - 4} more" if len(right) > 4 else ""
    st.markdown(
        f"You predicted **{place_in_words(str(tried.answer), result)}**. Right: {'; '.join(right[:4])}{more}."
    )


def _choice(step: Step, number: int, tried: Attempt) -> str:
    assert tried.mark is not None, "see _marked"
    right, own = number in tried.mark.answers, number == tried.answer
    text = escape(step.choices[number].text)
    shown = f"- ✓ **{text}**" if right else f"- {text}"
    return shown + (" — *your prediction*" if own else "")


def _ways(lesson: Lesson, number: int) -> None:
    """Back, and on: without an answer as well, which is then missing in the score."""
    last = number == len(lesson.steps) - 1
    asks = lesson.steps[number].question is not None
    open_ = asks and tries_of(lesson).get(number, Attempt()).mark is None
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        st.button("Back", on_click=_go, args=(lesson.name, number - 1), disabled=number == 0)
        st.button(
            "Skip" if open_ else "Finish" if last else "Next",
            type="secondary" if open_ else "primary",
            on_click=_go,
            args=(lesson.name, number + 1),
        )


def _summary(lesson: Lesson) -> None:
    """What came of the lesson, question by question."""
    tries = tries_of(lesson)
    found = score(lesson, tries)
    st.subheader("How it went", anchor=False)
    columns = st.columns(3)
    columns[0].metric("Right without hints", f"{found.alone} of {found.asked}")
    columns[1].metric("Right with hints", found.with_hints)
    columns[2].metric("Not answered", found.asked - found.answered)
    for number, step in enumerate(lesson.steps):
        if step.question is None:
            continue
        text, button = st.columns([5, 1], vertical_alignment="center")
        text.markdown(f"**Step {number + 1}**: {outcome(tries.get(number, Attempt()))}")
        button.button(
            "Look",
            key=f"look-{number}",
            on_click=_go,
            args=(lesson.name, number),
            help=f"Goes to step {number + 1}.",
            width="stretch",
        )
    st.markdown(_verdict(found))
    names = list(lessons().lessons)
    following = names[names.index(lesson.name) + 1 :]
    with st.container(horizontal=True):
        if following:
            st.button("Next lesson", type="primary", on_click=_go, args=(following[0], 0))
        st.button("Take it again", on_click=_again, args=(lesson,), help="Forgets your answers.")


def outcome(tried: Attempt) -> str:
    """How one question went, in words."""
    if tried.mark is None:
        return "not answered"
    helped = f" with {tried.hints} hint" + "s" * (tried.hints > 1) if tried.hints else ""
    return ("✓ right" if tried.mark.right else "✗ not right") + helped


def _verdict(found: Score) -> str:
    if not found.answered:
        return "Nothing is answered yet in this session: begin with the first step."
    if not found.done:
        return "The questions that are left can be answered still."
    if found.alone == found.asked:
        return "Every prediction was right."
    return "A prediction that failed is worth a second look: open its experiment and change it."


def _again(lesson: Lesson) -> None:
    tries_of(lesson).clear()
    picks = st.session_state.get("picks", {})
    for key in [key for key in picks if key.startswith(f"pick-{key_of(lesson)}-")]:
        del picks[key]
    _go(lesson.name, 0)
