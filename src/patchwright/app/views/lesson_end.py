"""The end of a lesson: how it went, question by question, and the answers as files."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

import streamlit as st

from patchwright.app.answer_sheet import Sheet, csv_of, html_of, json_of, sheet_of
from patchwright.app.lesson_progress import Attempt, Score, questions_of, score
from patchwright.app.resources import lessons
from patchwright.app.views.file_button import file_button
from patchwright.lessons import Lesson

FILES: dict[str, tuple[str, str, Callable[[Sheet], str]]] = {
    "Save my answers": ("html", "text/html", html_of),
    "CSV": ("csv", "text/csv", csv_of),
    "JSON": ("json", "application/json", json_of),
}
"""What can be saved, with its file's ending and kind."""


def show(
    lesson: Lesson,
    tries: Mapping[int, Attempt],
    go: Callable[[str, int], None],
    again: Callable[[], None],
) -> None:
    """What came of the lesson; `go` leads to a step of a lesson, `again` to a new start."""
    found = score(lesson, tries)
    st.subheader("How it went", anchor=False)
    counts = {
        "Right at once": f"{found.at_once} of {found.asked}",
        "Right at the second try": found.second,
        "Right with hints": found.with_hints,
        "Not answered": found.asked - found.answered,
    }
    for column, (label, count) in zip(st.columns(len(counts)), counts.items(), strict=True):
        column.metric(label, count)
    for number in questions_of(lesson):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(f"Look at step {number + 1}", on_click=go, args=(lesson.name, number))
            st.markdown(tries.get(number, Attempt()).outcome)
    st.markdown(_verdict(found))
    _show_files(lesson, tries)
    names = list(lessons().lessons)
    following = names[names.index(lesson.name) + 1 :] if lesson.name in names else []
    with st.container(horizontal=True):
        if following:
            st.button("Next lesson", type="primary", on_click=go, args=(following[0], 0))
        st.button("Take it again", on_click=again, help="Forgets your answers.")


def _verdict(found: Score) -> str:
    if not found.answered:
        return "You have not answered a question yet: begin with the first step."
    if not found.done:
        return "You can still answer the questions that are left."
    if found.at_once == found.asked:
        return "Every prediction was right at once."
    return "A prediction that failed is worth a second look: open its experiment and change it."


def _show_files(lesson: Lesson, tries: Mapping[int, Attempt]) -> None:
    """A field for the reader's name, and one button a file."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Your name",
            key="answers-name",
            width=240,
            placeholder="optional",
            help="It is written only into the files. The server keeps neither your name nor your answers.",
        )
        sheet = sheet_of(lesson, tries, name, f"{datetime.now(UTC):%Y-%m-%d}")
        for label, (ending, kind, text_of) in FILES.items():
            file_button(
                label,
                partial(text_of, sheet),
                f"{lesson.name}-answers.{ending}",
                kind,
                f"answers-{ending}",
                icon=":material/print:" if ending == "html" else None,
                help="A page to print or to keep." if ending == "html" else "To collect answers.",
            )
