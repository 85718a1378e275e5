"""Known answers of `planted-name-mover`.

Clean: `When Mary and Tom went to the store, Tom gave a drink to` -> ` Mary`. Corrupted: Mary gives.
Positions: 2 Mary, 4 Tom, 10 the giver, 14 the last word. The logit difference is 10 and -10.
"""

from patchwright.known_answers.declaration import Answer, PlantedModel

KNOWN = PlantedModel(
    model="planted-name-mover",
    circuit="L0H3 attends to the latest name, who is the giver, and writes it into the last position. "
    "L1H0 attends to all names but that one, and copies what it finds.",
    source="Wang et al. 2022",
    answers=(
        Answer(
            "patch",
            {"clean.metric": 10, "corrupt.metric": -10, "effect L0H3.z": 1, "effect L1H0.z": 1},
            "Each head alone carries all of it, and no other head does anything.",
            fields={"site": "z"},
            elsewhere=0,
        ),
        Answer(
            "patch",
            {"effect L0.resid_pre@10": 1, "effect L1.resid_pre@14": 1},
            "Layer 0 moves the giver's name to the last position.",
            fields={"site": "resid_pre"},
            elsewhere=0,
        ),
        Answer(
            "patch",
            {"effect L1H0.q": 1},
            "The inhibited name is in the query of L1H0.",
            fields={"site": "q"},
            elsewhere=0,
        ),
        Answer(
            "patch",
            {"effect L1H0.k": 0.5},
            "With the keys of the clean prompt the third name counts as Tom, where Mary stands: L1H0 "
            "attends to both alike.",
            fields={"site": "k"},
            elsewhere=0,
        ),
        Answer(
            "ablate",
            {"effect L0H3.z": 2 / 3, "effect L1H0.z": 0.5},
            "Without L0H3 all three names are copied alike, one Mary and two Toms: the difference "
            "falls from 10 to -10/3. Without L1H0 nothing is copied.",
            elsewhere=0,
        ),
        Answer(
            "attribute",
            {"effect L1H0.z": 1, "exact L0H3.z": 10, "effect L0H3.z": 0},
            "L0H3 acts by attention that is saturated, whose gradient is 0.",
            fields={"site": "z", "exact": True},
            truth={"effect L0H3.z": 1},
            source="Kramár et al. 2024",
        ),
        Answer(
            "path_patch",
            {"effect L0H3.z": 1},
            "All that L0H3 does, it does by the queries of L1H0.",
            fields={"site": "z", "receivers": ("L1H0.q",)},
            elsewhere=0,
        ),
        Answer(
            "path_patch",
            {"effect L1H0.z": 1},
            "Only L1H0 writes the answer itself.",
            fields={"site": "z", "receivers": ("logits",)},
            elsewhere=0,
        ),
        Answer(
            "attention",
            {"pattern[clean, -1, 2]": 1, "pattern[corrupt, -1, 4]": 1},
            "L1H0 attends to the one who does not give.",
            fields={"layer": 1, "head": 0},
        ),
        Answer(
            "logit_attribution",
            {"contribution[clean, 1, 0]": 10, "contribution[clean, 0, 3]": 0},
            "L0H3 acts by another head alone, so that its direct contribution is 0, though all depends "
            "on it.",
            truth={"contribution[clean, 0, 3]": 40 / 3},
            source="Wang et al. 2022",
        ),
    ),
)
