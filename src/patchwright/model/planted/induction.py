"""Induction by two heads (Elhage et al. 2021; Olsson et al. 2022). There is no MLP.

L0H1   attends to the position before, and writes which word stands there into `previous`.
L1H2   attends to where the word before is the current word, and copies the word that it finds.
"""

import torch

from patchwright.model.planted.builder import CONTEXT, CircuitBuilder, PlantedCheckpoint
from patchwright.model.planted.words import BOS

WORDS = "See|red| red| blue| green| cup| box| pen|,|."


def build(name: str) -> PlantedCheckpoint:
    """The checkpoint, under this name."""
    made = CircuitBuilder(name, WORDS, n_layers=2, parts={"position": CONTEXT, "previous": None})
    made.embed_positions("position", torch.eye(CONTEXT))
    made.head(
        0,
        1,
        # Position p asks for p - 1: row p has its 1 in column p - 1.
        query={"position": torch.eye(CONTEXT).roll(-1, dims=1).triu(-1).tril(-1)},
        key={"position": torch.eye(CONTEXT)},
        value={"word": made.eye},
        write={"previous": made.eye},
        rest=0.0,
    )
    # L0H1 finds nothing before the first token but that token itself: it is not to count.
    nothing_before = torch.zeros(CONTEXT, len(made.words))
    nothing_before[0, 0] = -1
    made.head(
        1,
        2,
        query={"word": made.eye},
        key={"previous": made.eye, "position": nothing_before},
        # At the first token, where the head rests, there is nothing to copy.
        value={"word": made.eye - made.eye_of([BOS])},
        write={"output": made.eye},
    )
    return made.build_checkpoint()
