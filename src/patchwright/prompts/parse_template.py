"""A template as it is typed: words of slots and what changes, each as `NAME=…`."""

from collections.abc import Iterable, Sequence

from patchwright.errors import InputError
from patchwright.prompts.templates import Template


def parse_template(
    text: str,
    slots: Iterable[str],
    swaps: Iterable[str],
    answer: Sequence[str],
    wrong: Sequence[str],
    names: tuple[str, str] = ("slot", "swap"),
) -> Template:
    """The template of `A=Mary,John` (forms behind slashes) and `S={B}`; swaps are as `S={A}`.

    `names` are what an error calls a slot and a swap. Raises InputError for a line
    without `=`, PromptError for a template that makes no sense.
    """
    return Template.of(
        {
            "text": text,
            "slots": {
                name: _parse_words(words) for name, words in _split_assignments(slots, names[0])
            },
            "corrupt": dict(_split_assignments(swaps, names[1])),
            "answer": answer,
            "wrong": wrong,
        }
    )


def _split_assignments(given: Iterable[str], what: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for text in filter(str.strip, given):
        name, equals, words = text.partition("=")
        if not equals:
            raise InputError(f"{what} '{text}': write a slot and what it gets, as in A=Mary,John.")
        found.append((name.strip(), words))
    return found


def _parse_words(text: str) -> str | list[str | list[str]]:
    """'Mary,John' as words, 'key/keys,dog/dogs' with their forms; '{B}' is another slot."""
    if "{" in text:
        return text
    words = [word.strip().split("/") for word in text.split(",") if word.strip()]
    return [word[0] if len(word) == 1 else word for word in words]
