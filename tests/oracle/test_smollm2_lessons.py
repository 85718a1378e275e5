"""What the lessons say of SmolLM2, against its weights."""

import pytest

import patchwright as pw
from patchwright.app.restore_state import nearest_page
from patchwright.experiment.base import Experiment
from patchwright.lessons import Lesson, built_in_lessons, check_lesson, step_experiment

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("lesson", built_in_lessons("smollm2"), ids=lambda lesson: lesson.name)
def test_every_lesson_says_what_smollm2_does(lesson: Lesson, smollm2: pw.Model) -> None:
    done: dict[str, pw.Result] = {}

    def run(experiment: Experiment) -> pw.Result:
        if experiment.hash not in done:
            done[experiment.hash] = pw.run(experiment, smollm2)
        return done[experiment.hash]

    assert check_lesson(lesson, run) == []


def test_the_other_words_that_lesson_1_names_are_among_the_likeliest(smollm2: pw.Model) -> None:
    lesson = built_in_lessons("smollm2")[0]
    france, italy = (pw.run(step_experiment(lesson, step), smollm2).clean.top for step in (0, 1))
    assert [one["token"] for one in france[:2]] == [" Paris", " the"]
    assert {" Rome", " the", " Florence", " Milan"} == {one["token"] for one in italy[:4]}


def test_the_other_words_that_lesson_2_names_are_among_the_likeliest(smollm2: pw.Model) -> None:
    lesson = built_in_lessons("smollm2")[1]
    top = pw.run(step_experiment(lesson, 0), smollm2).corrupt.top
    assert [one["token"] for one in top[:3]] == [" John", " the", " her"]


def test_names_that_lessons_2_and_5_call_three_tokens_are(smollm2: pw.Model) -> None:
    assert smollm2.tokenizer is not None
    whole = smollm2.tokenizer.whole
    pieces = {name: whole.tokenize(f" {name}") for name in ("Eiffel Tower", "Colosseum")}
    assert [len(one) for one in pieces.values()] == [3, 3]
    assert pieces["Colosseum"][-1] == "um"


def test_the_heads_of_lesson_4_write_as_their_effects_say(smollm2: pw.Model) -> None:
    """L23H3 and L23H0 write the right name's way in both runs, and L24H4 the other's."""
    swept = step_experiment(built_in_lessons("smollm2")[3], 0)
    assert isinstance(swept, pw.Patch)
    (pair,) = swept.pair_list
    written = pw.logit_attribution(smollm2, pair, part="head", bos=False).arrays["contribution"]
    for layer, head, way in ((23, 3, 1), (23, 0, 1), (24, 4, -1)):
        clean, corrupt = (float(written[run, layer, head]) * way for run in (0, 1))
        assert clean > 0.5
        assert corrupt < -0.5


@pytest.mark.parametrize("lesson", built_in_lessons("smollm2"), ids=lambda lesson: lesson.name)
def test_every_experiment_opens_on_a_page_with_its_model_and_without_a_first_token(
    lesson: Lesson, smollm2: pw.Model
) -> None:
    for number in range(len(lesson.steps)):
        experiment = step_experiment(lesson, number)
        quick = {"samples": 1} if isinstance(experiment, pw.Trace) else {}
        quick |= {"exact": False} if isinstance(experiment, pw.Attribute) else {}
        experiment = experiment.model_copy(update=quick)
        found = nearest_page(experiment, pw.run(experiment, smollm2))
        assert found is not None
        page, controls = found
        assert (controls["model"], controls["bos"]) == ("smollm2", False), page
