"""Pairs that are one and the same: the same two prompts, also with clean and corrupted exchanged.

Such pairs say nothing new: whatever asks how sure a result is counts them as one.
"""

from collections.abc import Hashable, Iterable, Sequence

from patchwright.algorithms.result import Result
from patchwright.warnings import Notice

MOST_NAMED = 5
"""Of groups of duplicates, and of pairs in one, so many are named in a warning."""


def groups_of(result: Result) -> list[int]:
    """For each pair of the result the number of its group; see `group_numbers`."""
    if result.position_tokens is not None:
        return list(range(max(1, len(result.clean.pairs))))
    return group_numbers(zip(result.tokens["clean"], result.tokens["corrupt"], strict=True))


def group_numbers(prompts: Iterable[tuple[Sequence[Hashable], Sequence[Hashable]]]) -> list[int]:
    """For each pair the number of its group, counted in the order of the pairs.

    `prompts` are each pair's two, as tokens. Duplicates have equal ones in either order,
    whatever their answers: both are read off the same two runs.
    """
    numbers: dict[frozenset[tuple[Hashable, ...]], int] = {}
    return [
        numbers.setdefault(frozenset((tuple(clean), tuple(corrupt))), len(numbers))
        for clean, corrupt in prompts
    ]


def duplicate_notices(result: Result) -> list[Notice]:
    """The warning that names duplicates, by their numbers from 1; nothing where there are none."""
    groups = groups_of(result)
    members: dict[int, list[int]] = {}
    for pair, group in enumerate(groups, 1):
        members.setdefault(group, []).append(pair)
    repeated = [some for some in members.values() if len(some) > 1]
    if not repeated:
        return []
    named = "; ".join(_numbers_text(some) for some in repeated[:MOST_NAMED])
    more = f"; and {len(repeated) - MOST_NAMED} more groups" if len(repeated) > MOST_NAMED else ""
    return [
        Notice(
            code="duplicate_pairs",
            message=f"These pairs have the same two prompts: {named}{more}. Means are over all "
            f"{len(groups)} pairs, but only {len(members)} are different: intervals and tests count "
            "each different pair once.",
        )
    ]


def _numbers_text(pairs: Sequence[int]) -> str:
    shown = ", ".join(map(str, pairs[:MOST_NAMED]))
    return shown + (f" and {len(pairs) - MOST_NAMED} more" if len(pairs) > MOST_NAMED else "")
