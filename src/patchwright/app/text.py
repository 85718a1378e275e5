"""What a user typed, shown as text where Streamlit would read Markdown."""

import string

from patchwright.prompts.tokens import visible

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in string.punctuation})


def plain(text: str) -> str:
    """`text` with every mark that Markdown could act on escaped, its control characters visible."""
    lines = [visible(line).replace("·", " ") for line in text.split("\n")]
    return "  \n".join(lines).translate(_MARKS)


def token(text: str) -> str:
    """A token with its spaces visible, escaped."""
    return visible(text).translate(_MARKS)
