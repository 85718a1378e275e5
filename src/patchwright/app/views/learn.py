"""Learn: lessons in which the reader predicts before anything is revealed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.result import Result
from patchwright.app import asked_question
from patchwright.app.lesson_progress import (
    Attempt,
    Catalog,
    Tries,
    first_open_step,
    lesson_key,
    questions_of,
    score,
)
from patchwright.app.resources import lessons
from patchwright.app.text import error_markdown, escape, paragraphs
from patchwright.app.views import fields, lesson_end, lesson_result, progress, projector, topbar
from patchwright.errors import InputError, PatchwrightError
from patchwright.lessons import LESSON_MODELS, Lesson, Step, lesson_by_model, mark, step_experiment
from patchwright.lessons.cells import edges_as_sweep
from patchwright.lessons.expressions import fill_slots
from patchwright.lessons.grading import Answer, right_answers
from patchwright.warnings import is_stopped


class Rooms(NamedTuple):
    """Where the parts of a step stand: the map below the text, the question beside both."""

    text: DeltaGenerator
    question: DeltaGenerator
    map: DeltaGenerator


def show() -> None:
    """One lesson, or the list where none is chosen or there is no such lesson or step."""
    topbar.show_links()
    try:
        lesson = _chosen_lesson()
    except PatchwrightError as error:
        st.warning(f"{error_markdown(error)} Choose a lesson:")
        lesson = None
    if lesson is None:
        _go_to_step("", 0)
        st.session_state["view"] = ""
        _show_list(lessons())
    else:
        _show_lesson(lesson, st.session_state["step"] - 1)


def _chosen_lesson() -> Lesson | None:
    """The lesson of the address, if it names one. Raises InputError where that is not there."""
    now = st.session_state
    lesson = lessons().for_model(now["reading"]).get(now["lesson"])
    if lesson is not None:
        now.update(asked_question.CLEARED)
    elif any(now[name] for name in asked_question.CLEARED):
        lesson = asked_question.lesson_from_fields(now)
    elif now["lesson"]:
        raise InputError(f"There is no lesson '{now['lesson'][:60]}' here.")
    else:
        return None
    if not 1 <= now["step"] <= len(lesson.steps) + 1:
        raise InputError(
            f"The lesson '{lesson.title}' has {len(lesson.steps)} steps, and no step {now['step']}."
        )
    return lesson


def _show_list(there: Catalog) -> None:
    """Every lesson with what it is about, and how far this reader is in it."""
    head = st.container(horizontal=True, vertical_alignment="bottom", key="lesson-head")
    head.header("Learn", anchor=False)
    _show_readings(head, list(LESSON_MODELS))
    st.caption(
        "Lessons on what goes on inside a language model. Each asks you to predict what an experiment "
        "will show, runs it, and marks your answer. Take them in this order."
    )
    cards = st.container(key="lessons")
    for number, (name, lesson) in enumerate(
        there.for_model(st.session_state["reading"]).items(), 1
    ):
        with cards.container(border=True, horizontal=True, vertical_alignment="center"):
            tries = tries_of(lesson)
            found = score(lesson, tries)
            with st.container():
                st.markdown(f"**{number}\\. {escape(lesson.title)}**  \n{escape(lesson.about)}")
                st.caption(f"About {lesson.minutes} minutes. {found.words}")
            st.button(
                f"{'Go on with' if found.answered and not found.done else 'Open'} lesson {number}",
                key=f"open-{name}",
                on_click=_go_to_step,
                args=(name, first_open_step(lesson, tries)),
                help=f"{escape(lesson.title)}",
            )
    if there.faults:
        st.warning("Some lessons of this server cannot be used:")
        for fault in there.faults:
            st.markdown("\n".join(f"- {escape(line)}" for line in fault.splitlines()))


def _show_readings(place: DeltaGenerator, models: Sequence[str]) -> None:
    """On which model to read; one that is not here is offered for download where it is asked."""
    if len(models) > 1:
        fields.choice(
            place.container(width=420),
            "Read it on",
            models,
            "reading",
            {model: f"Read on {LESSON_MODELS[model]}" for model in models},
            on_change=_resume_reading,
            **fields.UNLABELLED,
        )


def _resume_reading() -> None:
    """Another reading of the lesson was chosen: go where this reader was in it."""
    now = st.session_state
    lesson = lessons().for_model(now["reading"]).get(now["lesson"])
    if lesson is not None:
        now["step"] = now.get("left_at", {}).get(lesson_key(lesson), 1)


def tries_of(lesson: Lesson) -> Tries:
    """This reader's tries at a reading of a lesson, which live as long as the tab is open."""
    return st.session_state.setdefault("tries", {}).setdefault(lesson_key(lesson), {})


def _attempt_at(lesson: Lesson, number: int) -> Attempt:
    return tries_of(lesson).get(number, Attempt())


def _go_to_step(name: str, number: int) -> None:
    st.session_state.update(lesson=name, step=number + 1, revealed=False)
    if not name:
        st.session_state.update(asked_question.CLEARED)


def _show_lesson(lesson: Lesson, number: int) -> None:
    """One step with the ways on and back, or what came of them all."""
    steps = len(lesson.steps)
    if projector.is_on():
        number = min(number, steps - 1)
        projector.show(lesson.steps[number].question is not None)
    head = st.container(horizontal=True, vertical_alignment="center", key="lesson-head")
    head.button(
        "All lessons",
        icon=":material/arrow_back:",
        type="tertiary",
        on_click=_go_to_step,
        args=("", 0),
    )
    head.header(escape(lesson.title), anchor=False)
    st.session_state.setdefault("left_at", {})[lesson_key(lesson)] = number + 1
    _show_readings(head, list(lesson_by_model(lesson)))
    if number == steps:
        lesson_end.show(lesson, tries_of(lesson), _go_to_step, lambda: _start_over(lesson))
        return
    with head:
        projector.show_button()
    open_ = number in questions_of(lesson) and not _attempt_at(lesson, number).over
    if steps > 1 and not projector.is_on():
        st.progress((number + 1 - open_) / steps, f"Step {number + 1} of {steps}")
    with st.container(key="lesson"):
        rooms = Rooms(*(st.container(key=f"lesson-{name}") for name in Rooms._fields))
    with rooms.question:
        try:
            _show_step(lesson, number, rooms)
        except PatchwrightError as error:
            st.error(error_markdown(error))
        if projector.is_on():
            projector.show_step_buttons(number, steps, partial(_go_to_step, lesson.name))
        else:
            _show_step_buttons(lesson, number, open_)


def _show_step(lesson: Lesson, number: int, rooms: Rooms) -> None:
    """Text, question, map; once it is answered, what is so. Raises PatchwrightError."""
    with rooms.map:
        model = topbar.model_if_here(lesson.model)
        if model is None:
            return
        if model.quantization is not None:
            st.caption(topbar.QUANTISED)
        experiment = step_experiment(lesson, number)
        found = progress.result_or_progress(experiment, model, "lesson-job", "cells")
        if found is None or is_stopped(found.warnings):
            return
        result = edges_as_sweep(found)
    step, tried, picked = lesson.steps[number], _attempt_at(lesson, number), ""
    rooms.text.markdown(paragraphs(fill_slots(step.text, result)))
    if step.cell is not None and not right_answers(step, result):
        raise InputError("This step asks for a cell of a map, and no cell of this result is right.")
    if projector.is_on() and step.question is not None:
        tried = Attempt(mark=mark(step, result, ""), shown=projector.is_revealed())
    if step.question is not None:
        st.markdown(f"**{paragraphs(fill_slots(step.question, result))}**")
        picked = "" if tried.over else _ask_prediction(lesson, number, result, tried)
    if tried.over:
        _show_mark(step, result, tried)
        st.markdown(paragraphs(fill_slots(step.reveal or "", result)))
    picks, key = st.session_state.setdefault("picks", {}), _pick_key(lesson, number)
    with rooms.map:
        tries = {**tries_of(lesson), number: tried}
        on_choose = None if projector.is_on() else lambda one: picks.update({key: one})
        lesson_result.show(lesson, number, result, tries, picked, on_choose)
    shown = tried.over or (step.question is None and step.experiment is not None)
    if shown and not projector.is_on():
        lesson_result.show_open_button(experiment, result)


def _pick_key(lesson: Lesson, number: int) -> str:
    return f"pick-{lesson_key(lesson)}-{number}"


def _ask_prediction(lesson: Lesson, number: int, result: Result, tried: Attempt) -> str:
    """What the reader predicts with, the button that checks it, and hints; the picked cell."""
    step, key, picked = lesson.steps[number], _pick_key(lesson, number), None
    if projector.is_on():
        _show_choices(step, tried)
        return ""
    if step.cell is None:
        picked = st.radio(
            "Your prediction",
            range(len(step.choices)),
            index=None,
            key=key,
            format_func=lambda i: escape(step.choices[i].text),
        )
    else:
        picked = st.session_state.get("picks", {}).get(key)
        said = "none yet" if picked is None else lesson_result.place_in_words(picked, result)
        st.markdown(f"Your prediction: **{said}**")
    if tried.answers:
        st.warning("Not quite. Try once more.", icon=":material/replay:")
    for i, hint in enumerate(step.hints[: tried.hints_to_show], 1):
        st.info(f"Hint {i}: {paragraphs(fill_slots(hint, result))}")
    with st.container(horizontal=True):
        st.button(
            "Check answer",
            type="primary",
            disabled=picked is None or picked in tried.answers,
            on_click=_check_answer,
            args=(lesson, number, result, picked),
        )
        left = len(step.hints) - tried.hints_to_show
        if left > 0:
            st.button(
                "One more hint" if tried.hints_to_show else "Give me a hint",
                on_click=_change_attempt,
                args=(lesson, number, {"hints": tried.hints + 1}),
                help=f"{left} left.",
            )
        if tried.answers:
            st.button(
                "Show the answer", on_click=_change_attempt, args=(lesson, number, {"shown": True})
            )
    return str(picked or "") if step.cell is not None else ""


def _check_answer(lesson: Lesson, number: int, result: Result, picked: Answer) -> None:
    step = lesson.steps[number]
    try:
        checked = _attempt_at(lesson, number).with_answer(picked, mark(step, result, picked))
        said = [lesson_result.answer_in_words(step, one, result) for one in checked.answers]
        asked = fill_slots(step.question or "", result)
        tries_of(lesson)[number] = replace(checked, said=tuple(said), asked=asked)
    except PatchwrightError as error:
        st.session_state["complaint"] = error_markdown(error)


def _change_attempt(lesson: Lesson, number: int, fields: dict[str, int]) -> None:
    tries_of(lesson)[number] = replace(_attempt_at(lesson, number), **fields)


def _show_mark(step: Step, result: Result, tried: Attempt) -> None:
    """Right or not, and what would have been."""
    assert tried.mark is not None, "what is over was checked"
    if tried.right:
        st.success(f"{tried.outcome.removeprefix('✓ ')}.", icon=":material/check_circle:")
    elif tried.answers:
        st.error("Not quite. This is the answer:", icon=":material/cancel:")
    if step.cell is None:
        _show_choices(step, tried, tried.mark.answers)
        return
    own = [lesson_result.place_in_words(str(one), result) for one in tried.answers[-1:]]
    predicted = f"You predicted **{own[0]}**. " if own else ""
    st.markdown(f"{predicted}{lesson_result.right_in_words(tried.mark.answers, result)}")


def _show_choices(step: Step, tried: Attempt, right: Sequence[Answer] = ()) -> None:
    """All choices, the right one and the reader's own marked."""
    texts = [escape(one.text) for one in step.choices]
    marked = [f"✓ **{text}**" if i in right else text for i, text in enumerate(texts)]
    own = [" — *your prediction*" if i in tried.answers[-1:] else "" for i in range(len(texts))]
    st.markdown("\n".join(f"- {text}{said}" for text, said in zip(marked, own, strict=True)))


def _show_step_buttons(lesson: Lesson, number: int, open_: bool) -> None:
    """Back, and on: without an answer as well, which is then missing in the score."""
    last = number == len(lesson.steps) - 1
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        st.button(
            "Back", on_click=_go_to_step, args=(lesson.name, number - 1), disabled=number == 0
        )
        st.button(
            "Skip" if open_ else "Finish" if last else "Next",
            type="secondary" if open_ else "primary",
            on_click=_go_to_step,
            args=(lesson.name, number + 1),
        )


def _start_over(lesson: Lesson) -> None:
    tries_of(lesson).clear()
    for number in range(len(lesson.steps)):
        st.session_state.get("picks", {}).pop(_pick_key(lesson, number), None)
    _go_to_step(lesson.name, 0)
