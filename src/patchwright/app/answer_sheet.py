"""A reader's answers to a lesson as files: a page to print, and JSON and CSV to collect."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape

import pandas as pd

from patchwright.app.lesson_progress import Attempt, questions_of, score
from patchwright.errors import printable_text
from patchwright.lessons import Lesson
from patchwright.storage.export import frame_text

MOST_NAME = 100
"""Characters of a name; more is cut off."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
.about { color: #555; margin: 0 0 1rem; }
li { margin-bottom: 1rem; break-inside: avoid; }
.question { font-weight: 600; margin: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: 0.3rem 0; }
dt { color: #555; }
dd { margin: 0; }
@page { margin: 2cm; }
@media print { body { font-size: 11pt; max-width: none; margin: 0; padding: 0; } }
"""


@dataclass(frozen=True)
class Answer:
    """One question, and what the reader made of it."""

    step: int
    question: str
    answers: tuple[str, ...]
    outcome: str
    tries: int
    hints: int


@dataclass(frozen=True)
class Sheet:
    """All of a lesson's questions with one reader's answers; the name may be empty."""

    name: str
    lesson: str
    title: str
    model: str
    date: str
    score: str
    answers: tuple[Answer, ...]


def sheet_of(lesson: Lesson, tries: Mapping[int, Attempt], name: str, date: str) -> Sheet:
    """What a reader did, on this `date`."""
    answers = [
        _answer(number, step.question or "", tries.get(number, Attempt()))
        for number, step in questions_of(lesson).items()
    ]
    words = score(lesson, tries).words.removeprefix("✓ ")
    kept = printable_text(name.strip())[:MOST_NAME]
    return Sheet(kept, lesson.name, lesson.title, lesson.model, date, words, tuple(answers))


def _answer(number: int, question: str, tried: Attempt) -> Answer:
    # Of a question that was never put, the numbers in it are not known.
    asked = tried.asked or re.sub(r"\{[^{}]*\}", "…", question)
    outcome = tried.outcome.lstrip("✓✗ ")
    return Answer(number + 1, asked, tried.said, outcome, len(tried.answers), tried.hints)


def html_of(sheet: Sheet) -> str:
    """A page of its own that needs nothing else, and prints on white paper."""
    who = f"{escape(sheet.name)}, " if sheet.name else ""
    items = "\n".join(f"<li>{_item(one)}</li>" for one in sheet.answers)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{escape(sheet.title)}: answers</title><style>{_STYLE}</style></head>
<body>
<h1>{escape(sheet.title)}</h1>
<p class="about">{who}{escape(sheet.date)}. Read on the model {escape(sheet.model)}. {escape(sheet.score)}</p>
<ol>
{items}
</ol>
</body>
</html>
"""


def _item(one: Answer) -> str:
    said = "; then ".join(map(escape, one.answers)) or "none"
    rows = {
        "Answer": said,
        "Result": escape(one.outcome),
        "Tries": str(one.tries),
        "Hints": str(one.hints),
    }
    facts = "".join(f"<dt>{label}</dt><dd>{text}</dd>" for label, text in rows.items())
    return f'<p class="question">{escape(one.question)}</p><dl>{facts}</dl>'


def json_of(sheet: Sheet) -> str:
    """The same for programs."""
    return json.dumps(asdict(sheet), ensure_ascii=False, indent=2) + "\n"


def csv_of(sheet: Sheet) -> str:
    """One line a question, with reader and lesson in each: files of a class can be joined."""
    about = {name: getattr(sheet, name) for name in ("name", "lesson", "model", "date")}
    rows = [
        {
            **about,
            "step": one.step,
            "question": one.question,
            "answer": "; then ".join(one.answers),
            "result": one.outcome,
            "tries": one.tries,
            "hints": one.hints,
        }
        for one in sheet.answers
    ]
    return frame_text(pd.DataFrame(rows))
