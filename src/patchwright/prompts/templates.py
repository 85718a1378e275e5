"""Templates: a sentence with slots and lists of words -> many pairs of one token length.

In `"When {A} and {B} went to the {PLACE}, {S} gave a {OBJECT} to"` every slot has a
list of words, or stands for others, as `S` for `"{B}"`. `corrupt` says what stands at
a slot in the corrupted prompt, as `{"S": "{A}"}`; `answer` and `wrong` are texts with
slots, as `" {A}"`. A word may bring others with it: of the row `("France", "Paris")`
`{COUNTRY}` is the first and `{COUNTRY.1}` the second, which may also be a list (of
answers). No two slots of a pair have the same word.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, product
from math import prod
from operator import index
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from patchwright.errors import PromptError
from patchwright.prompts.pair import Pair
from patchwright.prompts.roles import Role
from patchwright.prompts.tokens import Tokenizer, encode, encode_inside, visible

_One = TypeVar("_One")
Form = str | tuple[str, ...]
Word = str | tuple[Form, ...]
Filling = Mapping[str, tuple[Form, ...]]
"""Slot -> the word that was drawn for it, with what it brings along."""

MOST_ENUMERATED = 20_000
"""Combinations that are gone through one by one; of more, some are drawn."""

SAMPLED_FILLINGS = 100
"""Combinations whose tokens are counted to know how long a template's prompts are."""

SLOT = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)(?:\.(\d{1,3}))?\}", re.ASCII)


class Template(BaseModel):
    """A sentence, or several, with slots; see the module.

    `tokens` says how many tokens a slot's words take: one each, unless said. The roles
    of its pairs are the slots; a slot that comes again has the role `A#2`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | tuple[str, ...]
    slots: dict[str, str | tuple[Word, ...]]
    corrupt: dict[str, str]
    answer: str | tuple[str, ...]
    wrong: str | tuple[str, ...] = ()
    tokens: dict[str, int] = {}

    @classmethod
    def of(cls, document: Any) -> Self:
        """The template that JSON describes. Raises PromptError with what is wrong."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"][:2])
            what = first["msg"].removeprefix("Value error, ")
            told = f"field '{where}': {what}" if where else what
            raise PromptError(f"The template cannot be used: {told}.") from error

    @property
    def texts(self) -> tuple[str, ...]:
        """`text`, as a list always."""
        return as_tuple(self.text)

    @property
    def lists(self) -> dict[str, list[tuple[Form, ...]]]:
        """The slots that have words of their own, each word with what it brings along."""
        return {
            name: [as_tuple(word) for word in words]
            for name, words in self.slots.items()
            if not isinstance(words, str)
        }

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, words in self.lists.items():
            if not words or not all(
                word and isinstance(word[0], str) and word[0] for word in words
            ):
                raise ValueError(f"the slot {{{name}}} needs a list of words")
        if not self.corrupt:
            raise ValueError('say in \'corrupt\' which slot changes, as in {"S": "{A}"}')
        for name in (*self.corrupt, *self.tokens):
            if name not in self.slots:
                raise ValueError(f"{{{name}}} changes or is counted, but no such slot is defined")
        for text in (one for one in self.slots.values() if isinstance(one, str)):
            self._check_text(text, list(self.lists))
        for text in (*self.texts, *self.corrupt.values()):
            self._check_text(text, list(self.slots))
        for text in (*as_tuple(self.answer), *as_tuple(self.wrong)):
            self._check_text(text, list(self.slots), lists=True)
        return self

    def _check_text(self, text: str, allowed: list[str], lists: bool = False) -> None:
        """Raise ValueError for slots that have no words, or none that a text can take."""
        for match in SLOT.finditer(text):
            name, form = match[1], int(match[2] or 0)
            if name not in allowed:
                known = ", ".join(f"{{{one}}}" for one in allowed)
                raise ValueError(f"'{text}' has the slot {{{name}}}: those with words are {known}")
            for word in self.lists.get(name, [("",)]):
                if form >= len(word):
                    raise ValueError(f"'{text}' has {match[0]}, and '{word[0]}' has no such form")
                if not lists and not isinstance(word[form], str):
                    raise ValueError(f"'{text}' has {match[0]}, a list, which only answers take")


def from_template(
    template: Template, count: int, tokenizer: Tokenizer | None, seed: int = 0
) -> list[Pair]:
    """`count` different pairs, all of one token length; the same seed gives the same pairs.

    Words with another number of tokens than their slot takes are skipped, and so are answers of
    several tokens. Raises PromptError if the words give fewer pairs, and says how many.
    """
    found = list(sample_pairs(template, count, tokenizer, seed))
    if len(found) < count:
        raise PromptError(_too_few_message(count, len(found), template, tokenizer))
    return found


def sample_pairs(
    template: Template, count: int, tokenizer: Tokenizer | None, seed: int = 0
) -> Iterator[Pair]:
    """The pairs of `from_template` as they are drawn; as many as the words give where these are fewer."""
    if count < 1:
        raise PromptError(f"{count} pairs were asked for: ask for at least 1.")
    if seed < 0:
        raise PromptError(f"A seed of {seed}: give a whole number of 0 or more.")
    words = _usable_words(template, tokenizer)
    length = _prompt_length(template, words, tokenizer)
    found: set[Pair] = set()
    for text, filling in _fillings(template.texts, words, count, random.Random(index(seed))):
        pair = fill_template(template, text, filling)
        if pair is not None and pair not in found and _fits(pair, length, tokenizer):
            found.add(pair)
            yield pair
        if len(found) == count:
            return


def _too_few_message(
    count: int, found: int, template: Template, tokenizer: Tokenizer | None
) -> str:
    words = _usable_words(template, tokenizer)
    tried = _n_combinations(template.texts, words)
    tried = tried if tried <= MOST_ENUMERATED else max(MOST_ENUMERATED, 50 * count)
    sizes = ", ".join(f"{{{name}}} {len(some)}" for name, some in words.items())
    return (
        f"{count} pairs were asked for, and {tried:,} combinations of the words gave {found} "
        f"different ones of one token length. Ask for at most {found}, or give more words "
        f"(usable ones: {sizes})."
    )


def _usable_words(
    template: Template, tokenizer: Tokenizer | None
) -> dict[str, list[tuple[Form, ...]]]:
    return {name: _usable_words_of(template, name, tokenizer) for name in template.lists}


def _n_combinations(texts: tuple[str, ...], words: Mapping[str, list[Any]]) -> int:
    return len(texts) * prod(len(some) for some in words.values())


def _fillings(
    texts: tuple[str, ...],
    words: Mapping[str, list[tuple[Form, ...]]],
    count: int,
    rng: random.Random,
) -> Iterator[tuple[str, Filling]]:
    """Different combinations of a text and words, in a random order: all, or enough of them."""
    if _n_combinations(texts, words) <= MOST_ENUMERATED:
        every = list(product(texts, *words.values()))
        rng.shuffle(every)
        for text, *chosen in every:
            assert isinstance(text, str), "texts come first"
            yield text, dict(zip(words, chosen, strict=True))  # pyright: ignore[reportReturnType]
        return
    for _ in range(max(MOST_ENUMERATED, 50 * count)):
        yield rng.choice(texts), {name: rng.choice(some) for name, some in words.items()}


def fill_template(template: Template, text: str, filling: Filling) -> Pair | None:
    """The pair of these words; None where a word comes twice or the answers meet."""
    if len({word[0] for word in filling.values()}) < len(filling):
        return None

    def clean(name: str, form: int) -> Form:
        words = template.slots[name]
        return _fill_slots(words, clean)[0] if isinstance(words, str) else filling[name][form]

    def corrupt(name: str, form: int) -> Form:
        changed = template.corrupt.get(name)
        return clean(name, form) if changed is None else _fill_slots(changed, clean)[0]

    prompt, roles = _fill_slots(text, clean)
    other, _ = _fill_slots(text, corrupt)
    answers, wrongs = (
        tuple(dict.fromkeys(_fill_answers(texts, clean)))
        for texts in (template.answer, template.wrong)
    )
    if prompt == other or not answers or set(answers) & set(wrongs):
        return None
    return Pair(clean=prompt, corrupt=other, answer=answers, wrong=wrongs, roles=roles)


Lookup = Callable[[str, int], Form]


def _fill_slots(text: str, lookup: Lookup) -> tuple[str, tuple[Role, ...]]:
    """`text` with words in its slots, and where they stand."""
    parts: list[str] = []
    roles: list[Role] = []
    at = length = 0
    for match in SLOT.finditer(text):
        word = lookup(match[1], int(match[2] or 0))
        assert isinstance(word, str), f"{match[0]} is a list, which only answers take"
        before = text[at : match.start()]
        start = length + len(before)
        again = sum(role.name.split("#")[0] == match[1] for role in roles)
        name = f"{match[1]}#{again + 1}" if again else match[1]
        roles.append(Role(name=name, start=start, stop=start + len(word)))
        parts += [before, word]
        at, length = match.end(), start + len(word)
    return "".join([*parts, text[at:]]), tuple(roles)


def _fill_answers(texts: str | tuple[str, ...], lookup: Lookup) -> Iterator[str]:
    """Answers with words in their slots; one that names a list gives each of its words."""
    for text in as_tuple(texts):
        many = [
            found
            for match in SLOT.finditer(text)
            if isinstance(found := lookup(match[1], int(match[2] or 0)), tuple)
        ]
        if many:
            yield from (word for words in many for word in words)
        else:
            yield _fill_slots(text, lookup)[0]


def _fits(pair: Pair, length: int, tokenizer: Tokenizer | None) -> bool:
    """Whether both prompts have `length` tokens and every answer has one."""
    prompts = (str(pair.clean), str(pair.corrupt))
    return all(len(encode(one, tokenizer)) == length for one in prompts) and all(
        len(encode_inside(str(one), tokenizer)) == 1 for one in (*pair.answers, *pair.wrongs)
    )


def _prompt_length(
    template: Template, words: Mapping[str, list[tuple[Form, ...]]], tokenizer: Tokenizer | None
) -> int:
    """Tokens of the template's prompts: as many as most have, of some that are drawn.

    Raises PromptError where its texts do not agree.
    """
    lengths: dict[int, None] = {}
    for text in template.texts:
        drawn = islice(_fillings((text,), words, 1, random.Random(0)), SAMPLED_FILLINGS)
        pairs = [fill_template(template, text, filling) for _, filling in drawn]
        counts = Counter(len(encode(str(pair.clean), tokenizer)) for pair in pairs if pair)
        lengths |= dict.fromkeys(length for length, _ in counts.most_common(1))
    if len(lengths) > 1:
        shown = ", ".join(str(length) for length in lengths)
        raise PromptError(
            f"The template's texts have {shown} tokens: reword them to one length, or make a set "
            "of each."
        )
    return next(iter(lengths), 0)


def _usable_words_of(
    template: Template, name: str, tokenizer: Tokenizer | None
) -> list[tuple[Form, ...]]:
    """The words of a slot that have the tokens they must have wherever they stand.

    Raises PromptError where there are none.
    """
    uses = set(_word_uses(template, name))
    usable = [word for word in template.lists[name] if _is_usable_word(word, uses, tokenizer)]
    if not usable:
        shown = ", ".join(f"'{visible(str(word[0]))}'" for word in template.lists[name][:5])
        n = template.tokens.get(name, 1)
        what = "a single token" if n == 1 else f"{n} tokens"
        raise PromptError(
            f"No word of {{{name}}} is {what} of this model where it stands ({shown}): give other "
            "words, or say in 'tokens' how many they take."
        )
    return usable


def _is_usable_word(
    word: tuple[Form, ...], uses: set[tuple[str | None, int, int]], tokenizer: Tokenizer | None
) -> bool:
    def length(before: str | None, one: str) -> int:
        if before is None:
            return len(encode(one, tokenizer))
        return len(encode_inside(before + one, tokenizer))

    return all(length(before, one) == n for before, form, n in uses for one in as_tuple(word[form]))


def _word_uses(template: Template, name: str) -> Iterator[tuple[str | None, int, int]]:
    """How a slot's words are used: what stands before them, which form, how many tokens.

    Nothing (None) stands before the first word of a text.
    """
    for text in template.texts:
        for match in SLOT.finditer(text):
            before = " " if text[: match.start()].endswith(" ") else ""
            before = before if match.start() else None
            slot, words = match[1], template.slots[match[1]]
            own = words if isinstance(words, str) else match[0]
            for expression in (own, template.corrupt.get(slot, own)):
                reference = SLOT.fullmatch(expression)
                if reference is not None and reference[1] == name:
                    yield before, int(reference[2] or 0), template.tokens.get(slot, 1)
    for text in (*as_tuple(template.answer), *as_tuple(template.wrong)):
        reference = SLOT.fullmatch(text.lstrip(" "))
        if reference is not None and reference[1] == name:
            yield text[: -len(reference[0])], int(reference[2] or 0), 1


def as_tuple(one: str | tuple[_One, ...]) -> tuple[str | _One, ...]:
    """A text as a tuple of one; a tuple as it is."""
    return (one,) if isinstance(one, str) else one
