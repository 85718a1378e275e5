"""A reader's answers as files, at the end of a lesson."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import streamlit as st

from patchwright.app.answer_sheet import Sheet, csv_of, html_of, json_of, sheet_of
from patchwright.app.lesson_progress import Attempt
from patchwright.lessons import Lesson

FILES: dict[str, tuple[str, str, Callable[[Sheet], str]]] = {
    "Save my answers": ("html", "text/html", html_of),
    "CSV": ("csv", "text/csv", csv_of),
    "JSON": ("json", "application/json", json_of),
}
"""What can be saved, with its file's ending and kind."""


def offered(lesson: Lesson, tries: Mapping[int, Attempt]) -> None:
    """A field for the reader's name, and one button a file."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Your name",
            key="answers-name",
            width=240,
            placeholder="optional",
            help="It stands only in the files. The server keeps neither it nor your answers.",
        )
        sheet = sheet_of(lesson, tries, name, f"{datetime.now(UTC):%Y-%m-%d}")
        for label, (ending, kind, text_of) in FILES.items():
            st.download_button(
                label,
                text_of(sheet),
                f"{lesson.name}-answers.{ending}",
                kind,
                icon=":material/print:" if ending == "html" else None,
                help="A page to print or to keep." if ending == "html" else "To collect answers.",
                on_click="ignore",
            )
