"""A file of pairs, read for a model: those that it can run, and those that it answers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from patchwright.algorithms.correctness import answers_correctly
from patchwright.errors import InputError, quoted
from patchwright.experiment.run import check_pair
from patchwright.model.load import Model
from patchwright.prompts.datasets import Item, RowError
from patchwright.prompts.pair import TokenPair
from patchwright.prompts.pairs_file import PairSet, PairsFile, Reading, read_pairs_file
from patchwright.spelling import plural

PAIRS_AT_ONCE = 32
"""Pairs whose clean prompts run together."""


@dataclass(frozen=True)
class PairRequirements:
    """What a pair must fit, besides the model's vocabulary and context.

    `edges` says whether prompts of unequal length can be matched at their edges.
    """

    model: Model
    metric: str = "logit_diff"
    bos: bool = True
    edges: bool = True
    only_answered: bool = False


def read_pairs(
    path: str | Path,
    format: str = "auto",
    *,
    model: Model | None = None,
    columns: Mapping[str, str] | None = None,
    token_ids: str = "",
    add_space: bool = False,
    only_answered: bool = False,
    count: int | None = None,
    shots: int = 5,
    seed: int = 0,
    metric: str = "logit_diff",
    bos: bool = True,
    align: str = "exact",
) -> PairSet:
    """The pairs of a file in a published format, or in any with columns that you name.

    The format is recognised by the file's fields (`docs/data.md` lists them), unless `format` names it
    or `columns` says which of its columns are `clean`, `corrupt`, `answer`, `wrong` and `subject`. All
    other columns are kept as each pair's `notes`. `result.pairs` are for `patch` and the other
    methods, `result.summary` says in a line what was understood, and `result.skipped` has every record
    that gave no pair, with its line and reason.

    With a `model`, pairs that it cannot run with `metric` and `bos` are skipped too, corrupted prompts are
    chosen with the same number of tokens where there is a choice, and it is counted how many it answers
    rightly; `only_answered` skips the others. Templates and token ids need one: `token_ids` names the model
    whose tokenizer's numbers the file has. `add_space` puts a space before answers that have none.
    `count` takes the first pairs only (templates give 100 unless it is said), `shots` are the examples in
    a few-shot prompt, drawn with `seed`; `align="edges"` matches prompts of unequal lengths. Raises InputError for a file that cannot be read or used, with what
    to do.
    """
    name = str(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{quoted(name)} cannot be read: {error.strerror}.") from error
    how = Reading(format, columns or {}, token_ids, add_space, count, shots, seed, align)
    if model is None and only_answered:
        raise InputError("only_answered asks what a model answers: give the model.")
    file = read_pairs_file(content, name, how)
    if model is None:
        return PairSet.of(file, file.rows())
    return pairs_for(file, PairRequirements(model, metric, bos, only_answered=only_answered))


def pairs_for(file: PairsFile, fit: PairRequirements, count_answers: bool = True) -> PairSet:
    """The pairs of a file that a model can run, and in words what they are like for it."""
    seen = _PairCounts()
    file = file.for_model(fit.model.tokenizer, fit.model.name)
    found = PairSet.of(
        file, _runnable_rows(file.rows(), fit, seen, count_answers or fit.only_answered)
    )
    return replace(found, counted=(*found.counted, *seen.summary_lines(fit)))


def runnable_pairs(found: PairSet, fit: PairRequirements) -> PairSet:
    """The pairs of a set that a model can run, with their lengths; the others are skipped, and why."""
    items: list[Item] = []
    skipped, lengths = list(found.skipped), list[int]()
    for number, item in enumerate(found.items, 1):
        row, tokens = _check_row(item.model_copy(update={"line": item.line or number}), fit)
        if tokens is None:
            assert isinstance(row, RowError), "what has no tokens has a reason"
            skipped.append(row)
            continue
        items.append(item)
        lengths.append(max(len(tokens.clean), len(tokens.corrupt)))
    skipped.sort(key=lambda one: one.line)
    return replace(found, items=tuple(items), skipped=tuple(skipped), lengths=tuple(lengths))


@dataclass
class _PairCounts:
    """What was counted of the pairs that were looked at."""

    lengths: set[int] = field(default_factory=set[int])
    several: int = 0
    asked: int = 0
    right: int = 0

    def add(self, tokens: TokenPair | None, asked: bool, rightly: bool) -> None:
        self.asked += asked
        self.right += asked and rightly
        if tokens is not None:
            self.lengths.add(len(tokens.clean))
            self.several += not tokens.single_tokens

    def summary_lines(self, fit: PairRequirements) -> Iterator[str]:
        if len(self.lengths) > 1:
            yield f"their prompts have {min(self.lengths)} to {max(self.lengths)} tokens"
        if self.several:
            yield f"{plural(self.several, 'pair')} with answers of several tokens"
        if self.asked:
            rest = (
                ""
                if fit.only_answered or self.right == self.asked
                else " (only_answered=True, --only-answered keeps these)"
            )
            yield f"{fit.model.name} answers {self.right:,} of {self.asked:,} rightly{rest}"


def _runnable_rows(
    rows: Iterable[Item | RowError], fit: PairRequirements, seen: _PairCounts, answers: bool
) -> Iterator[Item | RowError]:
    """The rows, those that the model cannot run as errors."""
    rows = iter(rows)
    while some := list(islice(rows, PAIRS_AT_ONCE)):
        checked = [_check_row(row, fit) for row in some]
        tokens = [one[1] for one in checked if one[1] is not None]
        right = iter(answers_correctly(fit.model.network, tokens) if answers and tokens else ())
        for row, own in checked:
            if own is None:
                yield row
                continue
            rightly = next(right, True)
            wanted = rightly or not fit.only_answered
            yield row if wanted else _wrong_answer_error(row)
            # Behind the row: where no more are wanted, the next one is not counted.
            seen.add(own if wanted else None, answers, rightly)


def _wrong_answer_error(row: Item | RowError) -> RowError:
    return RowError(row.line or 0, "The model answers it wrongly.")


def _check_row(
    row: Item | RowError, fit: PairRequirements
) -> tuple[Item | RowError, TokenPair | None]:
    if isinstance(row, RowError):
        return row, None
    try:
        return row, check_pair(row.pair, fit.model, fit.metric, fit.bos, fit.edges)
    except InputError as error:
        # Of many pairs the sentence is enough; the tokens behind it are for one.
        return RowError(row.line or 0, str(error).partition("\n")[0]), None
