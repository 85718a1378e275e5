"""Attention that is saturated: its gradient is 0, and yet what it attends to decides the answer.

L0H0   carries the question's word, color or animal, to every later position, into `asked`.
L1H3   attends to the word of the kind that is asked for, and copies it.

The scores of L1H3 are 256 apart. So its pattern is 0 and 1, its slope is 0 to the last bit, and an
estimate by gradient says that neither its queries nor L0H0 matter (after Kramár et al. 2024).
There is no MLP.
"""

import torch

from patchwright.model.planted.builder import CircuitBuilder, PlantedCheckpoint

KINDS = {" animal": (" cat", " dog"), " color": (" black", " white")}
WORDS = "|".join(["The| is|.| Its", *KINDS, *KINDS[" animal"], *KINDS[" color"]])


def build(name: str) -> PlantedCheckpoint:
    """The checkpoint, under this name."""
    made = CircuitBuilder(name, WORDS, n_layers=2, parts={"asked": len(KINDS)})
    questions = torch.cat([made.indicator([one]) for one in KINDS], dim=1)  # [word, kind]
    kinds = torch.cat([made.indicator(some) for some in KINDS.values()], dim=1)
    made.head(
        0,
        0,
        always=[1.0],
        key={"word": made.indicator(list(KINDS))},
        value={"word": questions},
        write={"asked": torch.eye(len(KINDS))},
    )
    made.head(
        1,
        3,
        query={"asked": torch.eye(len(KINDS))},
        key={"word": kinds},
        value={"word": made.eye_of([one for some in KINDS.values() for one in some])},
        write={"output": made.eye},
    )
    return made.build_checkpoint()
