"""What the model itself proposes: answers, and replacements of the same length."""

from collections.abc import Sequence

import torch

from patchwright.algorithms.batches import row_bytes, split_batches
from patchwright.algorithms.pair_runs import TokenText
from patchwright.algorithms.readout import logits
from patchwright.axes import BUDGET
from patchwright.model.forward import forward
from patchwright.model.requests import BASE_SITES, Row
from patchwright.model.weights import Network
from patchwright.prompts.align import differing_range

EXPECTED_TOKENS = 50
"""Most probable tokens among which words are looked for."""


def next_tokens(network: Network, tokens: Sequence[int], count: int = 10) -> list[int]:
    """The most probable next tokens after `tokens`, best first."""
    run = forward(network, [Row(tuple(tokens), len(tokens) - 1)])[0]
    of_tokens = logits(network, run.final[0])[: network.spec.n_tokens]
    return torch.topk(of_tokens, count).indices.tolist()


def predicted_tokens(network: Network, prompts: Sequence[Sequence[int]]) -> list[int]:
    """The most probable next token after each of some prompts, which run together."""
    runs = forward(network, [Row(tuple(one), len(one) - 1) for one in prompts])
    n = network.spec.n_tokens
    return [int(logits(network, run.final[0])[:n].argmax()) for run in runs]


def suggested_answers(
    network: Network, clean: Sequence[int], corrupt: Sequence[int]
) -> tuple[int, int]:
    """An answer and a wrong answer: what the model puts first after each prompt.

    Where that is the same token, the wrong answer is the clean run's second choice.
    """
    first, second = next_tokens(network, clean, 2)
    other = next_tokens(network, corrupt, 1)[0]
    return first, second if other == first else other


def is_spelled_like(text: str, word: str) -> bool:
    """Whether a token's text is a whole word that is spaced and capitalised as `word` is."""
    letters, like = text.removeprefix(" "), word.removeprefix(" ")
    return (
        letters.isalpha()
        and text.startswith(" ") == word.startswith(" ")
        and letters[0].isupper() == like[:1].isupper()
    )


def same_length_prompts(
    network: Network,
    clean: Sequence[int],
    corrupt: Sequence[int],
    texts: TokenText,
    count: int = 5,
) -> list[tuple[int, ...]]:
    """Corrupted prompts with as many tokens as the clean one, likely words first.

    The stretch where the prompts part is the clean prompt's, but for its last word, in whose
    place is one that the model expects there. Empty where that would make no sense: the prompts
    have nothing in common, one only adds to the other, or the stretch does not end in
    a word of one token.
    """
    changed = differing_range(clean, corrupt)
    last = changed.stop - 1
    # What both begin with may be the beginning-of-text token alone.
    if last < max(changed.start, 1) or not (changed.stop < len(clean) or changed.start > 1):
        return []
    before, word, after = (
        "".join(map(texts, clean[i : i + 1])) for i in (last - 1, last, last + 1)
    )
    inside = (before[-1:].isalnum() and word[:1].isalnum()) or after[:1].isalnum()
    if inside or not is_spelled_like(word, word):
        return []
    expected = next_tokens(network, clean[:last], min(EXPECTED_TOKENS, network.spec.n_tokens))
    fitting = [one for one in expected if one != clean[last] and is_spelled_like(texts(one), word)]
    return [(*clean[:last], token, *clean[last + 1 :]) for token in fitting[:count]]


def score_swaps(
    network: Network,
    clean: Sequence[int],
    swapped: Sequence[Sequence[int]],
    answer: int,
    wrong: int | None = None,
    budget: int = BUDGET,
) -> list[tuple[float, int]]:
    """What each of the `swapped` prompts, as long as `clean`, does to the answer.

    For each the logit difference of `answer` and the wrong answer, in logits: below 0 the
    answer has flipped. The wrong answer is `wrong`, or without it the token that the
    prompt makes likeliest beside the answer; it comes second. All prompts start from the clean run and share batches. Raises MemoryBudgetError as `batches.split_batches`.
    """
    read = len(clean) - 1
    base = forward(network, [Row(tuple(clean), read)], BASE_SITES)[0]
    rows = [Row(tuple(tokens), read, base) for tokens in swapped]
    found: list[tuple[float, int]] = []
    for batch in split_batches(
        rows, lambda row: (row.cost(), row_bytes(network, len(clean), row.cost())), budget
    ):
        for run in forward(network, batch):
            values = logits(network, run.final[0])
            others = values[: network.spec.n_tokens].clone()
            others[answer] = -torch.inf
            rival = int(others.argmax()) if wrong is None else wrong
            found.append((float(values[answer] - values[rival]), rival))
    return found
