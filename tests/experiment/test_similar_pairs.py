"""More pairs like one: the same tokens around other words, and answers that the model gives."""

import pytest

import patchwright as pw
from patchwright.algorithms.suggest import next_tokens, predicted_tokens
from patchwright.errors import PromptError
from patchwright.experiment.run import check_pair
from patchwright.experiment.similar_pairs import similar_pairs
from patchwright.prompts.examples import example


@pytest.mark.parametrize(
    "name", ["ioi", "ioi-other-template", "ioi-third-name", "same-city", "one-word-landmark"]
)
def test_all_pairs_have_the_structure_of_the_first_and_are_answered(
    name: str, demo: pw.Model
) -> None:
    pair = example(name).pair
    found = similar_pairs(demo, pair, 20, seed=1)
    assert found.pairs[0] == pair
    assert len(set(found.pairs)) == len(found.pairs) > 2
    structures: set[tuple[object, ...]] = set()
    for one in found.pairs:
        tokens = check_pair(one, demo)
        differ = [a != b for a, b in zip(tokens.clean, tokens.corrupt, strict=True)]
        structures.add((len(tokens.clean), *differ))
        answers = {ids[0] for ids in tokens.answers}
        assert next_tokens(demo.network, tokens.clean, 1)[0] in answers
        assert next_tokens(demo.network, tokens.corrupt, 1)[0] not in answers
    assert len(structures) == 1


def test_what_was_tried_is_kept_or_counted_and_said(demo: pw.Model) -> None:
    found = similar_pairs(demo, example("same-city").pair, 50)
    kept, dropped = len(found.pairs), found.dropped.total()
    assert kept < 50
    assert kept + dropped == found.tried
    assert found.summary(50) == (
        f"Only {kept} of 50 pairs like this one: other words in the built-in template landmark. "
        f"{found.tried} were tried; dropped: {dropped} because their tokens would not line up with this "
        "pair's."
    )


def test_a_pair_whose_answer_the_model_does_not_give_becomes_no_set(demo: pw.Model) -> None:
    wrong = example("ioi").pair.model_copy(update={"answer": (" John",), "wrong": (" Mary",)})
    with pytest.raises(PromptError, match="does not put the answer first after A"):
        similar_pairs(demo, wrong, 10)


def test_no_words_are_varied_in_token_ids_or_a_chat(demo: pw.Model) -> None:
    with pytest.raises(PromptError, match="a chat or token ids"):
        similar_pairs(demo, pw.Pair(clean=[1, 2], corrupt=[1, 3], answer=[4], wrong=[5]))


def test_prompts_that_run_together_have_the_next_tokens_that_they_have_alone(
    demo: pw.Model,
) -> None:
    prompts = [[1, 2, 3], [4, 5], [6]]
    alone = [next_tokens(demo.network, one, 1)[0] for one in prompts]
    assert predicted_tokens(demo.network, prompts) == alone
