"""Known answers of `planted-saturation`.

Clean: `The cat is black. Its color is` -> ` black`. Corrupted: Its animal -> ` cat`.
Positions: 2 the animal, 4 the color, 7 the question's word, 8 the last word. The logit difference is 10 and -10.
"""

from patchwright.known_answers.declaration import Answer, PlantedModel

BLIND = "Kramár et al. 2024"

KNOWN = PlantedModel(
    model="planted-saturation",
    circuit="L0H0 carries the word color or animal to the last position. There L1H3 attends to the word "
    "of that kind, with scores 256 apart, and copies it.",
    source=BLIND,
    answers=(
        Answer(
            "patch",
            {"clean.metric": 10, "corrupt.metric": -10, "effect L0H0.z": 1, "effect L1H3.z": 1},
            "Each head alone carries all of it.",
            fields={"site": "z"},
            elsewhere=0,
        ),
        Answer(
            "attribute",
            {"exact L0H0.z": 10, "effect L0H0.z": 0, "effect L1H3.z": 1},
            "Behind L0H0 comes attention that is saturated, whose gradient is 0.",
            fields={"site": "z", "exact": True},
            truth={"effect L0H0.z": 1},
            source=BLIND,
        ),
        Answer(
            "attribute",
            {"exact L1H3.q": 10, "effect L1H3.q": 0},
            "No small step of the queries changes a pattern of 0 and 1.",
            fields={"site": "q", "exact": True},
            elsewhere=0,
            truth={"effect L1H3.q": 1},
            source=BLIND,
        ),
        Answer(
            "attribute",
            {"exact L1H3.q": 10, "effect L1H3.q": 1},
            "The softmax recomputed: from the pattern on the model is linear.",
            fields={"site": "q", "estimator": "qk_fix", "exact": True},
            elsewhere=0,
        ),
        Answer(
            "attribute",
            {"exact L1H3.q": 10, "effect L1H3.q": 0},
            "Between the prompts the pattern turns over in the middle of the way, within a hundredth of it, "
            "and none of the 4 steps lies there.",
            fields={"site": "q", "estimator": "integrated", "steps": 4, "exact": True},
            elsewhere=0,
            truth={"effect L1H3.q": 1},
            source="Sundararajan et al. 2017",
        ),
        Answer(
            "attribute",
            {"exact L1H3.pattern": 10, "effect L1H3.pattern": 1},
            "From the pattern on the model is linear.",
            fields={"site": "pattern", "exact": True},
            elsewhere=0,
        ),
        Answer(
            "attribute",
            {"exact L0.resid_pre@7": 10, "effect L0.resid_pre@7": 0},
            "The one word that differs seems to matter nowhere.",
            fields={"site": "resid_pre", "layers": (0,), "exact": True},
            elsewhere=0,
            truth={"effect L0.resid_pre@7": 1},
            source=BLIND,
        ),
        Answer(
            "edge_attribution",
            {"exact[L1H3.q, L0H0]": -20, "edges[L1H3.q, L0H0]": 0, "edges[logits, L1H3]": -20},
            "The edge into the saturated queries decides, and has a score of 0.",
            fields={"exact": 1000},
            truth={"edges[L1H3.q, L0H0]": -20},
            source=BLIND,
        ),
        Answer(
            "attention",
            {"pattern[clean, -1, 4]": 1, "pattern[corrupt, -1, 2]": 1},
            "L1H3 attends to the color, or to the animal, and to nothing else.",
            fields={"layer": 1, "head": 3},
        ),
    ),
)
