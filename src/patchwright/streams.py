"""Standard streams: text that their encoding lacks, and streams that cannot be written to."""

import codecs
import os
import sys
from io import TextIOWrapper
from typing import TextIO

ERROR_HANDLER = "patchwright.replace"
"""The name under which `codecs` knows how a missing character is replaced."""

_REPLACEMENTS = {
    "·": "_",
    "↵": r"\n",
    "→": "->",
    "←": "<-",
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "…": "...",
    "σ": "sigma",
    "Δ": "delta",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "✓": "ok",
    "✗": "no",
    "\u00a0": " ",
    "\u202f": " ",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}


def encodable_text(text: str, encoding: str) -> str:
    """`text` with what `encoding` lacks replaced by ASCII: `·` is `_`, another character its number."""
    return text.encode(encoding, ERROR_HANDLER).decode(encoding)


def prepare_streams() -> None:
    """Let standard output and error take any text; one that is closed takes it and drops it."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=ERROR_HANDLER)


def mute(stream: TextIO) -> None:
    """Drop what is still to be written, so that Python does not complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _replace_missing(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_REPLACEMENTS.get(one, f"<U+{ord(one):04X}>") for one in missing), error.end


codecs.register_error(ERROR_HANDLER, _replace_missing)
