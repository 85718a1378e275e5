"""Words of the field, each defined in one line where it stands."""

import re
from html import escape

TERMS = {
    "layer": "One of the steps that a model takes after another; each adds something to what it knows of every token.",
    "head": "A part of a layer that looks back at earlier tokens and copies something from them.",
    "token": "A piece of text that the model reads as one: a word, or a part of one.",
    "position": "The place of a token in the prompt, counted from 0.",
    "gap": "How far the two prompts' answers are apart; effects are shares of it.",
    "cell": "One place inside the model, and what happens if it alone is changed.",
    "inner state": "Numbers that the model computes on its way from the prompt to the answer (activations).",
    "model": "A program that has learned from text to say which token comes next.",
    "clean prompt": "Prompt A, which the model answers rightly.",
    "corrupted": "Prompt B, the same with a word changed, so that the answer changes.",
    "sufficient": "Enough by itself to bring the answer back.",
    "necessary": "Without it the answer is lost.",
}
"""What each word means, for who has never heard of it."""

_WORD = re.compile(rf"\b({'|'.join(sorted(TERMS, key=len, reverse=True))})(s?)\b")
_TAG = re.compile(r"(<[^>]*>)")


def with_definitions(html: str) -> str:
    """The same HTML with a definition behind each term, where it stands first."""
    seen: set[str] = set()

    def mark(found: re.Match[str]) -> str:
        term = found[1]
        if term in seen:
            return found[0]
        seen.add(term)
        return f'<span class="pw-term" tabindex="0" data-definition="{escape(TERMS[term])}">{found[0]}</span>'

    parts = _TAG.split(html)
    inside_code = False
    for i, part in enumerate(parts):
        if i % 2:
            inside_code = part == "<code>" if part in ("<code>", "</code>") else inside_code
        elif not inside_code:
            parts[i] = _WORD.sub(mark, part)
    return "".join(parts)
