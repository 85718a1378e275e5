"""The example library: what it says of the demo model is true of its numbers."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

import patchwright as pw
from patchwright.prompts.align import differing_range
from patchwright.prompts.examples import Example, default_bos, example, examples
from patchwright.prompts.tokens import encode_prompt

LEAST_GAP = {"logit_diff": 5.0, "logprob_diff": 5.0, "prob_diff": 0.3}
DEMO = [one for one in examples() if "demo" in one.models]


@dataclass(frozen=True)
class Seen:
    """An example's sweeps: effects [layer, position] of `resid_pre`, and heads by strength."""

    result: pw.Result
    effect: NDArray[np.float64]
    heads: list[str]
    shares: list[float]

    def held(self, position: int, layers: range, least: float = 0.8) -> bool:
        """Whether the place carries at least so much at each of the layers."""
        return bool((self.effect[layers, position] >= least).all())

    def moves(self, position: int, last_layer: int, least: float = 0.8) -> bool:
        """Whether the place carries it up to a layer, and the last position above."""
        above = range(last_layer + 1, len(self.effect))
        return (
            self.held(position, range(last_layer + 1), least)
            and self.held(-1, above, 0.7)
            and bool((self.effect[above, position] < 0.3).all())
        )


def seen(demo: pw.Model, one: Example) -> Seen:
    result = pw.patch(demo, one.pair, metric=one.metric)
    table = pw.patch(demo, one.pair, "z", metric=one.metric).top(6)
    return Seen(
        result, result.effect.values, table["place"].tolist(), table["effect"].abs().tolist()
    )


@pytest.fixture(scope="module")
def sweeps(demo: pw.Model) -> dict[str, Seen]:
    return {one.id: seen(demo, one) for one in DEMO}


Claim = Callable[[Seen, dict[str, Seen]], bool]

CLAIMS: dict[str, Claim] = {
    "ioi": lambda own, _: (
        own.heads[0] == "L0H0.z" and own.shares[0] > 0.9
        and {head[:2] for head in own.heads[1:4]} == {"L3"}
    ),
    "ioi-third-name": lambda own, _: (
        own.result.corrupt.top[0]["token"] == " David" and own.moves(10, 0)
    ),
    "ioi-other-template": lambda own, other: own.heads[0] == other["ioi"].heads[0],
    "eiffel-tower": lambda own, _: (
        own.held(2, range(4)) and bool((np.abs(own.effect[:, 3]) < 0.1).all())
        and own.effect[3, -1] < 0.3 and own.effect[5, -1] > 0.9
    ),
    "same-city": lambda own, _: own.held(2, range(4), 0.9) and own.effect[5, 2] < 0.1,
    "one-word-landmark": lambda own, _: own.moves(5, 0),
    "capital": lambda own, _: bool((own.effect[:, :4] == 0).all()) and own.effect[0, 4] > 0.9,
    "capital-many-tokens": lambda own, _: own.result.clean.rank is None,
    "capital-unequal": lambda own, _: (
        len(own.result.tokens["clean"]) > len(own.result.tokens["corrupt"])
        and float(np.nanmax(own.effect)) < 0.9
    ),
    "agreement": lambda own, _: own.moves(2, 3),
    "agreement-past": lambda own, other: (
        own.moves(2, 3) and set(own.heads[:3]) & set(other["agreement"].heads[:3]) != set()
    ),
    "greater-than": lambda own, _: (
        own.moves(8, 3) and own.heads[0].startswith("L3") and own.shares[0] > 0.5
    ),
    "induction": lambda own, _: (
        {head[:2] for head in own.heads[:4]} == {"L3"} and own.shares[0] < 0.5
    ),
    "induction-order": lambda own, _: own.moves(3, 3),
    "pronoun": lambda own, _: own.moves(1, 3),
    "pronoun-left": lambda own, other: (
        set(own.heads[:2]) == set(other["pronoun"].heads[:2])
        and {head[:2] for head in own.heads[:2]} == {"L3"}
    ),
    "color": lambda own, _: own.moves(12, 0),
    "color-changed": lambda own, _: own.moves(4, 3),
    "belief-or-truth": lambda own, _: (
        float(own.effect[0].max()) < 0.5 and own.held(-1, range(1, 6), 0.95)
    ),
    "claim": lambda own, _: own.moves(8, 3),
    "truth-despite-claim": lambda own, _: (
        float(own.effect[0, 14:16].sum()) > 0.7 and bool((np.abs(own.effect[:, 4:6]) < 0.05).all())
    ),
}  # fmt: skip
"""By example, whether what its `look_for` and `seen` say can be seen."""


def test_every_example_for_the_demo_model_has_its_claim_checked() -> None:
    assert set(CLAIMS) == {one.id for one in DEMO}


@pytest.mark.parametrize("name", CLAIMS)
def test_what_an_example_says_to_look_for_is_there(sweeps: dict[str, Seen], name: str) -> None:
    one = example(name)
    assert CLAIMS[name](sweeps[name], sweeps), (one.look_for, one.seen)


@pytest.mark.parametrize("one", DEMO, ids=lambda one: one.id)
def test_the_answer_is_the_models_first_choice_and_the_runs_are_far_apart(
    sweeps: dict[str, Seen], one: Example
) -> None:
    result = sweeps[one.id].result
    first = result.clean.top[0]["token"]
    assert any(str(answer).startswith(first) for answer in one.pair.answers)
    assert result.clean.metric - result.corrupt.metric > LEAST_GAP[one.metric]


def test_both_models_have_an_example_of_every_task() -> None:
    tasks = {"indirect object", "fact", "misinformation", "capital", "agreement", "greater than"}
    tasks |= {"repetition", "pronoun", "attribute"}
    for model in ("demo", "gpt2"):
        assert {one.task for one in examples() if model in one.models} >= tasks


def test_what_to_look_for_is_said_of_every_model_and_what_was_seen_of_those_it_suits() -> None:
    for one in examples():
        assert not re.search("demo|GPT|SmolLM", one.look_for), one.id
        assert set(one.seen) <= set(one.models), one.id


def test_only_models_whose_token_says_nothing_of_plain_text_begin_without_it() -> None:
    assert default_bos("demo")
    assert default_bos("gpt2")
    assert not default_bos("smollm2")


def test_no_prompts_differ_at_their_end_so_that_each_has_a_subject_to_trace(
    demo: pw.Model,
) -> None:
    for one in examples():
        clean, corrupt = (
            encode_prompt(str(text), demo.tokenizer, True)
            for text in (one.pair.clean, one.pair.corrupt)
        )
        assert differing_range(clean, corrupt).stop < len(clean), one.id


def test_ids_are_unique_and_every_pair_differs() -> None:
    assert len({one.id for one in examples()}) == len(examples()) >= 24
    assert all(one.pair.clean != one.pair.corrupt for one in examples())
