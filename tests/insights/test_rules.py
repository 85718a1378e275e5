"""Each rule on results made to trigger it, and on results made not to."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmade_results import CLEAN, CORRUPT, attends, baseline, made
from patchwright.algorithms.statistics import statistics
from patchwright.errors import ExperimentError, UnknownPlaceError
from patchwright.insights import Insights, heads_to_look_at, insights
from patchwright.warnings import Notice

NAN = float("nan")
STREAM: list[list[float]] = [[0, 0, 1, 0], [0, 0, 0.9, 0.2], [0, 0, 0.1, 0.8]]
"""The difference enters at position 2 and comes to position 3 in layer 1."""

HEADS = [[0.6, 0.2, 0.0], [0.1, -0.3, 0.01]]
PAGE = Path(__file__).parents[2] / "docs" / "methods" / "insights.md"


def stream(*rows: list[float], **changes: Any) -> Insights:
    return insights(made(list(rows) or STREAM, **changes))


def heads(effects: Any = HEADS, **changes: Any) -> Insights:
    return insights(made(effects, "z", "head", **changes))


def pattern(clean: int, corrupt: int) -> Insights:
    """Head 0.0 looks from everywhere at position `clean`, at `corrupt` in the other run."""
    rows = [np.tile(np.eye(4)[key], (4, 1)) for key in (clean, corrupt)]
    main = made(HEADS, "z", "head")
    return insights(main, patterns={"L0H0.z": attends(0, 0, *rows, like=main)})


def different(n: int) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The tokens of pairs that differ in a name."""
    clean, corrupt = (
        [(one[0], f" Name{i}", *one[2:]) for i in range(n)] for one in (CLEAN, CORRUPT)
    )
    return clean, corrupt


def pairs(*effects: list[list[float]], rank: float | None = 1) -> Insights:
    """As many pairs as effects; the second clean run has another rank."""
    ranks = [1, *[rank] * (len(effects) - 1)]
    cleans = [baseline(4.0, rank=one) for one in ranks]
    corrupts = [baseline(-4.0, rank=3) for _ in effects]
    return insights(
        made(
            list(effects),
            clean=baseline(4.0, pairs=cleans),
            corrupt=baseline(-4.0, pairs=corrupts),
            tokens=different(len(effects)),
            pairs=[{"answer": [" Mary"], "wrong": [" John"]} for _ in effects],
        )
    )


def sure(*signs: float, known: bool = True) -> Insights:
    """As many pairs as signs, each with the stream's effects times its sign."""
    effects = [np.array(STREAM) * sign for sign in signs]
    n = len(effects)
    result = made(
        effects,
        clean=baseline(4.0, pairs=[baseline(4.0)] * n),
        corrupt=baseline(-4.0, pairs=[baseline(-4.0, rank=3)] * n),
        tokens=different(n),
        pairs=[{"answer": [" Mary"], "wrong": [" John"]}] * n,
    )
    return insights(statistics(result, resamples=100).on(result) if known else result)


def metric(name: str, clean: float = 0.9, corrupt: float = 0.1) -> Insights:
    return stream(metric=name, clean=baseline(clean), corrupt=baseline(corrupt))


def logits(clean: tuple[float, float], corrupt: tuple[float, float]) -> Insights:
    return stream(
        clean=baseline(clean[0] - clean[1], logits=clean),
        corrupt=baseline(corrupt[0] - corrupt[1], logits=corrupt),
    )


def full(
    effects: list[list[float]], of_heads: list[list[float]] = HEADS, direction: str = "denoise"
) -> Insights:
    of_z = made(of_heads, "z", "head", direction=direction)
    return insights(made(effects, direction=direction), heads=of_z)


def warned(*codes: str) -> Insights:
    return stream(warnings=[Notice(code=code, message=f"About {code}.") for code in codes])


CUT: list[list[float]] = [[0, 0, 1, 0], [0, 0, 0.9, 0.2], [0, 0, 0.1, NAN]]
UNEQUAL = (CLEAN, CORRUPT[1:])

RULES: dict[str, tuple[Callable[[], Insights], Callable[[], Insights]]] = {
    "predicts_clean": (stream, lambda: pairs(STREAM, STREAM)),
    "predicts_corrupted": (stream, lambda: pairs(STREAM, STREAM)),
    "predicts_pairs": (lambda: pairs(STREAM, STREAM), stream),
    "gap": (stream, lambda: stream(corrupt=baseline(4.0))),
    "flat": (lambda: stream(corrupt=baseline(4.0)), stream),
    "way": (stream, lambda: stream(corrupt=baseline(4.0))),
    "enters": (stream, lambda: stream([0, 0, 0.79, 0])),
    "enters_spread": (lambda: stream([0, 0.4, 0.6, 0]), stream),
    "enters_nowhere": (lambda: stream([0, 0.04, 0.04, 0]), stream),
    "stays": (lambda: stream([0, 0, 0, 1], [0, 0, 0, 1]), stream),
    "moves": (stream, lambda: stream(*CUT)),
    "moves_via": (lambda: stream([0, 0, 1, 0], [0, 0.6, 0.3, 0], [0, 0, 0, 1]), stream),
    "arrives": (lambda: stream([0, 0.4, 0.6, 0], [0, 0, 0.2, 0.7]), stream),
    "not_arrived": (lambda: stream([0, 0, 1, 0], [0, 0, 0.5, 0.49]), stream),
    "carry": (lambda: stream([0.06], site="mlp_out"), lambda: stream([0.04], site="mlp_out")),
    "weak": (lambda: stream([0.04], site="mlp_out"), lambda: stream([0.06], site="mlp_out")),
    "oppose": (
        lambda: stream([-0.06], site="mlp_out"),
        lambda: stream([-0.04], site="mlp_out"),
    ),
    "heads_carry": (heads, lambda: heads([[0.04, 0.0]])),
    "heads_weak": (lambda: heads([[0.04, 0.0]]), heads),
    "heads_oppose": (heads, lambda: heads([[0.6, -0.04]])),
    "discoveries": (lambda: sure(*[1.0] * 10), lambda: sure(*[1.0] * 10, known=False)),
    "attention_same": (lambda: pattern(1, 1), lambda: pattern(1, 2)),
    "attention_moves": (lambda: pattern(1, 2), lambda: pattern(1, 1)),
    "conclusion": (lambda: full(STREAM), lambda: full(CUT)),
    "reversed": (lambda: metric("logit_diff", 1, 2), lambda: metric("kl", 1, 2)),
    "above_one": (lambda: heads([[1.11, 0]]), lambda: heads([[1.09, 0]])),
    "below_zero": (lambda: heads([[1, -0.26]]), lambda: heads([[1, -0.24]])),
    "sum_above_one": (lambda: heads([[0.6, 0.6]]), lambda: heads([[0.6, 0.4]])),
    "wrong_answer": (lambda: logits((3, 0), (1, 2)), lambda: logits((3, 0), (0, 1))),
    "self_repair": (lambda: heads(direction="noise"), heads),
    "one_direction": (stream, lambda: stream(corrupt=baseline(4.0))),
    "kl_has_no_answer": (lambda: metric("kl", 0, 2), lambda: metric("logprob")),
    "rank_jumps": (lambda: metric("rank", 1, 9), lambda: metric("logprob")),
    "probability_saturates": (lambda: metric("prob_diff"), lambda: metric("logprob_diff")),
    "single_pair": (stream, lambda: pairs(STREAM, STREAM)),
    "means": (lambda: pairs(STREAM, STREAM), stream),
    "few_pairs": (lambda: sure(*[1.0] * 9), lambda: sure(*[1.0] * 10)),
    "unequal_lengths": (lambda: stream([0, 1, 0], tokens=UNEQUAL), stream),
    "partial": (lambda: stream(layers=[0, 1, 2]), stream),
    "attention": (lambda: pattern(1, 1), heads),
    "answer_not_top": (lambda: warned("answer_not_top"), stream),
    "small_gap": (lambda: warned("small_gap"), stream),
    "flat_gap": (lambda: warned("flat_gap"), stream),
    "half_precision": (lambda: warned("half_precision"), stream),
    "estimate": (lambda: warned("estimate"), stream),
    "stopped": (lambda: warned("stopped"), stream),
    "duplicate_pairs": (lambda: warned("duplicate_pairs"), stream),
    "nothing_moved": (lambda: warned("nothing_moved"), stream),
    "still": (lambda: stream([0, 0], site="mlp_out"), lambda: stream([0.04], site="mlp_out")),
    "heads_still": (lambda: heads([[0.0, 0.0]]), lambda: heads([[0.04, 0.0]])),
}


def codes(said: Insights) -> set[str]:
    return {one.code for one in (*said.steps, *said.cautions)}


def text(said: Insights, code: str) -> str:
    return " ".join(one.text for one in (*said.steps, *said.cautions) if one.code == code)


@pytest.mark.parametrize("code", RULES)
def test_each_rule_speaks_when_it_should_and_only_then(code: str) -> None:
    triggering, other = RULES[code]
    assert code in codes(triggering())
    assert code not in codes(other())


def test_the_page_lists_every_rule() -> None:
    page = PAGE.read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)`", page, re.MULTILINE)
    assert sorted(listed) == sorted(RULES)


def test_the_way_of_the_difference_is_told_with_its_layers() -> None:
    said = stream()
    assert text(said, "enters") == (
        "The difference enters at position 2 (` John` in the clean prompt, ` Kate` in the corrupted "
        "one). Copying the residual stream (the running sum that each position passes from layer to "
        "layer) there, before layer 0, restores 100 % of the gap. It has to, because the prompts "
        "differ nowhere else."
    )
    assert text(said, "moves") == (
        "Layer 1 moves it to the last token, position 3 (` to`). Before that layer, copying "
        "position 2 restores 90 % of the gap and copying position 3 restores 20 %. After it, "
        "position 2 restores 10 % and position 3 restores 80 %."
    )
    (enters,) = (one for one in said.steps if one.code == "enters")
    assert enters.place == "L0.resid_pre@2"
    (moves,) = (one for one in said.steps if one.code == "moves")
    assert moves.place == "L2.resid_pre@3"
    assert moves.numbers == pytest.approx((1, 3, 2, 0.9, 3, 0.2, 2, 0.1, 3, 0.8))


def test_a_copy_that_stays_behind_counts_from_where_one_has_half_to_where_the_other_has_not() -> (
    None
):
    said = stream([0, 0, 1, 0], [0, 0, 0.9, 0.7], [0, 0, 0.8, 0.9], [0, 0, 0.2, 1])
    assert text(said, "moves").startswith("Layers 0 to 2 move it to the last token")
    assert "Before these layers, copying position 2 restores 100 % of" in text(said, "moves")


def test_an_effect_that_falls_back_has_not_moved() -> None:
    said = stream([0, 0, 1, 0], [0, 0, 0.2, 0.9], [0, 0, 0.1, 0.4], [0, 0, 0.1, 0.9])
    assert text(said, "moves").startswith("Layers 0 to 2 move it")


def test_it_has_to_is_said_only_of_exact_effects_where_one_token_differs() -> None:
    assert "It has to" in text(stream(), "enters")
    assert "It has to" not in text(stream(estimated=1), "enters")
    two = (CLEAN, (CORRUPT[0], " Amy", *CORRUPT[2:]))
    assert "It has to" not in text(stream(tokens=two), "enters")


@pytest.mark.parametrize(
    ("direction", "verb", "other", "needed"),
    [
        ("denoise", "restores", "destroys", "sufficient"),
        ("noise", "destroys", "restores", "necessary"),
    ],
)
def test_words_follow_the_direction(direction: str, verb: str, other: str, needed: str) -> None:
    for effects in (STREAM, [[0, 0.4, 0.6, 0], [0, 0, 0.2, 0.7]], [[0, 0.04, 0.04, 0]]):
        said = " ".join(one.text for one in full(effects, direction=direction).steps)
        assert verb in said
        assert other not in said
        assert needed in said
        assert ("necessary" if needed == "sufficient" else "sufficient") not in said


def test_the_heads_are_named_in_the_order_of_their_effects_and_added_up() -> None:
    said = heads([[0.2, 0.6, -0.1], [0.2, 0.1, -0.3]])
    assert text(said, "heads_carry").endswith(
        "head 1 of layer 0 restores most: 60 % of the gap, then head 0 of layer 0 (20 %), head 0 of "
        "layer 1 (20 %) and head 1 of layer 1 (10 %). These 4 effects add up to 110 %."
    )
    assert text(said, "heads_oppose").startswith(
        "Head 2 of layer 1 (-30 %) and head 2 of layer 0 (-10 %) work the other way"
    )
    places = {one.code: one.place for one in said.steps}
    assert (places["heads_carry"], places["heads_oppose"]) == ("L0H1.z", "L1H2.z")


def test_the_conclusion_says_enough_only_from_half_on() -> None:
    assert text(full(STREAM, [[0.6, 0]]), "conclusion") == (
        "In short: the difference enters at position 2 (` John` in the clean prompt, ` Kate` in the "
        "corrupted one), has reached the last token by layer 2, and head 0 of layer 0 alone is "
        "sufficient for more than half of the gap (60 %)."
    )
    assert text(full(STREAM, [[0.4, 0.4]]), "conclusion").endswith(
        "no single head is sufficient for half of the gap (the strongest, head 0 of layer 0, has 40 %)."
    )
    assert text(full(STREAM, [[0.6, 0]], "noise"), "conclusion").endswith(
        "corrupting head 0 of layer 0 alone destroys more than half of the gap (60 %)."
    )
    assert "conclusion" not in codes(full(STREAM, [[0.04, 0]]))


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        (0.4962, "for half of the gap (the strongest, head 0 of layer 0, has 49.6 %)."),
        (0.49999, "for half of the gap (the strongest, head 0 of layer 0, has 49.999 %)."),
        (0.5, "alone is sufficient for half of the gap (50 %)."),
        (0.5008, "alone is sufficient for more than half of the gap (50.1 %)."),
    ],
)
def test_a_number_beside_half_is_on_the_side_that_the_conclusion_says(
    effect: float, said: str
) -> None:
    assert text(full(STREAM, [[effect, 0]]), "conclusion").endswith(said)


def test_the_conclusion_stands_by_itself_where_there_is_one() -> None:
    said = full(STREAM)
    assert said.conclusion is not None
    assert said.conclusion.text.startswith("In short: ")
    assert said.conclusion in said.steps
    assert full(CUT).conclusion is None
    assert full(STREAM, [[0.04, 0]]).conclusion is None
    assert stream(corrupt=baseline(4.0)).conclusion is None


def test_attention_is_read_where_the_head_acts() -> None:
    main, weights = made(HEADS, "z", "head"), np.full((4, 4), 0.25)
    weights[1] = [0, 1, 0, 0]
    given = {"L0H0.z": attends(0, 0, weights, weights)}
    acting = np.zeros((1, 1, 4))
    acting[0, 0, 1] = 0.5
    there = insights(main, patterns=given, acting=made(acting, "z", "head_position"))
    assert text(there, "attention_same").startswith(
        "Head 0 of layer 0 acts most at position 1 (` Mary`): copying it only there moves 50 % of the "
        "gap. From there it attends most to position 1 (` Mary`) in both runs, with 100 % of its "
        "attention"
    )
    nowhere = insights(main, patterns=given, acting=made(acting / 20, "z", "head_position"))
    for said in (nowhere, insights(main, patterns=given)):
        assert text(said, "attention_same").startswith(
            "From the last token, position 3 (` to`), head 0 of layer 0 attends most to position 0"
        )


def test_estimates_are_called_so_cell_by_cell() -> None:
    said = text(heads([[0.6, 0.4]], estimated=[[0, 1]]), "heads_carry")
    assert "most: 60 % of the gap, then head 1 of layer 0 (an estimated 40 %)" in said
    assert "an estimated 60 %" in text(heads([[0.6, 0.4]], method="attribute"), "heads_carry")


def test_a_pair_that_was_not_computed_leaves_its_cell_out() -> None:
    with_hole = [STREAM[0], STREAM[1], [0, 0, 0.1, NAN]]
    assert "moves" in codes(pairs(STREAM, STREAM))
    assert "moves" not in codes(pairs(STREAM, with_hole))


def test_discoveries_are_counted_over_the_places() -> None:
    def said(*signs: float) -> str:
        return next(one.text for one in sure(*signs).steps if one.code == "discoveries")

    assert said(*[1.0] * 10) == (
        "Over 10 pairs, the effects of 5 of 12 places differ from zero at a false discovery rate of "
        "5 %."
    )
    assert "0 of 12 places differ" in said(*[1.0, -1.0] * 5)


def test_pairs_are_counted_and_have_no_tokens() -> None:
    said = pairs(STREAM, STREAM, STREAM, rank=2)
    assert "after 1 of the clean prompts and 0 of" in text(said, "predicts_pairs")
    assert "enters at position 2. Copying" in text(said, "enters")
    assert "most likely" not in text(pairs(STREAM, STREAM, rank=None), "predicts_pairs")


def test_what_the_runs_predict_names_the_answers_part() -> None:
    said = stream(corrupt=baseline(-4.0, " Bob", 0.1, 3))
    assert text(said, "predicts_clean") == (
        "After the clean prompt, the model's most likely next token is ` Mary`, the answer, with a "
        "probability of 90.0 %."
    )
    assert text(said, "predicts_corrupted") == (
        "After the corrupted prompt, the model's most likely next token is ` Bob`, with a probability "
        "of 10.0 %. The answer ` Mary` has 10.0 % (rank 3)."
    )
    assert "` John`, the wrong answer, with" in text(stream(), "predicts_corrupted")
    many = {"clean": "a", "corrupt": "b", "answer": [" Mary", " Ann"], "wrong": [7]}
    assert "one of the answers, with" in text(stream(pairs=many), "predicts_clean")
    assert text(stream(pairs=many), "predicts_clean").endswith(
        " The 2 answers together have 90.0 %; the likeliest of them has rank 1."
    )


def test_a_flat_gap_ends_the_steps() -> None:
    said = insights(
        made(STREAM, corrupt=baseline(4.0)), heads=made(HEADS, "z", "head", corrupt=baseline(4.0))
    )
    assert [one.code for one in said.steps] == ["predicts_clean", "predicts_corrupted", "flat"]
    assert not {"above_one", "one_direction", "self_repair", "wrong_answer"} & codes(said)


def test_warnings_keep_their_words_and_come_once() -> None:
    notice = Notice(code="small_gap", message="Small, by 0.2.")
    said = insights(
        made(STREAM, warnings=[notice]), heads=made(HEADS, "z", "head", warnings=[notice])
    )
    assert [one.text for one in said.cautions].count("Small, by 0.2.") == 1
    stopped = Notice(code="stopped", message="It was stopped.")
    said = insights(
        made(STREAM, warnings=[stopped]), heads=made(HEADS, "z", "head", warnings=[stopped])
    )
    assert [one.text for one in said.cautions[:2]] == [
        "resid_pre per position: It was stopped.",
        "z per head: It was stopped.",
    ]
    many = stream(warnings=[Notice(code="small_gap", message=f"Pair {i}.") for i in range(9)])
    assert [one.text for one in many.cautions[:4]] == [
        *(f"Pair {i}." for i in range(3)),
        "Warnings of this kind that are not shown: 6.",
    ]


def test_a_sweep_where_the_heads_act_may_be_partial_unless_it_is_the_main_one() -> None:
    acting = made(np.zeros((1, 1, 4)), "z", "head_position", layers=[0], heads=[0])
    assert "partial" not in codes(insights(made(STREAM), acting=acting))
    assert "partial" in codes(insights(acting))


def test_the_main_result_serves_as_stream_or_heads() -> None:
    of_stream, of_heads = made(STREAM), made(HEADS, "z", "head")
    assert insights(of_stream) == insights(of_stream, stream=of_stream)
    assert insights(of_heads) == insights(of_heads, heads=of_heads)
    both = insights(of_stream, heads=of_heads)
    assert both.steps == insights(of_heads, stream=of_stream).steps


def test_a_stopped_sweep_without_a_cell_is_told_as_far_as_it_goes() -> None:
    nothing = np.full((3, 4), NAN)
    assert [one.code for one in stream(*nothing.tolist()).steps] == [
        *("predicts_clean", "predicts_corrupted", "gap", "way"),
    ]


def test_heads_to_look_at_are_the_strongest_of_both_kinds() -> None:
    effects = [[0.2, 0.2, 0.3, 0.1], [-0.1, -0.2, -0.3, 0.04]]
    assert heads_to_look_at(made(effects, "z", "head")) == (
        *("L0H2.z", "L0H0.z", "L0H1.z", "L1H2.z", "L1H1.z"),
    )
    assert heads_to_look_at(made([[0.04, -0.04]], "z", "head")) == ()
    assert heads_to_look_at(made(effects, "z", "head", tokens=UNEQUAL)) == ()
    assert heads_to_look_at(made(effects, "z", "head", corrupt=baseline(4.0))) == ()


def test_results_that_do_not_belong_together_are_refused() -> None:
    main, weights = made(STREAM), np.eye(4)
    of_heads = made(HEADS, "z", "head")
    refused: list[tuple[str, Callable[[], object]]] = [
        ("is of 'trace'", lambda: insights(made(STREAM, method="trace"))),
        ("resid_pre per position: give one of z", lambda: insights(main, heads=main)),
        ("z per head: give one of resid_pre", lambda: insights(main, stream=of_heads)),
        ("z per head: give one of z per head_p", lambda: insights(main, acting=of_heads)),
        ("give one of z per head", lambda: heads_to_look_at(main)),
        ("another direction", lambda: insights(made(STREAM, direction="noise"), heads=of_heads)),
        ("another metric", lambda: insights(made(STREAM, metric="logit"), heads=of_heads)),
        ("another pairs", lambda: insights(made(STREAM, pairs={}), heads=of_heads)),
        (
            "not that head's",
            lambda: insights(main, patterns={"L0H0.z": attends(0, 1, weights, weights)}),
        ),
        ("not that head's", lambda: insights(main, patterns={"L0H0.z": of_heads})),
    ]
    for says, call in refused:
        with pytest.raises(ExperimentError, match=says):
            call()
    with pytest.raises(UnknownPlaceError):
        insights(main, patterns={"nowhere": attends(0, 1, weights, weights)})


def test_another_models_result_is_refused() -> None:
    other = replace(made(HEADS, "z", "head"), model={"fingerprint": "sha256:1"})
    with pytest.raises(ExperimentError, match="another model"):
        insights(made(STREAM), heads=other)


def test_what_a_user_typed_is_shown_as_text_and_never_raw() -> None:
    nasty = ("<b>", "\u202e", "\x000\x00", "\n")
    said = stream(tokens=(nasty, CORRUPT), clean=baseline(4.0, "\x00\x1b[0m"))
    words = " ".join(one.text for one in said.steps)
    assert "`<U+0000>0<U+0000>` in the clean prompt" in words
    assert words.isprintable()


def test_main_without_the_bottom_layer_is_told_by_its_strongest_places() -> None:
    part = made(STREAM)
    cut = {name: array.isel(layer=[1, 2]) for name, array in part.arrays.items()}
    said = insights(replace(part, arrays=cut))
    assert "layer 1 at position 2 restores most: 90 %" in text(said, "carry")
