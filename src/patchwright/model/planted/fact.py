"""A fact that is looked up at the subject and then carried to the end (after Meng et al. 2022).

L0     its MLP has a neuron for each landmark, which writes its city into `attribute`.
L1     does nothing: the fact stays at the landmark.
L2H1   attends to where an attribute is, and copies it.
"""

import torch

from patchwright.model.planted.builder import CircuitBuilder, PlantedCheckpoint

CITIES = {
    " Louvre": " Paris",
    " Colosseum": " Rome",
    " Kremlin": " Moscow",
    " Parthenon": " Athens",
}
WORDS = "|".join(["The| is| in| the| city| of|.", *CITIES, *CITIES.values()])


def build(name: str) -> PlantedCheckpoint:
    """The checkpoint, under this name."""
    made = CircuitBuilder(name, WORDS, n_layers=3, parts={"attribute": None})
    landmarks = torch.cat([made.indicator([one]) for one in CITIES], dim=1)  # [word, neuron]
    cities = torch.cat([made.indicator([one]) for one in CITIES.values()], dim=1)
    # 8 x 1 - 7 = 1 for the neuron's own landmark; a ReLU makes 0 of all else. Below 7/8 of a landmark
    # there is nothing, so that noise on the subject loses the fact.
    made.mlp(0, read={"word": 8 * landmarks}, bias=-7.0, write={"attribute": cities.T})
    made.head(
        2,
        1,
        always=[1.0],
        key={"attribute": made.indicator(made.words)},
        value={"attribute": made.eye},
        write={"output": made.eye},
    )
    return made.build_checkpoint()
