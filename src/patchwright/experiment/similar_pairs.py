"""One pair -> more pairs like it: other words in its places, the same tokens around them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest

from patchwright.algorithms.suggest import predicted_tokens
from patchwright.errors import InputError, PromptError
from patchwright.experiment.run import check_pair
from patchwright.experiment.swap import expected_words
from patchwright.model.load import Model
from patchwright.prompts.pair import Pair, TokenPair
from patchwright.prompts.pair_template import builtin_alike, fitting_task, templates_of_pair
from patchwright.prompts.templates import Template, Word, sample_pairs
from patchwright.spelling import join_words

PAIRS_AT_ONCE = 32
"""Pairs whose prompts run together."""

TRIES_PER_PAIR = 6
"""Pairs that are tried at most, for each that is wanted."""

SHORT_WORD = 3
"""Letters of words that are left alone where the model proposes others: they are grammar."""

NOT_ALIGNED = "their tokens would not line up with this pair's"
NOT_FIRST = "the model does not put the answer first after A"
STILL_FIRST = "the model puts A's answer first after B too"


@dataclass
class SimilarPairs:
    """Pairs like one, what of it was varied, and why others were dropped; `tried` counts all."""

    varied: str
    pairs: list[Pair] = field(default_factory=list[Pair])
    tried: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])

    def summary(self, wanted: int) -> str:
        """What was done, in a sentence or two."""
        n = len(self.pairs)
        few = f"Only {n} of {wanted} pairs" if n < wanted else f"{n} pairs"
        why = [f"{count:,} because {reason}" for reason, count in self.dropped.most_common()]
        rest = f"dropped: {', '.join(why)}" if why else "none was dropped"
        return f"{few} like this one: {self.varied}. {self.tried:,} were tried; {rest}."


def similar_pairs(
    model: Model,
    pair: Pair,
    count: int = 50,
    seed: int = 0,
    metric: str = "logit_diff",
    bos: bool = True,
) -> SimilarPairs:
    """At most `count` pairs like `pair`, itself the first if it passes the same test.

    Each has the pair's numbers of tokens and differs where it does; the model puts its answer
    first after the clean prompt and not after the corrupted one. Words come from the built-in
    template that the pair is one of, else from those that built-in templates hold alike, else
    from what the model expects in a word's place. Raises PromptError where fewer than two
    pairs pass, with what was dropped and why.
    """
    if not isinstance(pair.clean, str) or not isinstance(pair.corrupt, str):
        raise PromptError("Words are varied in plain text, and this pair is a chat or token ids.")
    own = check_pair(pair, model, metric, bos)
    best = SimilarPairs("no word of it has others of its kind")
    for varied, candidates in _sources(model, pair, count, seed, bos):
        found = SimilarPairs(varied)
        others = (
            one for one in candidates if (one.clean, one.corrupt) != (pair.clean, pair.corrupt)
        )
        _collect_pairs(found, chain([pair], others), own, model, metric, bos, count)
        if len(found.pairs) > 1:
            return found
        best = found if found.tried > best.tried else best
    raise PromptError(f"No set can be made of this pair. {best.summary(count)}")


def _sources(
    model: Model, pair: Pair, count: int, seed: int, bos: bool
) -> Iterator[tuple[str, Iterable[Pair]]]:
    """What is varied, in words, and the pairs that come of it; those most alike first."""

    def template_pairs(template: Template) -> list[Iterator[Pair]]:
        """The template's pairs; nothing where this model has no words for it."""
        pairs = sample_pairs(template, TRIES_PER_PAIR * count, model.tokenizer, seed)
        try:
            return [chain([next(pairs)], pairs)]
        except (PromptError, StopIteration):
            return []

    def word_choices(word: str, before: str) -> Sequence[Word]:
        if len(word) <= SHORT_WORD or " " in word:
            return ()
        offered = expected_words(model, before, word, bos)
        return [word, *(one for one in offered if one != word and len(one) > SHORT_WORD)]

    if (task := fitting_task(pair)) is not None and (pairs := template_pairs(task.template)):
        yield f"other words in the built-in template {task.name}", pairs[0]
    for alike, together, how in (
        (builtin_alike(pair), True, "others of their kind stand for {}"),
        (word_choices, False, "words that the model expects there stand for {}, one at a time"),
    ):
        made = templates_of_pair(pair, alike, model.tokenizer, together)
        begun = [(words, pairs) for template, words in made for pairs in template_pairs(template)]
        if begun:
            words = [word for some, _ in begun for word in some]
            yield how.format(join_words(words)), _interleave([pairs for _, pairs in begun])


def _interleave(some: Sequence[Iterator[Pair]]) -> Iterator[Pair]:
    """The first of each, then the second of each, and so on."""
    return (one for row in zip_longest(*some) for one in row if one is not None)


def _collect_pairs(
    found: SimilarPairs,
    candidates: Iterator[Pair],
    own: TokenPair,
    model: Model,
    metric: str,
    bos: bool,
    count: int,
) -> None:
    """Put those that pass into `found`, until there are `count`; count the others by their reason."""
    while found.tried < TRIES_PER_PAIR * count and (
        batch := list(islice(candidates, PAIRS_AT_ONCE))
    ):
        some: list[tuple[Pair, TokenPair]] = []
        for pair in batch:
            try:
                tokens = check_pair(pair, model, metric, bos)
            except InputError:
                tokens = None
            if tokens is not None and _structure(tokens) == _structure(own):
                some.append((pair, tokens))
            else:
                found.tried += 1
                found.dropped[NOT_ALIGNED] += 1
        prompts = [one for _, tokens in some for one in (tokens.clean, tokens.corrupt)]
        firsts = iter(predicted_tokens(model.network, prompts) if prompts else ())
        for pair, tokens in some:
            answers = {one[0] for one in tokens.answers}
            clean, corrupt = next(firsts), next(firsts)
            if len(found.pairs) == count:
                return
            found.tried += 1
            if clean not in answers:
                found.dropped[NOT_FIRST] += 1
            elif corrupt in answers:
                found.dropped[STILL_FIRST] += 1
            else:
                found.pairs.append(pair)


def _structure(tokens: TokenPair) -> tuple[int, int, tuple[int, ...]]:
    """How many tokens both prompts have, and where they differ."""
    differ = (i for i, j in tokens.matching if tokens.clean[i] != tokens.corrupt[j])
    return len(tokens.clean), len(tokens.corrupt), tuple(differ)
