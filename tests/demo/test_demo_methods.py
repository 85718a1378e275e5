"""What the methods find in the demo model, where two of them must agree."""

import pytest

import patchwright as pw
from patchwright.prompts.examples import example
from recipes.demo_model import words

PEOPLE = list(zip(words.NAMES[::3], words.NAMES[1::3], strict=False))[:6]
PAIRS = [
    pw.Pair(
        clean=f"When {one} and {other} went to the {place}, {other} gave a drink to",
        corrupt=f"When {one} and {other} went to the {place}, {one} gave a drink to",
        answer=f" {one}",
        wrong=f" {other}",
    )
    for place, (one, other) in zip(words.PLACES, PEOPLE, strict=False)
]
"""Indirect objects, of one token length."""


def induction_heads(demo: pw.Model) -> list[str]:
    """The heads that give most of their attention to what followed a repeated word."""
    pool = [*words.NAMES, *words.CITIES, *words.THINGS, *words.COLORS, *words.PLACES]
    text = "".join(f" {word}" for word in pool if word not in words.RARE_WORDS)
    scores = pw.head_scores(demo, PAIRS, length=12, words=text).arrays["induction"]
    mean = scores.sel(prompt="random").mean("pair")
    return [
        f"L{layer}H{head}.z" for layer, head in zip(*(mean.values > 0.8).nonzero(), strict=True)
    ]


def test_most_heads_that_ablation_of_indirect_objects_finds_are_induction_heads(
    demo: pw.Model,
) -> None:
    found = induction_heads(demo)
    assert 2 <= len(found) <= 6
    others = [pair.corrupt for pair in PAIRS]
    ablated = pw.ablate(demo, PAIRS, ablation="resample", prompts=others)
    strongest = ablated.top(1 + len(found))["place"].tolist()
    assert len(set(found) & set(strongest)) >= len(found) - 1


def test_induction_heads_together_carry_most_and_their_neighbours_nothing(demo: pw.Model) -> None:
    found = induction_heads(demo)
    neighbours = [place.replace("L3", "L2") for place in found]
    carried = float(pw.patch_together(demo, PAIRS, found, direction="noise").mean_effect)
    beside = float(pw.patch_together(demo, PAIRS, neighbours, direction="noise").mean_effect)
    assert carried > 0.3
    assert abs(beside) < 0.1


def test_heads_that_repair_for_each_other_lose_more_together_than_one_by_one(
    demo: pw.Model,
) -> None:
    # docs/methods/ablation.md shows these.
    pair, heads = example("ioi").pair, [1, 2, 4]
    alone = pw.ablate(demo, pair, layers=[3], heads=heads).effect
    together = pw.ablate_together(demo, pair, [f"L3H{head}.z" for head in heads])
    assert float(alone.max()) == pytest.approx(0.07, abs=0.005)
    assert float(together.effect) == pytest.approx(0.36, abs=0.005)
