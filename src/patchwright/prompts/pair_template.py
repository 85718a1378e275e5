"""A pair -> templates that it is an instance of: a built-in one, or its own sentence with slots."""

import re
from collections.abc import Callable, Iterator, Sequence

from patchwright.prompts.align import differing_range
from patchwright.prompts.builtin_templates import Task, tasks, word_kinds
from patchwright.prompts.pair import Pair
from patchwright.prompts.templates import (
    SLOT,
    Filling,
    Form,
    Template,
    Word,
    as_tuple,
    fill_template,
)
from patchwright.prompts.tokens import Tokenizer, encode, encode_inside

CHANGED = "changed"
"""The slot of the words in which the two prompts differ."""

Alike = Callable[[str, str], Sequence[Word]]
"""Words of the same kind as one that stands after a text, itself among them; none where it stays."""

_WORD = re.compile(r"[^\W\d_]+")


def fitting_task(pair: Pair) -> Task | None:
    """The built-in template that has this pair among its own, with the one text that it is of."""
    for task in tasks():
        for text in task.template.texts:
            filling = _find_filling(task.template, text, pair)
            made = None if filling is None else fill_template(task.template, text, filling)
            if made is not None and _is_same_pair(made, pair):
                return Task(task.name, task.title, task.template.model_copy(update={"text": text}))
    return None


def _is_same_pair(made: Pair, pair: Pair) -> bool:
    """Whether a template's pair has these prompts, and these among its answers."""
    prompts = (made.clean, made.corrupt) == (pair.clean, pair.corrupt)
    return (
        prompts and set(pair.answers) <= set(made.answers) and set(pair.wrongs) <= set(made.wrongs)
    )


def _find_filling(template: Template, text: str, pair: Pair) -> Filling | None:
    """The words that make both prompts of one of a template's texts; None where none do."""
    found: dict[str, tuple[Form, ...]] = {}
    for prompt, changed in ((pair.clean, {}), (pair.corrupt, template.corrupt)):
        aliases = {name: words for name, words in template.slots.items() if isinstance(words, str)}
        source = _replace_slots(_replace_slots(text, changed), aliases)
        slots = [(one[1], int(one[2] or 0)) for one in SLOT.finditer(source)]
        parts = [re.escape(one) for one in re.split(SLOT.pattern, source)[::3]]
        for i, (name, form) in enumerate(slots):
            words = {str(row[form]) for row in template.lists[name]}
            longest = sorted(map(re.escape, words), key=len, reverse=True)
            parts[i + 1] = f"({'|'.join(longest)}){parts[i + 1]}"
        match = re.fullmatch("".join(parts), str(prompt))
        if match is None:
            return None
        for (name, form), word in zip(slots, match.groups(), strict=True):
            row = next(row for row in template.lists[name] if row[form] == word)
            if found.setdefault(name, row) != row:
                return None
    return found if set(found) == set(template.lists) else None


def _replace_slots(text: str, by: dict[str, str]) -> str:
    """`text` with other text in the place of some slots."""
    return SLOT.sub(lambda one: by.get(one[1], one[0]), text)


def templates_of_pair(
    pair: Pair, alike: Alike, tokenizer: Tokenizer | None, together: bool
) -> Iterator[tuple[Template, list[str]]]:
    """The pair's own sentence with slots for the words that have others `alike`, and these words.

    `together` in one template, else in one each.
    """
    clean, corrupt = str(pair.clean), str(pair.corrupt)
    texts = (clean, corrupt, *map(str, pair.answers), *map(str, pair.wrongs))
    if any(SLOT.search(one) for one in texts):
        return  # A template would read what somebody typed in braces as a slot.
    words: dict[str, Sequence[Word]] = {}
    for text in (clean, corrupt):
        for before, word in _words(text):
            forms = {form for rows in words.values() for form in _first_word_forms(rows)}
            if word not in forms and len(rows := alike(word, before)) > 1:
                words[word] = rows
    for some in [list(words)] if together and words else [[one] for one in words]:
        yield _build_template(pair, {one: words[one] for one in some}, tokenizer), some


def _words(text: str) -> Iterator[tuple[str, str]]:
    """What stands before each word, and the word; two words in a row before the first of them."""
    found = list(_WORD.finditer(text))
    for i, one in enumerate(found):
        if i + 1 < len(found) and text[one.end() : found[i + 1].start()] == " ":
            yield text[: one.start()], text[one.start() : found[i + 1].end()]
        yield text[: one.start()], one[0]


def _first_word_forms(rows: Sequence[Word]) -> Iterator[str]:
    """All forms of the first of some words."""
    for form in as_tuple(rows[0]):
        yield from as_tuple(form)


def _build_template(
    pair: Pair, words: dict[str, Sequence[Word]], tokenizer: Tokenizer | None
) -> Template:
    """The pair's sentence with a slot for each of `words`, and one for what differs."""
    expressions: dict[str, str] = {}
    lengths: dict[str, int] = {}
    slots: dict[str, str | tuple[Word, ...]] = {}
    for i, (word, rows) in enumerate(words.items()):
        name = word.replace(" ", "_")
        name = name if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) else f"word{i + 1}"
        slots[name] = tuple(rows)
        for form, texts in enumerate(as_tuple(rows[0])):
            for text in as_tuple(texts):
                expressions.setdefault(text, f"{{{name}.{form}}}" if form else f"{{{name}}}")
        begins = str(pair.clean).startswith(word)
        lengths[name] = len(
            encode(word, tokenizer) if begins else encode_inside(" " + word, tokenizer)
        )
    before, changed, other, behind = _split_at_difference(str(pair.clean), str(pair.corrupt))
    text = f"{_insert_slots(before, expressions)}{{{CHANGED}}}{_insert_slots(behind, expressions)}"
    alias = _insert_slots(changed, expressions)
    if (one := SLOT.fullmatch(alias)) is not None:
        lengths[CHANGED] = lengths[one[1]]
    return Template.of(
        {
            "text": text,
            "slots": {**slots, CHANGED: alias},
            "corrupt": {CHANGED: _insert_slots(other, expressions)},
            "answer": [_insert_slots(str(one), expressions) for one in pair.answers],
            "wrong": [_insert_slots(str(one), expressions) for one in pair.wrongs],
            "tokens": lengths,
        }
    )


def _split_at_difference(clean: str, corrupt: str) -> tuple[str, str, str, str]:
    """What both begin with, in whole words; what differs in each; what both end with."""
    one, other = (re.findall(r"[^\W\d_]+|.", text, re.DOTALL) for text in (clean, corrupt))
    span = differing_range(one, other)
    end = len(one) - span.stop
    changed, to = ("".join(some[span.start : len(some) - end]) for some in (one, other))
    return "".join(one[: span.start]), changed, to, "".join(one[span.stop :])


def _insert_slots(text: str, expressions: dict[str, str]) -> str:
    """`text` with slots in the place of words, the longest first."""
    if text in expressions:
        return expressions[text]
    ordered = sorted(expressions, key=len, reverse=True)
    pattern = "|".join(rf"(?<!\w){re.escape(one)}(?!\w)" for one in ordered)
    return re.sub(pattern, lambda one: expressions[one[0]], text)


def builtin_alike(pair: Pair) -> Alike:
    """Words that built-in templates hold alike; of several kinds the one that brings an answer along."""
    answers = {str(one).strip() for one in (*pair.answers, *pair.wrongs)}

    def alike(word: str, before: str) -> Sequence[Word]:
        del before
        found = [rows for one in word_kinds() if (rows := _with_word_first(word, one))]
        explains = (
            rows
            for rows in found
            if answers & {one.strip() for one in _first_word_forms(rows)} - {word}
        )
        return next(explains, found[0] if found else ())

    return alike


def _with_word_first(word: str, kind: Sequence[Word]) -> list[Word]:
    """A kind with this word first; nothing where it is none of them."""
    rows = list(map(as_tuple, kind))
    own = next((row for row in rows if row[0] == word), None)
    return [] if own is None else [own, *(row for row in rows if row != own)]
