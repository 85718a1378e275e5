"""What a user typed, shown as text where Streamlit would read Markdown."""

import html
import logging
import re
import string

from patchwright.app import resources
from patchwright.errors import PatchwrightError, printable_text
from patchwright.prompts.tokens import visible

_log = logging.getLogger(__name__)

BREAK = ":small[]"
"""A directive around nothing: Streamlit puts an empty element there, and nothing can be copied."""

# Streamlit looks for arrows, icons and links after escapes are gone, as in `->`, `:smile:`,
# `www.` and `a@b.c`, in each piece of text by itself: an empty element makes them two pieces.
_MARKDOWN_TRIGGERS = re.compile(
    r"[-<>~](?=[-=>])|:(?=[\w+-])|@(?=[-\w]+\.)|www(?=\.)|https?(?=://)", re.IGNORECASE
)
_ESCAPES = str.maketrans({mark: f"\\{mark}" for mark in string.punctuation})


_PAGE_HINTS = {
    r"`patchwright places --model [^`]*` lists its places\.": "The maps and lists on this page "
    "have those that there are.",
    r"`patchwright tokens` shows them\.": "The chips under the prompts show them.",
    r"`patchwright models` lists names that work": "The list at the top has names that work",
    r"fetch it with `patchwright models get [^`]*`": "choose it at the top, which offers to fetch it",
    r"`patchwright runs list` has them": "The Library has them",
    r"`patchwright runs prune`": "delete some in the Library",
    r"\(`patchwright runs delete [^`]*`\)": "in the Library",
    r"`patchwright runs export` wrote": "the Library exported",
}
"""What to do on the page in place of a command, by what the command's hint says."""


def error_markdown(error: Exception) -> str:
    """What went wrong, as Markdown that shows text, with the way out that the page offers."""
    return escape(error_text(error))


def error_text(error: Exception) -> str:
    """The same in words, for what takes text and no Markdown.

    Only the owner of the server reads of its paths; its log has the rest for them.
    """
    said = str(error)
    if (
        isinstance(error, PatchwrightError)
        and error.public != said
        and not resources.options().allow_edits
    ):
        _log.warning("%s", said)
        said = error.public
    for hint, instead in _PAGE_HINTS.items():
        said = re.sub(hint, instead, said)
    return said


def escape(text: str) -> str:
    """A sentence of ours, escaped as `escape_typed` does it, with the signs for spaces as spaces again."""
    return escape_typed(text.replace("·", " "))


def sentence_markdown(text: str) -> str:
    """A sentence of ours, as `escape`d text; the tokens between its backticks as code."""
    parts = _CODE.split(text)
    return "".join(f"`{visible(one)}`" if i % 2 else escape(one) for i, one in enumerate(parts))


def sentence_html(text: str) -> str:
    """The same as HTML."""
    parts = [html.escape(visible(one) if i % 2 else one) for i, one in enumerate(_CODE.split(text))]
    return "".join(f"<code>{one}</code>" if i % 2 else one for i, one in enumerate(parts))


_CODE = re.compile("`([^`\n]+)`")


def escape_typed(text: str) -> str:
    """What somebody typed: marks that Markdown could act on escaped, control characters visible."""
    return _escape_markdown("  \n".join(printable_text(line) for line in text.split("\n")))


def paragraphs(text: str) -> str:
    """A text of several lines, escaped; only an empty line begins a new paragraph.

    Marks that stand for spaces and line ends stay, as in a token's.
    """
    parts = [part.split() for part in re.split(r"\n\s*\n", text.strip())]
    return "\n\n".join(
        _escape_markdown(" ".join(printable_text(word) for word in words)) for words in parts
    )


def token_markdown(text: str) -> str:
    """A token with its spaces visible, escaped."""
    return _escape_markdown(visible(text))


def _escape_markdown(text: str) -> str:
    pieces = _MARKDOWN_TRIGGERS.sub(
        lambda found: found[0] + "\0", text
    )  # no visible text has this character
    return pieces.translate(_ESCAPES).replace("\0", BREAK)
