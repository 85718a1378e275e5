import numpy as np
import pytest
from transformers import GPT2LMHeadModel

import hooks
import patchwright as pw
from patchwright.algorithms.attention import PATTERN_SITES, RepeatedTokens, patterns
from patchwright.algorithms.pair_runs import PairRuns, run_pairs
from patchwright.errors import PromptError, UnknownPlaceError
from patchwright.experiment.run import tokens_of
from patchwright.prompts.examples import examples
from tiny import N_HEADS, N_LAYERS, pair_of

CLEAN, CORRUPT = [1, 2, 3, 4], [1, 5, 3, 4]


def runs_of(model: pw.Model, clean: list[int], corrupt: list[int]) -> PairRuns:
    pair = pair_of(clean, corrupt, align="edges")
    tokens = tokens_of(pair, pw.Patch(model="tiny", pairs=pair, per="position"), model)
    return run_pairs(model.network, [tokens], PATTERN_SITES)[0]


def test_patterns_are_those_of_the_hugging_face_model(
    model: pw.Model, gpt2: GPT2LMHeadModel
) -> None:
    for layer in range(N_LAYERS):
        for head in range(N_HEADS):
            result = pw.attention(model, pair_of(CLEAN, CORRUPT), layer, head, bos=False)
            found = result.arrays["pattern"]
            for run, prompt in (("clean", CLEAN), ("corrupt", CORRUPT)):
                expected = hooks.activation(gpt2, prompt, "pattern", layer)[:, head]
                np.testing.assert_allclose(found.sel(run=run), expected, atol=1e-12)
                np.testing.assert_allclose(found.sel(run=run).sum("key"), 1, atol=1e-12)


def test_a_head_that_is_not_there_and_unequal_prompts_are_refused(model: pw.Model) -> None:
    with pytest.raises(UnknownPlaceError, match="heads 0-3"):
        pw.attention(model, pair_of(CLEAN, CORRUPT), 0, 4)
    with pytest.raises(PromptError, match="unequal length"):
        patterns(model.network, runs_of(model, CLEAN, [1, 5, 4]), 0, 0)


def test_the_call_gives_both_patterns_and_their_difference(model: pw.Model) -> None:
    result = pw.attention(model, pair_of(CLEAN, CORRUPT), layer=1, head=2, bos=False)
    pattern = result.arrays["pattern"]
    expected = pattern.sel(run="clean") - pattern.sel(run="corrupt")
    np.testing.assert_allclose(result.arrays["difference"], expected)
    assert pattern.dims == ("run", "query", "key")


def test_answers_of_several_tokens_are_no_obstacle_to_what_measures_none(demo: pw.Model) -> None:
    (example,) = (one for one in examples() if one.id == "capital-many-tokens")
    result = pw.attention(demo, example.pair, 0, 3)
    baselines = pw.patch(demo, example.pair, metric="logprob_diff", layers=[0])
    assert result.clean.metric == pytest.approx(baselines.clean.metric, abs=1e-4)
    assert pw.head_scores(demo, example.pair).experiment["metric"] == "logprob_diff"
    alone = example.pair.model_copy(update={"wrong": ()})
    assert pw.difference(demo, alone).experiment["metric"] == "logprob"


def test_scores_equal_their_definitions(model: pw.Model, gpt2: GPT2LMHeadModel) -> None:
    prompt, other = [1, 2, 3, 1, 2, 5], [4, 2, 3, 4, 2, 5]
    result = pw.head_scores(model, pair_of(prompt, other), length=4, repeats=2, bos=False)
    for layer in range(N_LAYERS):
        whole = hooks.activation(gpt2, prompt, "pattern", layer)
        for head in range(N_HEADS):
            pattern = whole[:, head]
            previous = np.mean([pattern[q, q - 1] for q in range(1, 6)])
            duplicate = np.mean([pattern[3, 0], pattern[4, 1]])
            induction = np.mean([pattern[3, 1], pattern[4, 2]])
            entropy = np.mean([-(p[p > 0] * p[p > 0].log()).sum() for p in pattern])
            expected = {"previous": previous, "duplicate": duplicate}
            expected |= {"induction": induction, "entropy": entropy}
            for name, value in expected.items():
                found = result.arrays[name].sel(prompt="clean", layer=layer, head=head)
                assert float(found) == pytest.approx(float(value), abs=1e-9), name


def test_without_a_repeated_token_there_is_no_duplicate_score(model: pw.Model) -> None:
    result = pw.head_scores(model, pair_of([1, 2, 3], [1, 4, 3]), length=4, bos=False)
    assert result.arrays["duplicate"].sel(prompt="clean").isnull().all()
    assert result.arrays["duplicate"].sel(prompt="random").notnull().all()


def test_words_are_drawn_each_once_and_said_twice(model: pw.Model) -> None:
    pool = (3, 9, 27, 31, 40)
    for prompt in RepeatedTokens(4, 6, 0, pool, (49,)).prompts(model.spec):
        once = prompt[1:5]
        assert prompt == (49, *once, *once)
        assert set(once) <= set(pool)
        assert len(set(once)) == 4
    one, other = (list(RepeatedTokens(4, 6, seed, pool).prompts(model.spec)) for seed in (0, 1))
    assert one == list(RepeatedTokens(4, 6, 0, pool).prompts(model.spec))
    assert one != other


def test_scores_on_words_equal_their_definition(model: pw.Model, gpt2: GPT2LMHeadModel) -> None:
    words = [3, 9, 27, 9, 31]
    result = pw.head_scores(model, pair_of(CLEAN, CORRUPT), 4, 3, words=words, bos=False)
    prompts = list(RepeatedTokens(4, 3, 0, (3, 9, 27, 31)).prompts(model.spec))
    for layer in range(N_LAYERS):
        patterns = [hooks.activation(gpt2, [*one], "pattern", layer) for one in prompts]
        for head in range(N_HEADS):
            # The second half's queries: their token came four before, what followed it three.
            shares = [[one[q, head, q - 3] for q in range(4, 8)] for one in patterns]
            found = result.arrays["induction"].sel(prompt="random", layer=layer, head=head)
            assert float(found) == pytest.approx(float(np.mean(shares)), abs=1e-9)


def test_words_that_are_too_few_or_unknown_are_refused(model: pw.Model) -> None:
    pair = pair_of(CLEAN, CORRUPT)
    with pytest.raises(PromptError, match="3 different ones are given"):
        pw.head_scores(model, pair, length=4, words=[1, 2, 3, 3], bos=False)
    with pytest.raises(PromptError, match="vocabulary is 0-49"):
        pw.head_scores(model, pair, length=2, words=[1, 2, 50], bos=False)
    with pytest.raises(PromptError, match="no tokenizer"):
        pw.head_scores(model, pair, length=2, words=" Mary John")


def test_random_prompts_too_long_for_the_model_are_refused(model: pw.Model) -> None:
    with pytest.raises(PromptError, match="from 2 to 12"):
        pw.head_scores(model, pair_of(CLEAN, CORRUPT), length=13)
