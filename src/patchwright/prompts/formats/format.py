"""What a format of pairs is: the fields it is recognised by, and what its records become."""

import re
from ast import literal_eval
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from patchwright.errors import AnswerError, InputError, RecordError, quoted
from patchwright.prompts.characters import find_text
from patchwright.prompts.tokens import Tokenizer, answer_text, encode

Row = dict[str, Any]
"""A pair by its fields, as `datasets.parse_item` takes them."""

TEXT = "text"
"""The field of a record that is one text: a line of a file, a string of a list, or a column."""

_TEXTS = (TEXT, "sentence", "ioi_sentences", "template", "prompt")
"""What a column of texts is called; the first that a record has is its text."""


@dataclass(frozen=True)
class Record:
    """What a file has at `line`; `table` says that its values are cells of a table."""

    line: int
    fields: Mapping[str, Any]
    table: bool = False

    @cached_property
    def _casefolded_fields(self) -> dict[str, Any]:
        return {name.casefold(): value for name, value in self.fields.items()}

    def get(self, field: str) -> Any:
        """A field's value, in large or small letters; `a.b` is the field b of a. None without it."""
        if field == TEXT:
            return self.text
        value: Any = self._casefolded_fields
        field = field.casefold()
        for name in [field] if field in value else field.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    @property
    def text(self) -> str | None:
        """The record's one text, if it has one."""
        found = (self._casefolded_fields.get(name) for name in _TEXTS)
        return next((one for one in found if isinstance(one, str)), None)

    def required_text(self, field: str) -> str:
        """A field that must be a text. Raises RecordError."""
        value = self.get(field)
        if not isinstance(value, str) or not value.strip():
            raise RecordError(f"The field {quoted(field)} is missing, empty or no text.")
        return value

    def other_fields(self, fields: Iterable[str]) -> dict[str, Any]:
        """What the record has besides `fields`."""
        read = {part.casefold() for field in fields for part in (field, field.split(".")[0])}
        if TEXT in read:
            read |= set(_TEXTS)
        return {name: value for name, value in self.fields.items() if name.casefold() not in read}


@dataclass(frozen=True)
class Reading:
    """How a file is to be read; the fields are `read_pairs`' arguments."""

    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    token_ids: str = ""
    add_space: bool = False
    count: int | None = None
    shots: int = 5
    seed: int = 0
    align: str = "exact"


@dataclass(frozen=True)
class Source:
    """A file's records, how they are to be read, and the tokenizer of the model called `model`."""

    records: Sequence[Record]
    how: Reading
    tokenizer: Tokenizer | None = None
    model: str = ""

    def length(self, prompt: str) -> int:
        """Of a prompt in tokens, or without a tokenizer in words."""
        return len(encode(prompt, self.tokenizer) if self.tokenizer else prompt.split())

    def ids_tokenizer(self, record: Record) -> Tokenizer:
        """The tokenizer of the token ids that a record has.

        Raises InputError where nobody says whose they are, or where they are not the model's.
        """
        named = self.how.token_ids or record.get("tokenizer")
        if not isinstance(named, str) or not named:
            raise InputError(
                "The file has token ids, which are numbers of one tokenizer, and does not say of "
                "which: name its model with token_ids='gpt2' (--token-ids gpt2), or in the file's "
                "field 'tokenizer'."
            )
        if self.tokenizer is None:
            raise InputError(
                f"The file has token ids of {quoted(named)}: give the model, whose tokenizer reads them."
            )
        if _name_without_owner(named) != _name_without_owner(self.model):
            raise InputError(
                f"The file has token ids of {quoted(named)}, and the model is {quoted(self.model)}, "
                "whose tokens have other numbers: choose that model, or a file with words. If both "
                f"have the same tokenizer, say token_ids={self.model!r} (--token-ids {self.model})."
            )
        return self.tokenizer


def _name_without_owner(name: str) -> str:
    """A model's name without its owner."""
    return name.rstrip("/").rpartition("/")[2].casefold()


Convert = Callable[[Record], Iterable[Row]]
"""Makes pairs of a record. Raises RecordError, or InputError for a whole file."""


@dataclass(frozen=True)
class FieldMapping:
    """What the records' fields become, in words."""

    clean: str
    corrupt: str
    answer: str
    wrong: str


@dataclass(frozen=True)
class Format:
    """A published format.

    It is recognised where a record has all of one of `fields`, and `looks` says that its text is of
    this kind, which `text` describes. `read` are further fields that are used; all others become the pair's notes.
    """

    name: str
    title: str
    source: str
    fields: tuple[tuple[str, ...], ...]
    becomes: FieldMapping
    converter: Callable[[Source], Convert]
    read: tuple[str, ...] = ()
    looks: Callable[[Record], bool] = lambda record: True
    text: str = ""

    def matches(self, record: Record) -> bool:
        """Whether a record is of this format."""
        has_all = any(all(record.get(name) is not None for name in some) for some in self.fields)
        return has_all and self.looks(record)

    @property
    def read_fields(self) -> tuple[str, ...]:
        """All fields that are read."""
        return tuple(dict.fromkeys([*(name for some in self.fields for name in some), *self.read]))


def _columns_converter(
    clean: str, corrupt: str, answer: str, wrong: str, subject: str, space: bool
) -> Callable[[Source], Convert]:
    """Pairs of records that have the pair's fields under these names."""

    def converter(source: Source) -> Convert:
        def convert(record: Record) -> Iterator[Row]:
            row: Row = {"clean": record.get(clean), "corrupt": _pick_prompt(record.get(corrupt))}
            row |= {"answer": field_values(record, answer), "wrong": field_values(record, wrong)}
            lists = [some for some in row.values() if isinstance(some, list)]
            if any(isinstance(one, int) for some in lists for one in some):
                tokenizer = source.ids_tokenizer(record)
                if isinstance(row.get("clean"), str):
                    row |= {
                        name: texts_of_ids(row[name], tokenizer) for name in ("answer", "wrong")
                    }
            if space:
                row |= {
                    name: [with_leading_space(one) for one in row[name]]
                    for name in ("answer", "wrong")
                }
            yield with_role(row, "subject", record.get(subject) if subject else None)

        return convert

    return converter


def columns_format(
    name: str,
    title: str,
    source: str,
    columns: tuple[str, str, str, str],
    subject: str = "",
    *,
    space: bool = False,
    of_corrupt: str = "",
) -> Format:
    """The format whose columns are a pair's clean, corrupt, answer and wrong under other names.

    `space` puts one before answers; `of_corrupt` says what is read of the corrupted prompt's column.
    """
    clean, corrupt, answer, wrong = (f"`{one}`" for one in columns)
    return Format(
        name,
        title,
        source,
        (columns[:3],),
        FieldMapping(clean, corrupt + of_corrupt, answer, wrong),
        _columns_converter(*columns, subject, space),
        tuple(filter(None, (columns[3], subject, "tokenizer"))),
    )


def _pick_prompt(prompts: Any) -> Any:
    """A prompt; of several by name, as a docstring's, that which changes both its lists, or the first."""
    if not isinstance(prompts, Mapping):
        return prompts
    return prompts.get("random_random") or next(iter(prompts.values()), None)


def texts_of_ids(ids: Iterable[Any], tokenizer: Tokenizer) -> list[str]:
    """Token ids as the texts that an answer is typed as. Raises RecordError for one that has none."""
    found: list[str] = []
    for one in ids:
        try:
            found.append(answer_text(int(one), tokenizer))
        except AnswerError:
            raise RecordError(f"The token {one} cannot be written as text.") from None
        except (ValueError, TypeError, OverflowError, IndexError):
            raise RecordError(f"{quoted(str(one))} is no token id.") from None
    return found


def field_values(record: Record, field: str) -> list[Any]:
    """A field that is a value or several: in a table between bars, or as a list is written."""
    value = record.get(field) if field else None
    if record.table and isinstance(value, str):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            if value.startswith("["):
                return list(literal_eval(value))
        return value.split("|") if value else []
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list) else [value]


def with_leading_space(word: Any) -> Any:
    """A word of a format that leaves out the space before it, as the model continues a text."""
    return f" {word}" if isinstance(word, str) and word and not word[0].isspace() else word


def with_role(row: Row, name: str, words: Any) -> Row:
    """The row with a role where `words` first stand in its clean prompt, if they do."""
    if isinstance(words, str) and words.strip() and isinstance(row.get("clean"), str):
        found, _ = find_text(row["clean"], words.strip())
        if found:
            row["roles"] = [{"name": name, "start": found[0][0], "stop": found[0][1]}]
    return row


T = TypeVar("T")

MOST_TRIED = 500
"""Other records that are looked at for a corrupted prompt of the same length."""


def first_of_length(candidates: Iterable[T], length: Callable[[T], int], wanted: int) -> T | None:
    """The first candidate of the wanted length, or else the first."""
    first: T | None = None
    for tried, one in enumerate(candidates):
        first = one if tried == 0 else first
        if tried == MOST_TRIED:
            break
        if length(one) == wanted:
            return one
    return first


SLOT = re.compile(r"\[([A-Za-z]\w*)\]|\{([A-Za-z]\w*)\}")
"""A slot of a template as the field writes it: in square brackets or in braces."""
