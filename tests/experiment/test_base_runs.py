"""Base runs that are kept change no number, whatever is asked in whatever order."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch

import patchwright as pw
from every_method import CLEAN, CORRUPT, every_experiment
from patchwright.experiment.base import Experiment
from patchwright.experiment.run import run
from patchwright.model.load import Model
from patchwright.model.run_memory import RunMemory
from patchwright.places import SITES
from tiny import pair_of, random_gpt2

PAIRS = {
    "one length": pw.Pair(clean=CLEAN, corrupt=CORRUPT, answer=" Mary", wrong=" John"),
    "answers of several tokens": pw.Pair(
        clean=CLEAN, corrupt=CORRUPT, answer=" Mary gave", wrong=[" John", " John gave a"]
    ),
    "unequal lengths": pw.Pair(
        clean=CLEAN, corrupt=CORRUPT.replace(" Mary and", " Mary"), answer=" Mary", wrong=" John",
        align="edges",
    ),
}  # fmt: skip


def remembering(model: Model, memory: RunMemory | None) -> Model:
    return replace(model, network=replace(model.network, memory=memory))


def asked(pair: str) -> list[Experiment]:
    """Every method, and sweeps of every site, as far as the pair lets them."""
    metric: dict[str, Any] = {"metric": "logprob_diff"} if pair.startswith("answers") else {}
    found = list(every_experiment(PAIRS[pair], **metric).values())
    sweeps = [
        pw.Patch(model="demo", pairs=PAIRS[pair], site=site, layers=None if site == "embed" else (1,),
                 direction=direction, **metric)
        for site in SITES
        for direction in ("denoise", "noise")
    ]  # fmt: skip
    return [*found, *sweeps]


def answers(experiments: Iterable[Experiment], model: Model) -> list[str]:
    """Each experiment's document, without how long it took; or why it was refused."""
    found: list[str] = []
    for one in experiments:
        try:
            found.append(replace(run(one, model), seconds=0.0).to_json())
        except pw.PatchwrightError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("pair", PAIRS)
def test_all_methods_in_all_orders_give_the_same_bits(demo: Model, pair: str) -> None:
    experiments = asked(pair)
    expected = answers(experiments, remembering(demo, None))
    assert sum(not one.startswith("{") for one in expected) < len(experiments) / 2
    memory = RunMemory()
    model = remembering(demo, memory)
    assert answers(experiments, model) == expected
    kept = [sum_of(memory), len(memory)]
    assert answers(experiments[::-1], model) == expected[::-1]
    assert [sum_of(memory), len(memory)] == kept, "somebody wrote into a kept run"


def sum_of(memory: RunMemory) -> list[float]:
    """A sum over each kept tensor, which changes where one of its numbers does."""
    runs = chain.from_iterable(entry.runs for entry in memory._entries.values())  # pyright: ignore[reportPrivateUsage]
    tensors = [one for run in runs for one in (run.final, *run.keys, *chain(*run.kept.values()))]
    return sorted(float(one.double().abs().sum()) for one in tensors)


def test_many_pairs_leave_nothing_behind(demo: Model) -> None:
    memory = RunMemory()
    pairs = [PAIRS["one length"], PAIRS["one length"]]
    pw.patch(remembering(demo, memory), pairs, site="z")
    assert len(memory) == 0


def test_numbers_of_a_wrapped_model_follow_its_weights() -> None:
    module, pair = random_gpt2(), pair_of([1, 2, 3], [1, 4, 3])
    model = pw.wrap_model(module)
    before = pw.patch(model, pair, site="resid_pre")
    with torch.no_grad():
        module.transformer.wte.weight.mul_(2)
    after = pw.patch(model, pair, site="resid_pre")
    assert after.clean.metric != before.clean.metric
    assert after.patched.equals(pw.patch(pw.wrap_model(module), pair, site="resid_pre").patched)
