"""A set of pairs as the controls of Many prompts describe it; no widgets here.

Every row that cannot be used is told with its line, and the others go on.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from patchwright.algorithms.duplicates import grouped
from patchwright.app.build_experiment import answers_of
from patchwright.app.limits import LIMITS
from patchwright.app.session_state import MOST_PAIRS, State
from patchwright.errors import InputError
from patchwright.experiment.run import tokens_of
from patchwright.experiment.swap import swap
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.prompts.agreement import agreement
from patchwright.prompts.builtin_templates import task
from patchwright.prompts.datasets import Item, RowError, sentences
from patchwright.prompts.formats.format import Reading
from patchwright.prompts.pair import Pair
from patchwright.prompts.pairs_file import PairSet, pairs_file
from patchwright.prompts.parse_template import typed_template
from patchwright.prompts.roles import LAST
from patchwright.prompts.templates import from_template
from patchwright.prompts.tokens import encode_prompt

MOST_SWAPS = 50
MOST_ERRORS = 200
"""Rows of a file that are told of."""


@dataclass(frozen=True)
class LoadedSet:
    """The pairs of a set, and the rows that gave none; `lengths` in tokens, one a pair.

    `more` says that a file goes on behind what the page takes, `summary` what was understood of it.
    """

    items: tuple[Item, ...]
    errors: tuple[RowError, ...] = ()
    lengths: tuple[int, ...] = ()
    more: bool = False
    summary: str = ""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Without tags and lines."""
        return tuple(one.pair for one in self.items)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that every pair has, in the first one's order; `last` is one always."""
        if not self.items:
            return ()
        shared = set.intersection(*({role.name for role in pair.roles} for pair in self.pairs))
        first = [role.name for role in self.pairs[0].roles if role.name in shared]
        return (*first, LAST)


def pair_set(state: State, model: Model) -> LoadedSet:
    """The set that the controls describe. Raises InputError where it has no pair."""
    return _SOURCES[state["set_source"]](state, model)


def wanted(state: State) -> tuple[Any, ...]:
    """What a set depends on, to know when it is another."""
    fields = FIELDS[state["set_source"]]
    return (state["set_source"], state["bos"], *(state.get(name) for name in fields))


def fitting(found: LoadedSet, experiment: Patch, model: Model) -> LoadedSet:
    """The pairs that the model can take; why not is told of the others.

    Raises InputError where fewer than two different ones are left.
    """
    items: list[Item] = []
    errors, lengths = list(found.errors), list[int]()
    prompts: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for number, item in enumerate(found.items, 1):
        try:
            tokens = tokens_of(item.pair, experiment, model)
        except InputError as error:
            errors.append(RowError(item.line or number, str(error)))
            continue
        items.append(item)
        lengths.append(max(len(tokens.clean), len(tokens.corrupt)))
        prompts.append((tokens.clean, tokens.corrupt))
    errors.sort(key=lambda one: one.line)
    if len(set(grouped(prompts))) < 2:
        why = f" {sentences(errors)[0]}" if errors else ""
        many = f"{len(items)} usable pairs that are all the same" if items[1:] else "1 usable pair"
        raise InputError(
            f"The set has {many if items else 'no usable pairs'}, and statistics need at least two "
            f"different ones.{why}"
        )
    return replace(found, items=tuple(items), errors=tuple(errors), lengths=tuple(lengths))


def length_groups(lengths: Sequence[int]) -> str:
    """How many pairs have how many tokens, in words."""
    counts = sorted(Counter(lengths).items())
    return ", ".join(f"{count} of {length} tokens" for length, count in counts)


def read_file(
    name: str, content: bytes, how: Reading | None = None, model: Model | None = None
) -> LoadedSet:
    """The pairs of an uploaded file. Raises InputError for one that is none of the formats."""
    file = pairs_file(content, name, how)
    if model is not None:
        file = file.for_model(model.tokenizer, model.name)
    found = PairSet.of(file, file.rows(), MOST_PAIRS)
    more = found.more or len(found.skipped) > MOST_ERRORS
    return LoadedSet(found.items, found.skipped[:MOST_ERRORS], more=more, summary=found.summary)


def _from_task(state: State, model: Model) -> LoadedSet:
    template = task(state["task"]).template
    pairs = from_template(template, *_asked(state, model))
    return LoadedSet(_items(pairs, state["task"]))


def _from_own(state: State, model: Model) -> LoadedSet:
    if not answers_of(state["template_answer"]):
        raise InputError(
            "The answer is missing: name it by its slot, with its space, as in ' {A}'."
        )
    template = typed_template(
        state["template_text"],
        _lines(state["template_slots"]),
        _lines(state["template_swap"]),
        answers_of(state["template_answer"]),
        answers_of(state["template_wrong"]),
        ("The line", "The line"),
    )
    return LoadedSet(_items(from_template(template, *_asked(state, model))))


def _asked(state: State, model: Model) -> tuple[int, Any, int]:
    return int(state["set_count"]), model.tokenizer, int(state["set_seed"])


def _from_sentences(state: State, model: Model) -> LoadedSet:
    items: list[Item] = []
    errors: list[RowError] = []
    for number, line in enumerate(state["sentences"].splitlines(), 1):
        if not line.strip():
            continue
        try:
            pair = agreement(line.strip(), model.tokenizer)
            items.append(Item(pair=pair, tags=("agreement",), line=number))
        except InputError as error:
            errors.append(RowError(number, str(error)))
    return LoadedSet(tuple(items[:MOST_PAIRS]), tuple(errors), more=len(items) > MOST_PAIRS)


def _from_swap(state: State, model: Model) -> LoadedSet:
    answers = answers_of(state["swap_answer"])
    if len(answers) != 1:
        raise InputError("Give one answer, with its leading space, such as ' Mary'.")
    LIMITS.check_length(len(encode_prompt(state["swap_prompt"], model.tokenizer, state["bos"])))
    count = min(int(state["set_count"]), MOST_SWAPS)
    found = swap(
        model, state["swap_prompt"], state["swap_word"], answers[0], count=count, bos=state["bos"]
    )
    return LoadedSet(_items([one.pair for one in found], "swap"))


def _from_file(state: State, model: Model) -> LoadedSet:
    found: LoadedSet | None = state.get("set_file")
    if found is None:
        raise InputError("No file is here yet: upload a file of pairs.")
    if not found.items and found.errors:
        raise InputError(f"No row is a pair. {sentences(found.errors)[0]}")
    return found


def _from_run(state: State, model: Model) -> LoadedSet:
    pairs: tuple[Pair, ...] | None = state.get("set_pairs")
    if pairs is None:
        raise InputError("No stored set is open: open a run over pairs in the Library.")
    return LoadedSet(_items(pairs))


def _items(pairs: Iterable[Pair], *tags: str) -> tuple[Item, ...]:
    return tuple(Item(pair=pair, tags=tags) for pair in pairs)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


_SOURCES: dict[str, Callable[[State, Model], LoadedSet]] = {
    "template": _from_task,
    "own": _from_own,
    "sentences": _from_sentences,
    "swap": _from_swap,
    "file": _from_file,
    "run": _from_run,
}

_OWN = ("template_text", "template_slots", "template_swap", "template_answer", "template_wrong")
FIELDS: dict[str, tuple[str, ...]] = {
    "template": ("task", "set_count", "set_seed"),
    "own": (*_OWN, "set_count", "set_seed"),
    "sentences": ("sentences",),
    "swap": ("swap_prompt", "swap_word", "swap_answer", "set_count"),
    "file": ("set_file",),
    "run": ("set_pairs",),
}
