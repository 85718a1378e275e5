"""Known answers of `planted-direction`.

Clean: `The film was great and we feel` -> ` good`. Corrupted: dull -> ` bad`.
Positions: 4 the word of praise, 7 the last word. The logit difference is 20 and -10: the gap is 30.
"""

from patchwright.known_answers.declaration import Answer, PlantedModel

KNOWN = PlantedModel(
    model="planted-direction",
    circuit="L1H2 attends to the word of praise or blame, and writes its number times one unit vector: "
    "great 2, fine 1, dull -1, awful -2. The answer is read off along the same vector.",
    source="Tigges et al. 2023",
    answers=(
        Answer(
            "patch",
            {
                "clean.metric": 20,
                "corrupt.metric": -10,
                "effect L0.resid_pre@4": 1,
                "effect L1.resid_pre@4": 1,
            },
            "Layer 0 does nothing, and layer 1 reads the word.",
            fields={"site": "resid_pre"},
            elsewhere=0,
        ),
        Answer(
            "patch",
            {"effect L1.attn_out@7": 1},
            "One head writes at the last position.",
            fields={"site": "attn_out", "positions": (7,)},
            elsewhere=0,
        ),
        Answer(
            "attribute",
            {"effect L0.resid_pre@4": 1, "effect L1.resid_pre@4": 1},
            "The model is linear in each place by which the answer travels: the estimate is exact.",
            fields={"site": "resid_pre"},
            elsewhere=0,
        ),
        Answer(
            "attribute",
            {"effect L1H2.z": 1},
            "And by integrated gradients as well.",
            fields={"site": "z", "estimator": "integrated", "steps": 3},
            elsewhere=0,
        ),
        Answer(
            "ablate",
            {"effect L1H2.z": 2 / 3},
            "Without the head the difference falls from 20 to 0: two thirds of the gap of 30.",
            elsewhere=0,
        ),
        Answer(
            "difference",
            {
                "clean_norm L1.attn_out@7": 2,
                "norm L1.attn_out@7": 3,
                "relative L1.attn_out@7": 1.5,
                "cosine L1.attn_out@7": -1,
            },
            "2 and -1 times the same unit vector: opposite directions, 3 apart.",
            fields={"site": "attn_out"},
        ),
        Answer(
            "edge_attribution",
            {"edges[L1H2.v, embed]": -30, "edges[logits, L1H2]": -30},
            "Either edge alone takes the difference from 20 to -10, and the score says so exactly.",
        ),
        Answer(
            "evaluate_circuit",
            {"faithfulness[1]": 0, "faithfulness[2]": 1, "complement[2]": 0},
            "Two edges keep everything.",
            fields={
                "edges": (("embed", "L1H2.v"), ("L1H2", "logits")),
                "sizes": (1, 2),
            },
        ),
        Answer(
            "logit_lens",
            {"accumulated[clean, 0]": 0, "accumulated[clean, 1]": 20},
            "Layer 1 writes the answer.",
        ),
        Answer(
            "logit_attribution",
            {"contribution[clean, 1, 2]": 20, "contribution[corrupt, 1, 2]": -10},
            "The head writes all of it.",
        ),
    ),
)
