from typing import Any

import pytest

import patchwright as pw
from patchwright.errors import AnswerError, PromptError

MEETING = "When Mary and John went to the store, John gave a drink to"
CAPITAL = "The capital of France is"


def swaps(demo: pw.Model, **changes: Any) -> list[pw.Swap]:
    asked: dict[str, Any] = {"prompt": MEETING, "word": "John", "occurrence": 2}
    asked |= {"answer": " Mary", "wrong": " John"} | changes
    return pw.swap(demo, **asked)


def test_swaps_are_ranked_by_what_the_whole_model_says_of_each(demo: pw.Model) -> None:
    found = swaps(demo, count=5)
    pairs = [one.pair for one in found]
    runs = pw.patch(demo, pairs, "z", layers=[0], heads=[0]).corrupt.pairs
    said = [one.difference for one in found]
    assert said == pytest.approx([run.logit_diff for run in runs], rel=1e-4)
    assert said == sorted(said)
    assert (found[0].word, found[0].flips) == ("Mary", True)


def test_only_the_word_is_replaced_and_it_has_a_role(demo: pw.Model) -> None:
    for one in swaps(demo, count=8):
        assert one.pair.clean == MEETING
        assert one.pair.corrupt == MEETING[:38] + one.word + MEETING[42:]
        assert (one.pair.roles[0].name, one.pair.roles[0].start) == ("swapped", 38)
    result = pw.patch(demo, [one.pair for one in swaps(demo)], roles=["swapped"], layers=[0])
    assert result.effect.values == pytest.approx(1, abs=1e-3)


def test_without_a_wrong_answer_it_is_what_the_corrupted_prompt_makes_likeliest(
    demo: pw.Model,
) -> None:
    found = pw.swap(demo, CAPITAL, "France", " Paris", count=5)
    pairs = [one.pair for one in found]
    runs = pw.patch(demo, pairs, "z", layers=[0], heads=[0]).corrupt.pairs
    assert [one.pair.wrongs[0] for one in found] == [run.top[0]["token"] for run in runs]


def test_words_of_ones_own_are_tried_where_they_have_the_length(demo: pw.Model) -> None:
    found = swaps(demo, words=["Reykjavik", "cup", "John"], count=10_000)
    words = [one.word for one in found]
    assert "cup" in words
    assert not {"Reykjavik", "John"} & set(words)
    assert len(words) == len(set(words))
    # A word of several tokens has only those that are named to take its place.
    with pytest.raises(PromptError, match="No word of as many tokens as 'Madagascar'"):
        pw.swap(demo, "The capital of Madagascar is", "Madagascar", " Paris")


def test_the_first_word_is_swapped_too(demo: pw.Model) -> None:
    found = pw.swap(demo, "Mary went to the store because", "Mary", " she", " he", count=3)
    assert all(one.flips for one in found)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"word": "Joh", "occurrence": 1}, "'Joh' stands 0 times"),
        ({"word": " ", "occurrence": 1}, "stands 0 times"),
        ({"occurrence": 3}, "stands 2 times"),
        ({"answer": " Reykjavik"}, "an answer has several"),
        ({"answer": " John"}, "both an answer and a wrong answer"),
        ({"prompt": "John " * 80, "occurrence": 1}, "takes at most 64"),
    ],
)
def test_what_cannot_be_swapped_is_refused(
    demo: pw.Model, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises((PromptError, AnswerError), match=says):
        swaps(demo, **changes)
