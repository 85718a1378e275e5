"""Self-repair: a backup head that acts only where the head before it did not (after McGrath et al. 2023).

L0H2   attends to the drink, and copies it.
L1H1   attends to the drink as well, but only where nothing is in `output` yet; it copies 3/4 of it.

There is no MLP.
"""

from patchwright.model.planted.builder import CircuitBuilder, PlantedCheckpoint

DRINKS = (" tea", " milk", " juice", " water")
WORDS = "|".join(["Mary| likes|,| so| give| her|.", *DRINKS])

BACKUP = 0.75
"""How much of the answer the backup restores."""


def build(name: str) -> PlantedCheckpoint:
    """The checkpoint, under this name."""
    made = CircuitBuilder(name, WORDS, n_layers=2, parts={})
    is_drink, drinks = made.indicator(DRINKS), made.eye_of(DRINKS)
    made.head(
        0,
        2,
        always=[1.0],
        key={"word": is_drink},
        value={"word": drinks},
        write={"output": made.eye},
    )
    made.head(
        1,
        1,
        # A drink counts 1, and 2 less where L0H2 has written one: then the first token has more.
        always=[1.0],
        query={"output": -2 * is_drink},
        key={"word": is_drink},
        value={"word": drinks},
        write={"output": BACKUP * made.eye},
    )
    return made.build_checkpoint()
