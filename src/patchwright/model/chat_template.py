"""Chat templates: programs in Jinja that come with a tokenizer and write messages as one text.

Transformers runs them in a sandbox (no attributes of Python's own, ranges of at most 100,000).
Here they also have a fixed date and a time limit.
"""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from types import FrameType
from typing import Any

from transformers import PreTrainedTokenizerBase

SECONDS = 5.0
"""That a template may take: an ordinary one takes thousandths of one."""

MOST_WRITTEN = 500_000
"""Characters that a template may write: more than any model's context."""

_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}"
    "{%- set written = namespace(text=format) -%}"
    "{%- for code, value in date_codes.items() -%}"
    "{%- set written.text = written.text | replace(code, value) -%}"
    "{%- endfor -%}"
    "{{- written.text -}}"
    "{%- endmacro %}\n"
)
"""Stands before every template, in the place of Transformers' `strftime_now`, which reads the clock.

Transformers hands only plain data to a template, no function; the line end is taken off with the
block, so that the template begins where it began."""


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    date: Mapping[str, str],
) -> str:
    """What the tokenizer's template writes for `messages`.

    `date` says what each code of `strftime` gives. A last message of the assistant's is left open,
    to be continued; behind any other the assistant's turn is begun. Raises whatever the template
    raises, ValueError for one that writes too much or takes too long.
    """
    continued = messages[-1]["role"] == "assistant"
    with _time_limit(SECONDS):
        written: Any = tokenizer.apply_chat_template(
            [dict(one) for one in messages],
            chat_template=_FIXED_DATE + tokenizer.get_chat_template(),
            add_generation_prompt=not continued,
            continue_final_message=continued,
            tokenize=False,
            date_codes=dict(date),
            date_string=f"{date['%d']} {date['%b']} {date['%Y']}",
        )
    if len(written) > MOST_WRITTEN:
        raise ValueError(f"it writes {len(written):,} characters")
    return written


@contextmanager
def _time_limit(seconds: float) -> Generator[None]:
    """Raise ValueError in a template that has not ended after `seconds`, in whatever loop it is."""
    end, before = perf_counter() + seconds, sys.gettrace()

    def watch(frame: FrameType, event: str, argument: object) -> Any:
        if perf_counter() > end:
            raise ValueError(f"it takes more than {seconds:g} seconds")
        # Jinja compiles a template to Python, whose lines are watched; of other code only calls are.
        return watch if frame.f_code.co_filename == "<template>" else None

    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)
