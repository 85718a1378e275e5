"""What a user typed, shown as text where Streamlit would read Markdown."""

import re
import string

from patchwright.prompts.tokens import visible

# Streamlit looks for arrows, icons and links after escapes are gone, as in `->`, `:smile:`,
# `www.` and `a@b.c`: a word joiner, which is not seen, keeps their letters apart.
_JOINER = "\u2060"
_ACTS = re.compile(r"[-<>~:@]|www", re.IGNORECASE)
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in string.punctuation})


def plain(text: str) -> str:
    """`text` with every mark that Markdown could act on escaped, its control characters visible."""
    lines = [visible(line).replace("·", " ") for line in text.split("\n")]
    return _inert("  \n".join(lines))


def token(text: str) -> str:
    """A token with its spaces visible, escaped."""
    return _inert(visible(text))


def _inert(text: str) -> str:
    return _ACTS.sub(lambda found: found[0] + _JOINER, text).translate(_MARKS)
