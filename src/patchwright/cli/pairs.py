"""`--pairs`: a file of pairs, how it is read, and what is told of it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchwright.cli.options import option
from patchwright.errors import InputError

if TYPE_CHECKING:
    from patchwright.model.load import Model
    from patchwright.prompts.datasets import Item
    from patchwright.prompts.pair import Pair
    from patchwright.prompts.pairs_file import PairSet, PairsFile

MOST_TOLD = 20
"""Reasons for skipped records that are told one by one."""


PairsPath = Annotated[
    str,
    typer.Option(
        "--pairs",
        help="A file of pairs instead of one: .jsonl, .json, .csv, .tsv or .txt; - is standard input.",
    ),
]

COLUMN_OPTIONS = {
    f"{part}_column": (option(str, f"The column of the file that has {what}."), "")
    for part, what in (
        ("clean", "the clean prompts"),
        ("corrupt", "the corrupted prompts"),
        ("answer", "the answers"),
        ("wrong", "the wrong answers"),
        ("subject", "the subjects, which become a role"),
    )
}

FILE_OPTIONS = {
    "pairs_format": (
        option(
            str,
            "Format of the file, such as blimp; an unknown one lists all.",
            shown="by its fields",
        ),
        "auto",
    ),
    **COLUMN_OPTIONS,
    "add_space": (
        option(bool, "Put a space before answers that have none.", "--add-space"),
        False,
    ),
    "token_ids": (option(str, "The model whose tokenizer the file's token ids are from."), ""),
    "only_answered": (
        option(bool, "Leave out pairs that the model answers wrongly.", "--only-answered"),
        False,
    ),
    "pairs_count": (
        option(int | None, "Take this many pairs at most.", shown="all; 100 of templates"),
        None,
    ),
    "shots": (option(int, "Examples in a few-shot prompt.", shown=True), 5),
    "pairs_seed": (
        Annotated[
            int,
            typer.Option(help="Random seed of pairs of templates and of few-shot examples.", min=0),
        ],
        0,
    ),
    "rejects": (option(str, "Write skipped records with their reasons as JSONL."), ""),
}
"""Options that say how the file is read."""


@dataclass(frozen=True)
class PairsOptions:
    """A file of pairs as the options ask for it; `checked` says whether the model's answers are counted."""

    path: str
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    align: str = "exact"
    checked: bool = True

    def __post_init__(self) -> None:
        """Raise InputError for options without a file, OutputError where rejects cannot be written."""
        from patchwright.atomic_files import check_writable

        for name, (_, default) in FILE_OPTIONS.items():
            if not self.path and self._value_of(name) != default:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(
                    f"{flag} says how a file of pairs is read: add --pairs, or leave it out."
                )
        if self._value_of("rejects") not in ("", "-"):
            check_writable(self._value_of("rejects"))

    def _value_of(self, name: str) -> Any:
        return self.values.get(name, FILE_OPTIONS[name][1])

    def read_pairs_file(self) -> "PairsFile":
        """The file, its format known. Raises InputError where it cannot be used."""
        from patchwright.prompts.pairs_file import Reading, read_pairs_file

        named = {name.removesuffix("_column"): self._value_of(name) for name in COLUMN_OPTIONS}
        how = Reading(
            self._value_of("pairs_format"),
            {part: column for part, column in named.items() if column},
            self._value_of("token_ids"),
            self._value_of("add_space"),
            self._value_of("pairs_count"),
            self._value_of("shots"),
            self._value_of("pairs_seed"),
            self.align,
        )
        return read_pairs_file(self._read_bytes(), self.path, how)

    def _read_bytes(self) -> bytes:
        if self.path == "-":
            return sys.stdin.buffer.read()
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            raise InputError(f"'{self.path}' cannot be read: {error.strerror}.") from error

    def usable_items(
        self, file: "PairsFile", model: "Model", metric: str, bos: bool, edges: bool
    ) -> "Sequence[Item]":
        """The pairs that the model can run; what was skipped, and what was read, is told on standard error.

        Raises InputError where none is left.
        """
        from patchwright.experiment.pairs_file import PairRequirements, pairs_for

        fit = PairRequirements(model, metric, bos, edges, self._value_of("only_answered"))
        return self._report_set(pairs_for(file, fit, self.checked), f" with {model.name}")

    def all_pairs(self, file: "PairsFile", model: "Model") -> "list[Pair]":
        """All of them, for what needs one prompt of each."""
        from patchwright.prompts.pairs_file import PairSet

        file = file.for_model(model.tokenizer, model.name)
        return [one.pair for one in self._report_set(PairSet.of(file, file.rows()))]

    def _report_set(self, found: "PairSet", how: str = "") -> "Sequence[Item]":
        from patchwright.cli.output import echo_err, write

        for line in _report_lines(found):
            echo_err(line)
        if rejects := self._value_of("rejects"):
            write(rejects, found.rejects())
        if not found.items:
            raise InputError(
                f"'{self.path}' has no pair that can be used{how}: the lines above say why."
            )
        return found.items


def _report_lines(found: "PairSet") -> Iterator[str]:
    """Why records were skipped, what was read, and which lines the pairs are."""
    from patchwright.prompts.datasets import error_sentences, ranges_text

    why = error_sentences(found.skipped)
    yield from why[:MOST_TOLD]
    if len(why) > MOST_TOLD:
        yield f"… and {len(why) - MOST_TOLD:,} more reasons: --rejects FILE writes all skipped records."
    yield found.summary
    lines = [item.line or 0 for item in found.items]
    one_each = len(set(lines)) == len(lines) > 1
    if one_each and lines != list(range(1, len(lines) + 1)):
        yield f"Pairs {ranges_text(range(1, len(lines) + 1))} are lines {ranges_text(lines)} of the file."
