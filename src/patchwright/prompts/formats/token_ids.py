"""Answers that are numbers of a tokenizer's tokens, as in the CSV files of EAP-IG."""

from collections.abc import Iterator

from patchwright.errors import RecordError
from patchwright.prompts.formats.format import (
    Convert,
    Record,
    Row,
    Source,
    field_values,
    texts_of_ids,
)

ANSWERS = (
    ("correct_idx", "incorrect_idx"),
    ("clean_answer_idx", "corrupted_answer_idx"),
    ("country_idx", "corrupted_country_idx"),
    ("answers_idx", "corrupted_answers_idx"),
)
"""Columns of the answers and the wrong answers, by task."""


def eap(source: Source) -> Convert:
    """Each number becomes the text of its token. Raises InputError where nobody says whose it is."""

    def convert(record: Record) -> Iterator[Row]:
        found = [both for both in ANSWERS if all(record.get(one) is not None for one in both)]
        if not found:
            raise RecordError(f"The record has no answers, such as '{ANSWERS[0][0]}'.")
        right, wrong = found[0]
        tokenizer = source.ids_tokenizer(record)
        yield {
            "clean": record.get("clean"),
            "corrupt": record.get("corrupted"),
            "answer": texts_of_ids(field_values(record, right), tokenizer),
            "wrong": texts_of_ids(field_values(record, wrong), tokenizer),
        }

    return convert
