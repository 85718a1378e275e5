"""Known answers of `planted-fact`.

Clean: `The Louvre is in the city of` -> ` Paris`. Corrupted: the Colosseum -> ` Rome`.
Positions: 2 the landmark, 7 the last word. The logit difference is 10 and -10.
"""

from patchwright.known_answers.declaration import Answer, PlantedModel

KNOWN = PlantedModel(
    model="planted-fact",
    circuit="In layer 0 the MLP looks the city up at the landmark, by one neuron a landmark. Layer 1 "
    "does nothing. L2H1 carries the city to the last position.",
    source="Meng et al. 2022",
    answers=(
        Answer(
            "patch",
            {
                "clean.metric": 10,
                "corrupt.metric": -10,
                "effect L0.resid_pre@2": 1,
                "effect L1.resid_pre@2": 1,
                "effect L2.resid_pre@2": 1,
            },
            "The fact stays at the landmark until layer 2 reads it.",
            fields={"site": "resid_pre"},
            elsewhere=0,
        ),
        Answer(
            "patch",
            {"effect L0.mlp_out@2": 1},
            "Only the MLP of layer 0 does anything, at the landmark.",
            fields={"site": "mlp_out"},
            elsewhere=0,
        ),
        Answer(
            "patch",
            {"effect L2H1.z": 1},
            "One head carries the city.",
            fields={"site": "z"},
            elsewhere=0,
        ),
        Answer(
            "patch",
            {"effect L0.mlp_act[0]": 0.5, "effect L0.mlp_act[1]": 0.5},
            "With one neuron of each prompt, both cities are written or none, so the difference is 0.",
            fields={"site": "mlp_act", "per": "neuron", "layers": (0,)},
            elsewhere=0,
        ),
        Answer(
            "trace",
            {
                "effect L0.resid_post@2": 1,
                "effect L1.resid_post@2": 1,
                "effect L2.resid_post@7": 1,
            },
            "Whatever the noise: the landmark restored before layer 2 reads it, or the last position "
            "after, gives the clean run.",
            fields={"subject": " Louvre"},
            elsewhere=0,
        ),
        Answer(
            "ablate",
            {"effect L0.mlp_out@2": 0.5},
            "Without the fact no city is written: the difference falls to 0, half of the gap.",
            fields={"site": "mlp_out"},
            elsewhere=0,
        ),
        Answer(
            "attribute",
            {"effect L0.mlp_out@2": 1, "exact L0.mlp_out@2": 10},
            "Behind its neurons the model is linear.",
            fields={"site": "mlp_out", "exact": True},
            elsewhere=0,
        ),
        Answer(
            "attribute",
            {"effect L0.resid_pre@2": 4, "exact L0.resid_pre@2": 10},
            "The neuron that is on has a slope of 8 and a reach of 1, and the one that is off has a slope "
            "of 0: the estimate is 8 times half of the effect, and misses the other half.",
            fields={"site": "resid_pre", "layers": (0,), "exact": True},
            elsewhere=0,
            truth={"effect L0.resid_pre@2": 1},
            source="Nanda 2023; Kramár et al. 2024",
        ),
        Answer(
            "difference",
            {
                "relative L0.mlp_out@2": 2**0.5,
                "cosine L0.mlp_out@2": 0,
            },
            "Two cities are two dimensions: vectors at a right angle.",
            fields={"site": "mlp_out"},
        ),
        Answer(
            "logit_lens",
            {
                "logit_diff[clean, 2, -1]": 10,
                "logit_diff[clean, 1, -1]": 0,
                "logit_diff[clean, 0, 2]": 0,
            },
            "The fact is at the landmark from layer 0 on, but in another part of the stream than the one "
            "that the unembedding reads, so the lens does not see it.",
            truth={"logit_diff[clean, 0, 2]": 10},
            source="Belrose et al. 2023",
        ),
        Answer(
            "logit_attribution",
            {
                "components[clean, L2.attn_out]": 10,
                "components[clean, L0.mlp_out]": 0,
            },
            "The MLP that knows the fact writes nothing into the last position.",
            fields={"part": "layer"},
            truth={"components[clean, L0.mlp_out]": 10},
            source="Elhage et al. 2021",
        ),
    ),
)
