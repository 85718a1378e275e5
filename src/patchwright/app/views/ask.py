"""The dialog that makes a lesson of the map that a person sees: a file, and an address."""

from functools import partial
from urllib.parse import urlencode

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import asked_question, url_state
from patchwright.app.text import error_markdown
from patchwright.app.views import lesson_result
from patchwright.app.views.file_button import file_button
from patchwright.errors import InputError, PatchwrightError
from patchwright.lessons import Lesson, check_lesson
from patchwright.lessons.cells import edges_as_sweep
from patchwright.lessons.from_map import lesson_yaml, make_lesson, no_answer_text, proposed_question
from patchwright.lessons.grading import right_answers
from patchwright.methods import METHODS


def show_button(result: Result, key: str = "open-ask") -> None:
    """The button that opens the dialog, where a question can be asked of the map."""
    if st.session_state["page"] not in asked_question.PAGES:
        return
    if st.button("Ask this as a question", icon=":material/quiz:", key=key):
        _show_dialog(result)


@st.dialog("Ask this as a question", width="large")
def _show_dialog(result: Result) -> None:
    experiment = METHODS.parse(result.experiment)
    question = st.text_area(
        "Question", proposed_question(experiment), key="ask-question", height="content"
    )
    right = st.empty()
    explanation = st.text_area(
        "Explanation",
        key="ask-explanation",
        height=90,
        placeholder="What the reader learns once the answer is shown",
    )
    try:
        lesson = make_lesson(experiment, question, explanation)
        answers = _right_answer_text(lesson, result)
        right.caption(
            "The reader picks a cell of the empty map. Which one is right is computed, so you need not "
            f"type it. {answers}"
        )
        now = st.session_state
        _show_link_and_file(
            lesson, asked_question.question_fields(question, explanation, now, experiment)
        )
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _right_answer_text(lesson: Lesson, result: Result) -> str:
    """The right cells, in words. Raises InputError with what the checker of lessons says of it."""
    faults = check_lesson(lesson, lambda _: result)
    if any("does not hold" in one or "cells are right" in one for one in faults):
        raise InputError(no_answer_text(METHODS.parse(result.experiment)))
    if faults:
        raise InputError(faults[0].split(": ", 1)[-1])
    seen = edges_as_sweep(result)
    return lesson_result.right_in_words(right_answers(lesson.steps[0], seen), seen)


def _show_link_and_file(lesson: Lesson, fields: dict[str, str]) -> None:
    """The question's address and its file."""
    asked_question.lesson_from_fields(fields)  # raises what its address would say
    fits = url_state.is_short_enough(fields)
    here = (st.context.url or "").rstrip("/").removesuffix("/" + st.session_state["page"])
    address = f"{here}/learn?{urlencode({name: text for name, text in fields.items() if text})}"
    if fits:
        st.caption("Whoever opens this address on this server answers the question:")
        st.code(address, language=None, wrap_lines=True)
    else:
        st.caption("This question is too long for an address: hand out its file.")
    with st.container(horizontal=True):
        file_button(
            "Lesson file",
            partial(lesson_yaml, lesson),
            f"{lesson.name}.yaml",
            "application/yaml",
            "take-lesson",
            icon=":material/download:",
            help="For a folder that the page was started with: `patchwright app --lessons FOLDER`.",
        )
        if fits:
            st.link_button("Open the question", address, icon=":material/open_in_new:")
