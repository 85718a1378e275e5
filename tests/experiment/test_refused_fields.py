"""Fields that an experiment does not take are refused with the field and what was given."""

from collections.abc import Callable
from typing import Any

import pytest

import patchwright as pw
from patchwright.errors import ExperimentError
from patchwright.experiment.base import Experiment
from patchwright.methods import METHODS

SEEDED = [kind for kind in METHODS.values() if "seed" in kind.model_fields]
PAIR: dict[str, Any] = {"clean": "Mary met", "corrupt": "John met", "answer": " Mary"}
REQUIRED: dict[str, Any] = {
    "model": "demo",
    "pairs": PAIR,
    "per": "head",
    "prompt": "Mary met",
    "subject": "Mary",
    "answer": " John",
    "places": ["L0H0.z"],
    "edges": [],
    "sizes": [],
}


def document(kind: type[Experiment], **changes: Any) -> dict[str, Any]:
    needed = {name: REQUIRED[name] for name, of in kind.model_fields.items() if of.is_required()}
    return needed | changes


@pytest.mark.parametrize("kind", SEEDED, ids=lambda kind: kind.__name__)
def test_a_seed_below_zero_is_refused_before_anything_runs(kind: type[Experiment]) -> None:
    assert kind.of(document(kind, seed=10**30)).model_dump()["seed"] == 10**30
    with pytest.raises(ExperimentError, match=r"'seed': .* '-1' was given\."):
        kind.of(document(kind, seed=-1))


def test_the_beginning_of_what_was_given_is_shown() -> None:
    with pytest.raises(ExperimentError, match=r"'site': '<U\+001B>\[2J' is not a site") as one:
        pw.Patch.of(document(pw.Patch, site="\x1b[2J"))
    assert len(str(one.value)) < 400
    with pytest.raises(ExperimentError, match=r"'site': 'x+…' is not a site") as one:
        pw.Patch.of(document(pw.Patch, site="x" * 9999))
    assert len(str(one.value)) < 400
    with pytest.raises(ExperimentError, match=r"'site': '\['z'\]' is not a site.*resid_post\.$"):
        pw.Patch.of(document(pw.Patch, site=["z"]))


@pytest.mark.parametrize(
    ("call", "needed"),
    [
        (pw.head_scores, ()),
        (pw.ablate, ("z",)),
        (pw.ablate_together, (["L0H0.z"],)),
    ],
)
def test_a_call_says_so_as_its_experiment_does(
    demo: pw.Model, call: Callable[..., pw.Result], needed: tuple[Any, ...]
) -> None:
    pair = pw.Pair(**PAIR)
    with pytest.raises(ExperimentError, match=r"'seed': .* '-1' was given\."):
        call(demo, pair, *needed, seed=-1)
    with pytest.raises(ExperimentError, match=r"'seed': .* '-1' was given\."):
        pw.trace(demo, "Mary met", "Mary", " John", seed=-1)
