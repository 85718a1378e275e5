"""Known answers of `planted-induction`.

Clean: `See red cup, blue box, red` -> ` cup`. Corrupted: the two adjectives are exchanged -> ` box`.
Positions: 2 the first adjective, 3 ` cup`, 5 the second adjective, 6 ` box`, 8 the last ` red`.
"""

from patchwright.known_answers.declaration import Answer, PlantedModel

CIRCUIT_EDGES = (("embed", "L0H1.v"), ("L0H1", "L1H2.k"), ("L1H2", "logits"))

KNOWN = PlantedModel(
    model="planted-induction",
    circuit="L0H1 writes at each position which word stands before it. L1H2 attends to where that is "
    "the current word, and copies the word that it finds.",
    source="Elhage et al. 2021; Olsson et al. 2022",
    answers=(
        Answer(
            "patch",
            {"clean.metric": 10, "corrupt.metric": -10, "effect L0H1.z": 1, "effect L1H2.z": 1},
            "Each head alone carries all of it, and no other head does anything.",
            fields={"site": "z"},
            elsewhere=0,
        ),
        Answer(
            "patch",
            {
                "effect L0.resid_pre@2": 0.5,
                "effect L0.resid_pre@5": 0.5,
                "effect L1.resid_pre@3": 0.5,
                "effect L1.resid_pre@6": 0.5,
            },
            "With one adjective of each prompt, red stands before both things or before none, so the "
            "difference of their logits is 0, which is half of the gap.",
            fields={"site": "resid_pre"},
            elsewhere=0,
        ),
        Answer(
            "patch_together",
            {"largest effect": 1},
            "Both adjectives together are the clean prompt.",
            fields={"places": ("L0.resid_pre@2", "L0.resid_pre@5")},
        ),
        Answer(
            "patch",
            {"effect L1H2.k": 1},
            "L0H1 acts by the keys of L1H2.",
            fields={"site": "k"},
            elsewhere=0,
        ),
        Answer(
            "patch",
            {"largest effect": 0, "smallest effect": 0},
            "The query is the last word, which both prompts share.",
            fields={"site": "q"},
        ),
        Answer(
            "ablate",
            {"effect L0H1.z": 0.5, "effect L1H2.z": 0.5},
            "Without either head nothing is copied: the difference falls to 0, half of the gap.",
            elsewhere=0,
        ),
        Answer(
            "ablate_together",
            {"largest effect": 0.5},
            "Each of the two needs the other, so both together cost no more than one.",
            fields={"places": ("L0H1.z", "L1H2.z")},
        ),
        Answer(
            "attribute",
            {"effect L1H2.z": 1, "exact L0H1.z": 10, "effect L0H1.z": 0},
            "From L1H2 on the model is linear. L0H1 acts by attention that is saturated, whose "
            "gradient is 0.",
            fields={"site": "z", "exact": True},
            truth={"effect L0H1.z": 1},
            source="Kramár et al. 2024",
        ),
        Answer(
            "path_patch",
            {"effect L0H1.z": 1},
            "All that L0H1 does, it does by the keys of L1H2.",
            fields={"site": "z", "receivers": ("L1H2.k",)},
            elsewhere=0,
        ),
        Answer(
            "path_patch",
            {"effect L1H2.z": 1},
            "Only L1H2 writes the answer itself.",
            fields={"site": "z", "receivers": ("logits",)},
            elsewhere=0,
        ),
        Answer(
            "edge_attribution",
            {
                "edges[logits, L1H2]": -20,
                "exact[logits, L1H2]": -20,
                "exact[L1H2.k, L0H1]": -20,
                "edges[L1H2.k, L0H1]": 0,
            },
            "Either edge, when it alone is corrupted, takes the difference from 10 to -10; of the edge "
            "into saturated attention the gradient sees nothing.",
            fields={"exact": 1000},
            truth={"edges[L1H2.k, L0H1]": -20},
            source="Kramár et al. 2024",
        ),
        Answer(
            "evaluate_circuit",
            {"faithfulness[2]": 0, "faithfulness[3]": 1, "complement[3]": 0},
            "The three edges keep everything, and all others nothing; without the last of the three "
            "nothing is left either.",
            fields={"edges": CIRCUIT_EDGES, "sizes": (2, 3)},
        ),
        Answer(
            "attention",
            {"pattern[clean, -1, 3]": 1, "pattern[corrupt, -1, 6]": 1},
            "L1H2 attends to the thing after the adjective that the prompt ends in.",
            fields={"layer": 1, "head": 2},
        ),
        Answer(
            "attention",
            {"pattern[clean, 8, 7]": 1, "pattern[clean, 3, 2]": 1},
            "L0H1 attends to the position before.",
            fields={"layer": 0, "head": 1},
        ),
        Answer(
            "head_scores",
            {
                "previous[random, 0, 1]": 1,
                "induction[random, 1, 2]": 1,
                "induction[clean, 1, 2]": 1,
            },
            "The heads are what the scores look for.",
        ),
        Answer(
            "logit_lens",
            {
                "logit_diff[clean, 0, -1]": 0,
                "logit_diff[clean, 1, -1]": 10,
                "accumulated[corrupt, 1]": -10,
            },
            "The answer is written by layer 1.",
        ),
        Answer(
            "logit_attribution",
            {"contribution[clean, 1, 2]": 10, "contribution[clean, 0, 1]": 0},
            "L0H1 acts by another head alone, so that its direct contribution is 0.",
            truth={"contribution[clean, 0, 1]": 10},
            source="Elhage et al. 2021",
        ),
    ),
)
