"""A head that writes along one direction: how good or bad a film was said to be.

L1H2   attends to the word of praise or blame, and writes its number times one unit vector.

The answer is read off along the same vector. With it the model is linear in each place by which
the answer travels, so that estimates by gradient are exact. There is no MLP, and layer 0 does nothing.
"""

import torch

from patchwright.model.planted.builder import CircuitBuilder, PlantedCheckpoint

FEELINGS = {" great": 2.0, " fine": 1.0, " dull": -1.0, " awful": -2.0}
WORDS = "|".join(["The| film| was| and| we| feel|.| good| bad", *FEELINGS])

DIRECTION = torch.tensor([[0.5, -0.5, 0.5, 0.5]])
"""A unit vector of the part `feeling`: [1, width]."""

LOGITS = {" good": 5.0, " bad": -5.0}
"""What a length of 1 along the direction adds to the logits."""


def build(name: str) -> PlantedCheckpoint:
    """The checkpoint, under this name."""
    made = CircuitBuilder(name, WORDS, n_layers=2, parts={"feeling": DIRECTION.shape[1]})
    made.head(
        1,
        2,
        always=[1.0],
        key={"word": made.indicator(list(FEELINGS))},
        value={"word": made.word_values(FEELINGS)},
        write={"feeling": DIRECTION},
    )
    return made.build_checkpoint({"feeling": DIRECTION.T @ made.word_values(LOGITS).T})
