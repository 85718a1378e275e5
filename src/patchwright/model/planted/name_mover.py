"""Who gets the drink: a name mover and the head that inhibits it (after Wang et al. 2022).

L0H3   attends to the latest name, who is the giver, and writes that name into `inhibited`.
L1H0   attends to all names but the inhibited one, and copies what it finds.

Both do so at every position. There is no MLP.
"""

import torch

from patchwright.model.planted.builder import CONTEXT, CircuitBuilder, PlantedCheckpoint

NAMES = (" Mary", " John", " Anna", " Tom")
WORDS = "When| and| went| to| the| store|,| gave| a| drink|" + "|".join(NAMES)


def build(name: str) -> PlantedCheckpoint:
    """The checkpoint, under this name."""
    made = CircuitBuilder(name, WORDS, n_layers=2, parts={"position": 1, "inhibited": None})
    is_name, names = made.indicator(NAMES), made.eye_of(NAMES)
    made.embed_positions("position", torch.arange(CONTEXT)[:, None] / CONTEXT)
    made.head(
        0,
        3,
        # A name counts 64, each position 1/2: the latest name wins, and any name before any other
        # word. The first token, at 48, lies between the names and the last other word.
        always=[64.0, 32.0],
        key={"word": torch.cat([is_name, 0 * is_name], 1), "position": torch.tensor([[0.0, 1.0]])},
        value={"word": names},
        write={"inhibited": made.eye},
        rest=48.0,
    )
    made.head(
        1,
        0,
        # A name counts 1, and 2 less where it is the inhibited one.
        always=[1.0],
        query={"inhibited": torch.cat([0 * is_name, -2 * made.eye], 1)},
        key={"word": torch.cat([is_name, names], 1)},
        value={"word": names},
        write={"output": made.eye},
    )
    return made.build_checkpoint()
