"""Two results side by side: in what they are not alike."""

from dataclasses import replace

import patchwright as pw
from patchwright.figures.comparison import run_differences
from tiny import pair_of

PAIR, OTHER = pair_of([1, 2, 3, 4], [1, 5, 3, 4]), pair_of([1, 2, 3, 4], [1, 6, 3, 4])


def test_what_is_not_alike_is_named_and_what_is_alike_is_not(model: pw.Model) -> None:
    one = pw.patch(model, PAIR, "z")
    assert run_differences(one, pw.patch(model, PAIR, "z", layers=[0])) == []
    assert run_differences(one, pw.patch(model, OTHER, "z")) == ["the prompts"]
    assert run_differences(one, pw.patch(model, [PAIR, OTHER], "z")) == [
        "the prompts (one pair; a mean over 2 pairs)"
    ]
    changed = pw.patch(model, PAIR, "z", direction="noise", metric="logit")
    assert run_differences(one, changed) == [
        "the metric (logit difference; answer's logit)",
        "the direction (A → B; B → A)",
    ]
    assert run_differences(one, pw.ablate(model, PAIR, "q"))[:1] == ["the method (patch; ablate)"]
    assert run_differences(one, pw.patch(model, PAIR, "q")) == [
        "what is changed (head output; queries)"
    ]


def test_other_weights_are_not_alike_even_under_one_name(model: pw.Model) -> None:
    one = pw.patch(model, PAIR, "z")
    for name, said in (("tiny", "the model's weights"), ("big", "the model (tiny; big)")):
        there = (
            {**one.model, "name": "tiny"},
            {**one.model, "name": name, "fingerprint": "sha256:0"},
        )
        assert run_differences(*(replace(one, model=model) for model in there)) == [said]
