"""What the methods find in the demo model, where two of them must agree."""

import patchwright as pw
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
    ablated = pw.ablate(demo, PAIRS, how="resample", prompts=others)
    strongest = ablated.top(1 + len(found))["place"].tolist()
    assert len(set(found) & set(strongest)) >= len(found) - 1


def test_induction_heads_together_carry_most_and_their_neighbours_nothing(demo: pw.Model) -> None:
    found = induction_heads(demo)
    neighbours = [place.replace("L3", "L2") for place in found]
    carried = float(pw.patch_together(demo, PAIRS, found, direction="noise").mean_effect)
    beside = float(pw.patch_together(demo, PAIRS, neighbours, direction="noise").mean_effect)
    assert carried > 0.3
    assert abs(beside) < 0.1
