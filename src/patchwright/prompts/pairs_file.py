"""A file of pairs as it is published -> pairs, and what was understood of it in one line."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from patchwright.errors import FormatError, InputError, RecordError, quoted
from patchwright.prompts.datasets import Item, RowError, parse_item
from patchwright.prompts.formats import FORMATS, OWN, format_of
from patchwright.prompts.formats.document import read_document
from patchwright.prompts.formats.format import Format, Reading, Record, Source
from patchwright.prompts.formats.own import PARTS, custom_format
from patchwright.prompts.messages import prompt_text
from patchwright.prompts.pair import Pair, answers_without_space, with_spaces
from patchwright.prompts.roles import LAST
from patchwright.prompts.tokens import Tokenizer
from patchwright.spelling import plural

SAMPLED_RECORDS = 50
"""Records whose fields say which format a file has."""

MOST_NAMED = 12
"""Columns that a sentence names."""


@dataclass(frozen=True)
class PairsFile:
    """A file whose format is known, with its records and the rows that cannot be read."""

    format: Format
    source: Source
    errors: tuple[RowError, ...]

    @property
    def n_records(self) -> int:
        """How many the file has, those that cannot be read with them."""
        return len(self.source.records) + len(self.errors)

    def for_model(self, tokenizer: Tokenizer | None, name: str) -> Self:
        """The same, read with the tokenizer of the model called `name`."""
        return replace(self, source=replace(self.source, tokenizer=tokenizer, model=name))

    def rows(self) -> Iterator[Item | RowError]:
        """The pairs, one after the other, and for each record without one its reason."""
        yield from self.errors
        convert = self.format.converter(self.source)
        for record in self.source.records:
            try:
                notes = _without_empty(record.other_fields(self.format.read_fields))
                for row in convert(record):
                    item = parse_item(_without_empty({"notes": notes, **row}), record.line)
                    yield item.model_copy(update={"pair": self._apply_reading(item.pair)})
            except RecordError as error:
                yield RowError(record.line, str(error))

    def _apply_reading(self, pair: Pair) -> Pair:
        pair = with_spaces(pair) if self.source.how.add_space else pair
        edges = self.source.how.align == "edges"
        return pair.model_copy(update={"align": "edges"}) if edges else pair


def _without_empty(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without what is empty."""
    return {name: value for name, value in row.items() if value not in ("", None, {}, [])}


@dataclass(frozen=True)
class PairSet:
    """Pairs that belong together, as of a file.

    `items` are the pairs, of a file with their lines, tags and notes; `skipped` the records that gave
    none, with their lines and reasons; `format` is what a file was read as, and `counted` says further
    things in words. `more` says that there are more behind the pairs that were wanted. `lengths` are
    in tokens, one a pair, once the set is fitted to a model.
    """

    items: tuple[Item, ...]
    skipped: tuple[RowError, ...] = ()
    format: Format | None = None
    records: int = 0
    more: bool = False
    counted: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()

    @classmethod
    def made(cls, pairs: Iterable[Pair], *tags: str) -> Self:
        """A set of pairs that are in no file."""
        return cls(tuple(Item(pair=pair, tags=tags) for pair in pairs))

    @classmethod
    def of(cls, file: PairsFile, rows: Iterable[Item | RowError], most: int | None = None) -> Self:
        """The pairs of `rows`, which are the file's or those of them that fit a model; at most so many."""
        most = file.source.how.count or most
        items: list[Item] = []
        skipped: list[RowError] = []
        more = False
        for row in rows:
            if isinstance(row, RowError):
                skipped.append(row)
            elif more := len(items) == most:
                break
            else:
                items.append(row)
        records = {one.line: dict(one.fields) for one in file.source.records}
        skipped = [replace(one, row=records.get(one.line, one.row)) for one in skipped]
        skipped.sort(key=lambda one: one.line)
        counted = tuple(_pair_remarks(items))
        return cls(tuple(items), tuple(skipped), file.format, file.n_records, more, counted)

    @property
    def pairs(self) -> list[Pair]:
        """Without lines, tags and notes."""
        return [one.pair for one in self.items]

    @property
    def summary(self) -> str:
        """What was understood, in one line."""
        if self.format is None:
            return "; ".join(self.counted)
        pairs = ("the first " if self.more else "") + plural(len(self.items), "pair")
        read = f"Read as {self.format.title} (format {self.format.name}): "
        skipped = [f"{len(self.skipped):,} skipped"] if self.skipped else []
        told = [f"{read}{plural(self.records, 'record')}", pairs, *skipped]
        return "; ".join([", ".join(told), *self.counted]) + "."

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that every pair has, in the first one's order; `last` is one always."""
        if not self.items:
            return ()
        shared = set.intersection(*({role.name for role in pair.roles} for pair in self.pairs))
        first = [role.name for role in self.pairs[0].roles if role.name in shared]
        return (*first, LAST)

    def table(self) -> dict[str, list[Any]]:
        """Columns with a row a pair, counted from 1; its line in the file where that is another number."""
        numbers = list(range(1, len(self.items) + 1))
        lines = [item.line for item in self.items]
        return {
            "pair": numbers,
            **({} if lines == numbers or None in lines else {"line": lines}),
            "clean": [prompt_text(pair.clean) for pair in self.pairs],
            "corrupted": [prompt_text(pair.corrupt) for pair in self.pairs],
            "answer": ["|".join(map(str, pair.answers)) for pair in self.pairs],
            "wrong": ["|".join(map(str, pair.wrongs)) for pair in self.pairs],
            **({"tokens": list(self.lengths)} if self.lengths else {}),
        }

    def rejects(self) -> str:
        """The skipped records as JSONL: line, reason and the record."""
        rows = (
            {"line": one.line, "reason": one.message, "record": one.row} for one in self.skipped
        )
        return "".join(f"{json.dumps(row, default=str)}\n" for row in rows)


def read_pairs_file(content: bytes, name: str, how: Reading | None = None) -> PairsFile:
    """The file called `name`, its format known.

    Raises InputError where it is no text, FormatError where it is none of the formats.
    """
    how = how or Reading()
    _check_reading(how)
    read = read_document(content, name)
    chosen = _choose_format(read.records, how, name, bool(read.errors))
    return PairsFile(chosen, Source(read.records, how), read.errors)


def _check_reading(how: Reading) -> None:
    for part in how.columns:
        if part not in PARTS:
            raise InputError(
                f"{quoted(part)} cannot be a column: name those of {', '.join(PARTS)}."
            )
    if how.align not in ("exact", "edges"):
        raise InputError(f"align {quoted(how.align)}: choose exact or edges.")
    if how.columns and how.format != "auto":
        raise InputError(f"Give either a format ({how.format}) or names of columns, not both.")
    for name, number in (("shots", how.shots), ("count", 1 if how.count is None else how.count)):
        if number < 1:
            raise InputError(f"{name} {number}: give at least 1.")


def _choose_format(records: Sequence[Record], how: Reading, name: str, unreadable: bool) -> Format:
    """The format that is asked for, or that most of the first records have. Raises FormatError."""
    if not records and not unreadable:
        raise FormatError(f"{quoted(name)} has no records: give a file with at least one pair.")
    if how.format != "auto":
        return format_of(how.format)
    if how.columns:
        chosen = custom_format(how.columns)
        _check_columns(records, [*chosen.fields[0], *how.columns.values()], name)
        return chosen
    first = records[:SAMPLED_RECORDS]
    matched = Counter(i for record in first for i, one in enumerate(FORMATS) if one.matches(record))
    if matched:
        most = max(matched.values())
        return FORMATS[min(i for i, count in matched.items() if count == most)]
    if not records:
        return format_of(OWN)
    raise _unknown_format_error(records, name)


def _unknown_format_error(records: Sequence[Record], name: str) -> FormatError:
    columns = tuple(
        dict.fromkeys(str(one) for record in records[:SAMPLED_RECORDS] for one in record.fields)
    )
    known = ", ".join(one.name for one in FORMATS)
    return FormatError(
        f"{quoted(name)} has the fields {_columns_text(columns)}, which are those of no known format ({known}). "
        "Name its columns: columns={'clean': …, 'corrupt': …, 'answer': …, 'wrong': …} "
        "(--clean-column, --corrupt-column, --answer-column, --wrong-column).",
        columns,
    )


def _columns_text(columns: Sequence[str]) -> str:
    shown = [quoted(one) for one in columns[:MOST_NAMED]]
    return ", ".join([*shown, *(["…"] if len(columns) > MOST_NAMED else [])]) or "none"


def _check_columns(records: Sequence[Record], columns: Iterable[str], name: str) -> None:
    """Raise FormatError for a column that no record has."""
    for column in columns:
        if records and all(record.get(column) is None for record in records):
            there = tuple(records[0].fields)
            raise FormatError(
                f"{quoted(name)} has no column {quoted(column)}: it has {_columns_text(there)}.",
                there,
            )


def _pair_remarks(items: Sequence[Item]) -> Iterator[str]:
    """What is to be known of the pairs that needs no model."""
    lacking = sum(bool(answers_without_space(one.pair)) for one in items)
    if lacking:
        are = "have answers" if lacking > 1 else "has an answer"
        yield (
            f"{plural(lacking, 'pair')} {are} without a space before them, which "
            "add_space=True (--add-space) puts there"
        )
    again = len(items) - len(dict.fromkeys(one.pair for one in items))
    if again:
        yield f"{plural(again, 'pair')} repeat{'s' if again == 1 else ''} an earlier one"
    notes = tuple(dict.fromkeys(name for one in items for name in one.notes))
    if notes:
        yield f"kept as notes: {_columns_text(notes)}"
