"""Which position of one prompt answers to which of the other."""

from collections.abc import Sequence
from typing import Literal

from patchwright.errors import UnequalLengthsError
from patchwright.prompts.tokens import visible

Align = Literal["exact", "edges"]

Matching = tuple[tuple[int, int], ...]
"""Matched positions: (in the clean prompt, in the corrupted one), rising."""


def match_positions(clean: Sequence[int], corrupt: Sequence[int], align: Align) -> Matching:
    """The positions of two token sequences that answer to each other.

    `exact` matches equal lengths one to one. `edges` matches the common start
    and the common end one to one, and of the differing middle only the last
    tokens. Raises ValueError where `exact` meets unequal lengths; callers that
    have the texts raise `unequal_lengths_error` first.
    """
    if len(clean) == len(corrupt):
        return tuple((i, i) for i in range(len(clean)))
    if align == "exact":
        raise ValueError("unequal lengths")
    changed = differing_range(clean, corrupt)
    end = len(clean) - changed.stop
    corrupt_end = len(corrupt) - end
    both = min(changed.stop, corrupt_end) > changed.start
    middle = [(changed.stop - 1, corrupt_end - 1)] if both else []
    ends = [(changed.stop + i, corrupt_end + i) for i in range(end)]
    return (*((i, i) for i in range(changed.start)), *middle, *ends)


def differing_range(clean: Sequence[object], corrupt: Sequence[object]) -> range:
    """The positions of `clean` from its common start with `corrupt` to their common end."""
    start = common_prefix_length(clean, corrupt)
    shorter = min(len(clean), len(corrupt)) - start
    end = min(common_prefix_length(clean[::-1], corrupt[::-1]), shorter)
    return range(start, len(clean) - end)


def common_prefix_length(clean: Sequence[object], corrupt: Sequence[object]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(clean, corrupt, strict=False))
    shorter = min(len(clean), len(corrupt))
    return next((i for i, (one, other) in pairs if one != other), shorter)


EDGES_HINT = ", or match only their common edges with align='edges' (--align edges)"
"""What can be done about unequal lengths in most methods, besides rewording."""

NO_EDGES_HINT = "; with align='edges' this method cannot be run"
"""The same where nothing else can be done."""


def unequal_lengths_error(
    clean: Sequence[str], corrupt: Sequence[str], instead: str = EDGES_HINT
) -> UnequalLengthsError:
    """The refusal of two prompts, as token texts, of unequal length: shows where they part.

    `instead` ends the sentence that asks to reword one: what else can be done.
    """
    parting = common_prefix_length(clean, corrupt)
    return UnequalLengthsError(
        f"The clean prompt has {len(clean)} tokens and the corrupted one {len(corrupt)}; they "
        f"first differ at position {parting}. Reword one so that both have the same number of tokens"
        f"{instead}.\n"
        f"  clean:   {_row(clean, parting)}\n  corrupt: {_row(corrupt, parting)}"
    )


def _row(tokens: Sequence[str], parting: int) -> str:
    shown = [visible(token) for token in tokens]
    return " | ".join([*shown[:parting], ">>> " + " | ".join(shown[parting:])])
