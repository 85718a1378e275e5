"""A set of pairs as the controls of Sets describe it; no widgets here.

Every row that cannot be used is told with its line, and the others go on.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from patchwright.app.build_experiment import answers_of, pair_of
from patchwright.app.limits import LIMITS
from patchwright.app.page_controls import MOST_PAIRS
from patchwright.app.session_state import PAIR_FIELDS, State
from patchwright.errors import InputError
from patchwright.experiment.pairs_file import PairRequirements, runnable_pairs
from patchwright.experiment.similar_pairs import similar_pairs
from patchwright.experiment.swap import swap
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.prompts.agreement import agreement
from patchwright.prompts.builtin_templates import task
from patchwright.prompts.datasets import Item, RowError, error_sentences
from patchwright.prompts.formats.format import Reading
from patchwright.prompts.pair import Pair
from patchwright.prompts.pairs_file import PairSet, read_pairs_file
from patchwright.prompts.parse_template import parse_template
from patchwright.prompts.templates import Template, from_template
from patchwright.prompts.tokens import encode_prompt
from patchwright.spelling import plural

MOST_SWAPS = 50
MOST_ERRORS = 200
"""Rows of a file that are told of."""


def pair_set(state: State, model: Model) -> PairSet:
    """The set that the controls describe. Raises InputError where it has no pair."""
    return _SOURCES[state["set_source"]](state, model)


def set_key(state: State) -> tuple[Any, ...]:
    """What a set depends on, to know when it is another."""
    fields = SOURCE_FIELDS[state["set_source"]]
    return (state["set_source"], state["bos"], *(state.get(name) for name in fields))


def usable_pairs(whole: PairSet, swept: Patch, model: Model) -> PairSet:
    """The pairs that the model can take; why not is told of the others.

    Raises InputError where fewer than two different ones are left.
    """
    found = runnable_pairs(whole, PairRequirements(model, swept.metric, swept.bos))
    if len({(one.clean, one.corrupt) for one in found.pairs}) < 2:
        n = len(found.items)
        usable = plural(n, "usable pair") if n else "no usable pairs"
        same = " that are all the same" if n > 1 else ""
        why = f" {error_sentences(found.skipped)[0]}" if found.skipped else ""
        raise InputError(
            f"The set has {usable}{same}, and statistics need at least two different ones.{why}"
        )
    return found


def set_in_words(found: PairSet) -> str:
    """How a set was made or read, and how long its prompts are."""
    made = found.summary or f"{plural(len(found.items), 'pair')}."
    groups = sorted(Counter(found.lengths).items())
    if len(groups) == 1:
        return f"{made} {groups[0][0]} tokens each."
    return (
        f"{made} Lengths: {', '.join(f'{count} of {length} tokens' for length, count in groups)}."
    )


def read_file(
    name: str, content: bytes, how: Reading | None = None, model: Model | None = None
) -> PairSet:
    """The pairs of an uploaded file. Raises InputError for one that is none of the formats."""
    file = read_pairs_file(content, name, how)
    if model is not None:
        file = file.for_model(model.tokenizer, model.name)
    found = PairSet.of(file, file.rows(), MOST_PAIRS)
    skipped = len(found.skipped)
    if skipped <= MOST_ERRORS:
        return found
    told = f"the first {MOST_ERRORS} of {skipped:,} rows that cannot be used are told of"
    return replace(found, skipped=found.skipped[:MOST_ERRORS], counted=(*found.counted, told))


def _from_pair(state: State, model: Model) -> PairSet:
    count, seed = int(state["set_count"]), int(state["set_seed"])
    for key in ("clean", "corrupt"):
        LIMITS.check_length(len(encode_prompt(state[key], model.tokenizer, state["bos"])))
    found = similar_pairs(model, pair_of(state), count, seed, state["metric"], state["bos"])
    return replace(PairSet.made(found.pairs), counted=(found.summary(count),))


def _from_task(state: State, model: Model) -> PairSet:
    return _sample_pairs(task(state["task"]).template, state, model, state["task"])


def _from_own_template(state: State, model: Model) -> PairSet:
    if not answers_of(state["template_answer"]):
        raise InputError(
            "The answer is missing: name it by its slot, with its space, as in ' {A}'."
        )
    template = parse_template(
        state["template_text"],
        state["template_slots"].splitlines(),
        state["template_swap"].splitlines(),
        answers_of(state["template_answer"]),
        answers_of(state["template_wrong"]),
        ("The line", "The line"),
    )
    return _sample_pairs(template, state, model)


def _sample_pairs(template: Template, state: State, model: Model, *tags: str) -> PairSet:
    count, seed = int(state["set_count"]), int(state["set_seed"])
    return PairSet.made(from_template(template, count, model.tokenizer, seed), *tags)


def _from_sentences(state: State, model: Model) -> PairSet:
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
    return PairSet(tuple(items[:MOST_PAIRS]), tuple(errors), more=len(items) > MOST_PAIRS)


def _from_swap(state: State, model: Model) -> PairSet:
    answers = answers_of(state["swap_answer"])
    if len(answers) != 1:
        raise InputError("Give one answer, with its leading space, such as ' Mary'.")
    LIMITS.check_length(len(encode_prompt(state["swap_prompt"], model.tokenizer, state["bos"])))
    count = min(int(state["set_count"]), MOST_SWAPS)
    found = swap(
        model, state["swap_prompt"], state["swap_word"], answers[0], count=count, bos=state["bos"]
    )
    return PairSet.made([one.pair for one in found], "swap")


def _from_file(state: State, model: Model) -> PairSet:
    found: PairSet | None = state.get("set_file")
    if found is None:
        raise InputError("No file is here yet: upload a file of pairs.")
    if not found.items and found.skipped:
        raise InputError(f"No row is a pair. {error_sentences(found.skipped)[0]}")
    return found


def _from_run(state: State, model: Model) -> PairSet:
    pairs: tuple[Pair, ...] | None = state.get("set_pairs")
    if pairs is None:
        raise InputError("No stored set is open: open a run over pairs in the Library.")
    return PairSet.made(pairs)


_SOURCES: dict[str, Callable[[State, Model], PairSet]] = {
    "pair": _from_pair,
    "template": _from_task,
    "own": _from_own_template,
    "sentences": _from_sentences,
    "swap": _from_swap,
    "file": _from_file,
    "run": _from_run,
}

_TEMPLATE_FIELDS = (
    "template_text",
    "template_slots",
    "template_swap",
    "template_answer",
    "template_wrong",
)
SOURCE_FIELDS: dict[str, tuple[str, ...]] = {
    "pair": (*PAIR_FIELDS, "set_count", "set_seed"),
    "template": ("task", "set_count", "set_seed"),
    "own": (*_TEMPLATE_FIELDS, "set_count", "set_seed"),
    "sentences": ("sentences",),
    "swap": ("swap_prompt", "swap_word", "swap_answer", "set_count"),
    "file": ("set_file",),
    "run": ("set_pairs",),
}
"""What the set of each source depends on."""
