"""From a pair to the templates that have it among theirs."""

import pytest

import patchwright as pw
from patchwright.prompts.builtin_templates import Task, tasks
from patchwright.prompts.examples import example
from patchwright.prompts.pair_template import builtin_alike, fitting_task, templates_of_pair
from patchwright.prompts.templates import sample_pairs


@pytest.mark.parametrize("task", tasks(), ids=lambda one: one.name)
def test_every_pair_of_a_builtin_template_is_found_to_be_of_one(task: Task, demo: pw.Model) -> None:
    for pair in sample_pairs(task.template, 5, demo.tokenizer, seed=3):
        found = fitting_task(pair)
        assert found is not None
        assert found.name == task.name


@pytest.mark.parametrize(
    "changed",
    [
        {"corrupt": "When Mary and John went to the store, Emma gave a drink to"},
        {"answer": " John", "wrong": " Mary"},
        {"clean": "When Zaphod and John went to the store, John gave a drink to"},
    ],
)
def test_a_pair_that_a_template_would_not_make_is_of_none(changed: dict[str, str]) -> None:
    pair = example("ioi").pair
    assert fitting_task(pair) is not None
    assert fitting_task(pair.model_copy(update=changed)) is None


def test_a_sentence_of_ones_own_gets_slots_for_its_known_words(demo: pw.Model) -> None:
    pair = example("ioi-other-template").pair
    ((template, words),) = templates_of_pair(
        pair, builtin_alike(pair), demo.tokenizer, together=True
    )
    assert words == ["Peter", "Clara", "museum"]
    assert template.text == "{Peter} and {Clara} met at the {museum}. {changed} showed the map to"
    assert (template.slots["changed"], template.corrupt) == ("{Peter}", {"changed": "{Clara}"})
    assert (template.answer, template.wrong) == ((" {Clara}",), (" {Peter}",))
    for made in sample_pairs(template, 20, demo.tokenizer):
        first, other = str(made.clean).split()[0], str(made.clean).split()[2]
        assert made.corrupt == str(made.clean).replace(f". {first}", f". {other}")
        assert (made.answers, made.wrongs) == ((f" {other}",), (f" {first}",))


def test_a_word_brings_its_answer_along(demo: pw.Model) -> None:
    pair = example("truth-despite-claim").pair
    ((template, _),) = templates_of_pair(pair, builtin_alike(pair), demo.tokenizer, together=True)
    assert template.answer == (" {Red_Square.1}",)
    assert template.wrong == (" {Opera_House.1}",)
    assert template.tokens["Red_Square"] == 2


def test_words_in_braces_stay_words(demo: pw.Model) -> None:
    pair = pw.Pair(clean="Mary {A} and", corrupt="John {A} and", answer=" a", wrong=" b")
    assert list(templates_of_pair(pair, builtin_alike(pair), demo.tokenizer, together=True)) == []
