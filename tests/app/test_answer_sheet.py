"""A reader's answers as files: what stands in them, and that nothing typed acts in them."""

import csv
import io
import json
from html.parser import HTMLParser

from patchwright.app.answer_sheet import csv_of, html_of, json_of, sheet_of
from patchwright.app.lesson_progress import Attempt
from patchwright.lessons import Mark, built_in_lessons

LESSON = built_in_lessons()[0]
WRONG, RIGHT = Mark(False, (1,)), Mark(True, (1,))
NAME = "<script>alert(1)</script> & =1+1"
TRIES = {
    0: Attempt(1, asked="Which is first?", said=("Paris", "<b>x</b>"))
    .with_answer(0, WRONG)
    .with_answer(1, RIGHT),
    1: Attempt(said=("=Rome",), asked="How probable?").with_answer(0, WRONG),
}


class Tags(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_every_question_answer_and_outcome_and_no_markup_of_a_reader() -> None:
    found = Tags(html_of(sheet_of(LESSON, TRIES, NAME, "2026-11-26")))
    assert not {"script", "b", "link", "img"} & set(found.tags)
    assert found.tags.count("li") == 3
    for text in (LESSON.title, NAME, "2026-11-26", "Which is first?", "Paris; then <b>x</b>"):
        assert text in found.text
    assert "Right at the second try with 1 hint" in found.text
    assert str(LESSON.steps[2].question) in found.text, "a question that was skipped is there too"


def test_the_page_prints_on_white_and_tears_no_question_apart() -> None:
    page = html_of(sheet_of(LESSON, TRIES, "", "2026-11-26"))
    assert "@media print" in page
    assert "break-inside: avoid" in page
    assert "http" not in page, "it needs nothing from elsewhere"


def test_json_and_csv_have_the_same_answers() -> None:
    sheet = sheet_of(LESSON, TRIES, NAME, "2026-11-26")
    given = json.loads(json_of(sheet))
    rows = list(csv.DictReader(io.StringIO(csv_of(sheet))))
    assert (given["name"], given["lesson"], given["score"]) == (
        NAME,
        LESSON.name,
        "1 of 3 questions answered.",
    )
    assert [one["outcome"] for one in given["answers"]] == [row["result"] for row in rows]
    assert [row["result"] for row in rows] == [
        "Right at the second try with 1 hint",
        "Left open after a wrong answer",
        "Not answered",
    ]
    assert [(row["tries"], row["hints"]) for row in rows] == [("2", "1"), ("1", "0"), ("0", "0")]


def test_no_text_is_a_formula_in_a_spreadsheet() -> None:
    rows = csv_of(sheet_of(LESSON, TRIES, "=HYPERLINK(1)", "2026-11-26")).splitlines()
    assert all(row.startswith("'=HYPERLINK(1),") for row in rows[1:])
    assert ",'=Rome," in rows[2]


def test_a_number_that_is_not_known_yet_is_left_open_in_a_question() -> None:
    fourth = built_in_lessons()[3]
    questions = [one.question for one in sheet_of(fourth, {}, "", "2026-11-26").answers]
    assert questions[1].startswith("Besides …, three heads")
