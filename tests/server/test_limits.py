"""What one of many may not ask for, each with a sentence that says how much is allowed."""

from typing import Any

import pytest

import patchwright as pw
from http_service import PAIR, asked
from patchwright.errors import InputError
from patchwright.experiment.base import Experiment
from patchwright.methods import METHODS
from patchwright.server.limits import Limits


def experiment(document: dict[str, Any]) -> Experiment:
    import json

    return METHODS.parse(json.dumps(document))


TRACE = {
    "method": "trace", "model": "demo", "prompt": PAIR["clean"], "subject": " John", "answer": " Mary",
}  # fmt: skip
ON_PAIR = {"model": "demo", "pairs": PAIR}
TOKENS = 15


@pytest.mark.parametrize(
    ("bounds", "document", "says"),
    [
        (
            {"tokens": 14},
            asked(),
            "has 15 tokens with its answer, and this server takes at most 14",
        ),
        ({"tokens": 14}, TRACE, "has 15 tokens"),
        ({"cells": 89}, asked(), "90 cells, and this server takes at most 89"),
        ({"cells": 179}, asked(pairs=[PAIR, PAIR]), "180 cells"),
        ({"cells": 767}, asked(site="mlp_act", per="neuron", layers=[0]), "768 cells"),
        ({"cells": 899}, TRACE, "900 cells"),
        ({"cells": 224}, ON_PAIR | {"method": "attention", "layer": 0, "head": 0}, "225 cells"),
        ({"cells": 89}, ON_PAIR | {"method": "logit_lens"}, "90 cells"),
        ({"cells": 35}, ON_PAIR | {"method": "logit_attribution"}, "36 cells"),
        ({"pairs": 1}, asked(pairs=[PAIR, PAIR]), "2 pairs"),
        ({"passes": 9}, asked(method="attribute"), "10 passes"),
        ({"passes": 4}, ON_PAIR | {"method": "edge_attribution", "exact": 4}, "5 passes"),
        (
            {"passes": 9},
            ON_PAIR
            | {"method": "evaluate_circuit", "edges": [["embed", "logits"]], "sizes": [0, 1]},
            "10 passes",
        ),
        (
            {"drawn": 679},
            ON_PAIR | {"method": "head_scores", "repeats": 17},
            "680 tokens of random",
        ),
        ({"answers": 64}, asked(pairs=PAIR | {"wrong": [" John"] * 64}), "65 answers"),
        ({}, asked(method="ablate", ablation="mean", prompts=["a"] * 33), "33 prompts"),
        (
            {"tokens": 40},
            asked(method="ablate", ablation="mean", prompts=["a a" * 50]),
            "A prompt has",
        ),
        ({}, ON_PAIR | {"method": "patch_together", "places": ["L0.z"] * 65}, "65 places"),
        ({}, asked(method="path_patch", receivers=["logits"] * 65), "65 receivers"),
        ({}, asked(roles=["last"] * 65), "65 roles"),
    ],
)
def test_what_is_too_large_is_refused_by_its_size(
    demo: pw.Model, bounds: dict[str, Any], document: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError) as refused:
        Limits(**bounds).check(experiment(document), demo)
    assert says in str(refused.value)
    assert "command line, which has no such bound" in str(refused.value)
    at_bound = {name: number + 1 for name, number in bounds.items() if name != "tokens"}
    if at_bound:
        Limits(**at_bound).check(experiment(document), demo)


def test_memory_is_bounded_too(demo: pw.Model) -> None:
    for document in (TRACE, ON_PAIR | {"method": "edge_attribution"}):
        with pytest.raises(
            InputError, match=r"MiB of memory .*, and this server gives at most 1 MiB"
        ):
            Limits(memory=2**20).check(experiment(document), demo)


def test_usual_experiments_are_within_the_usual_bounds(demo: pw.Model) -> None:
    for document in (
        asked(),
        TRACE,
        asked(site="z", per="head_position"),
        asked(method="attribute"),
    ):
        Limits().check(experiment(document), demo)
