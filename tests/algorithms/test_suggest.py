import pytest
import torch
from transformers import GPT2LMHeadModel

import patchwright as pw
from hooks import logits
from patchwright.algorithms.suggest import (
    next_tokens,
    same_length_prompts,
    score_swaps,
    suggested_answers,
)

CLEAN, CORRUPT = [1, 2, 3, 4], [1, 9, 8, 3, 4]


def words(token: int) -> str:
    """Token texts: words, but for some marks and parts of words."""
    return {43: ",", 45: "c"}.get(token, f" {chr(97 + token % 26)}")


def best(gpt2: GPT2LMHeadModel, tokens: list[int], count: int) -> list[int]:
    return torch.topk(logits(gpt2, tokens)[-1], count).indices.tolist()


def test_answers_are_what_the_runs_put_first(model: pw.Model, gpt2: GPT2LMHeadModel) -> None:
    assert next_tokens(model.network, CLEAN, 3) == best(gpt2, CLEAN, 3)
    answer, wrong = suggested_answers(model.network, CLEAN, CORRUPT)
    assert answer == best(gpt2, CLEAN, 1)[0]
    first_after_corrupt = best(gpt2, CORRUPT, 1)[0]
    expected = best(gpt2, CLEAN, 2)[1] if first_after_corrupt == answer else first_after_corrupt
    assert wrong == expected


def test_the_same_prompt_twice_still_gives_two_answers(model: pw.Model) -> None:
    answer, wrong = suggested_answers(model.network, CLEAN, CLEAN)
    assert answer != wrong


def test_replacements_have_the_clean_prompts_length_and_differ_from_it(model: pw.Model) -> None:
    offered = same_length_prompts(model.network, CLEAN, CORRUPT, words)
    assert len(offered) == len(set(offered)) == 5
    for tokens in offered:
        assert len(tokens) == len(CLEAN)
        assert [i for i in range(4) if tokens[i] != CLEAN[i]] == [1]


@pytest.mark.parametrize(
    ("clean", "corrupt"),
    [
        ([1, 2], [1, 2, 3]),  # only goes on
        ([1, 2, 3], [1, 4]),  # nothing in common but the first token, which may be a BOS
        ([1, 2, 43, 4], [1, 2, 9, 8, 4]),  # ends in a mark
        ([1, 2, 3, 45, 4], [1, 2, 9, 4]),  # would end the word " dc" in another way
        ([1, 2, 3, 45, 4], [1, 2, 9, 8, 7, 45, 4]),  # would begin the word " dc" in another way
    ],
)
def test_replacements_that_make_no_sense_are_not_offered(
    model: pw.Model, clean: list[int], corrupt: list[int]
) -> None:
    assert same_length_prompts(model.network, clean, corrupt, words) == []


def test_replacements_are_words_as_the_one_that_they_replace(model: pw.Model) -> None:
    def mixed(token: int) -> str:
        return [" Mary", " it", "ing", ",", " 12"][token % 5]

    offered = same_length_prompts(model.network, [1, 6, 5, 6], [1, 6, 9, 9, 6], mixed)
    assert offered
    assert {tokens[2] % 5 for tokens in offered} == {0}


def test_swapped_prompts_are_read_as_whole_runs_of_their_own(
    model: pw.Model, gpt2: GPT2LMHeadModel
) -> None:
    swapped = [[1, 9, 3, 4], [7, 2, 3, 4], [1, 2, 3, 8], CLEAN]
    given = score_swaps(model.network, CLEAN, swapped, 7, 11)
    free = score_swaps(model.network, CLEAN, swapped, 7)
    for tokens, (difference, wrong), (open_difference, rival) in zip(
        swapped, given, free, strict=True
    ):
        last = logits(gpt2, tokens)[-1]
        assert (difference, wrong) == (pytest.approx(float(last[7] - last[11])), 11)
        others = [token for token in range(len(last)) if token != 7]
        assert rival == max(others, key=lambda token: float(last[token]))
        assert open_difference == pytest.approx(float(last[7] - last[rival]))
