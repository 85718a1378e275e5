"""Known answers of `planted-self-repair`.

Clean: `Mary likes tea, so give her` -> ` tea`. Corrupted: milk.
Positions: 3 the drink, 7 the last word. The logit difference is 10 and -10.
"""

from patchwright.known_answers.declaration import Answer, PlantedModel

UNDERSTATED = "McGrath et al. 2023; Wang et al. 2022"

KNOWN = PlantedModel(
    model="planted-self-repair",
    circuit="L0H2 copies the drink. L1H1 copies three quarters of it, but only where L0H2 wrote nothing.",
    source=UNDERSTATED,
    answers=(
        Answer(
            "patch",
            {"clean.metric": 10, "corrupt.metric": -10, "effect L0H2.z": 1},
            "With another drink written by L0H2 the backup stays silent: patching between prompts does not "
            "wake it.",
            fields={"site": "z"},
            elsewhere=0,
        ),
        Answer(
            "ablate",
            {"effect L0H2.z": 0.125, "effect L1H1.z": 0},
            "Without L0H2 the backup writes 7.5 of its 10. Ablated alone, the one seems to do an eighth of "
            "the gap, and the other nothing.",
            elsewhere=0,
            truth={"effect L0H2.z": 0.5},
            source=UNDERSTATED,
        ),
        Answer(
            "ablate_together",
            {"largest effect": 0.5},
            "Without both heads nothing is copied: the difference falls to 0, half of the gap. The two "
            "single ablations add up to an eighth.",
            fields={"places": ("L0H2.z", "L1H1.z")},
        ),
        Answer(
            "logit_attribution",
            {"contribution[clean, 0, 2]": 10, "contribution[clean, 1, 1]": 0},
            "What L0H2 writes is the whole answer. A head that did not act contributes nothing.",
        ),
        Answer(
            "attention",
            {"pattern[clean, -1, 0]": 1, "pattern[corrupt, -1, 0]": 1},
            "In both prompts the backup rests at the first token.",
            fields={"layer": 1, "head": 1},
        ),
        Answer(
            "path_patch",
            {"effect L0H2.z": 1},
            "L0H2 writes the answer itself.",
            fields={"site": "z", "receivers": ("logits",)},
            elsewhere=0,
        ),
    ),
)
