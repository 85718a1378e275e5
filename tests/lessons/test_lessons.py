"""The lessons say what the demo model does, and a faulty lesson says where it is wrong."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.errors import LessonError
from patchwright.experiment.base import Experiment
from patchwright.lessons import (
    LESSON_MODELS,
    Lesson,
    built_in_lessons,
    check_lesson,
    find_lessons,
    lesson_by_model,
    mark,
    read_lesson,
    schema,
    step_experiment,
)
from patchwright.lessons.cells import map_cells
from patchwright.lessons.expressions import fill_slots, holds, quantity
from patchwright.lessons.grading import pickable_places, right_answers
from patchwright.lessons.schema import MOST_BYTES, read_lesson_file
from patchwright.model.catalog import is_planted

PAIR = '{clean: "The keys to the cabinet", corrupt: "The key to the cabinet", answer: " are", wrong: " is"}'
SMALL = f"""\
title: A small lesson
about: One step.
minutes: 3
steps:
  - text: "It is {{clean.top}}."
    experiment: {{method: patch, per: position, pairs: {PAIR}}}
    question: Where?
    cell: effect > 0.9 and layer is 0
    hints: [Look left.]
    reveal: "{{effect L0.resid_pre@2}} at L0.resid_pre@2"
    claims: [gap > 1]
"""


@pytest.fixture(scope="module")
def agreement(demo: pw.Model) -> pw.Result:
    return pw.run(step_experiment(read_lesson(SMALL, "small"), 0), demo)


def test_only_cells_among_those_asked_for_are_right_and_half_of_them_at_most(
    agreement: pw.Result,
) -> None:
    text = SMALL.replace("cell: effect > 0.9 and", "cell: effect > 0.9\n    among:")
    step = read_lesson(text, "small").steps[0]
    assert pickable_places(step, agreement) == [f"L0.resid_pre@{i}" for i in range(6)]
    assert right_answers(step, agreement) == ("L0.resid_pre@2",)
    most = read_lesson(text.replace("effect > 0.9", "effect > -1"), "small")
    assert "6 of 6 cells are right" in check_lesson(most, lambda _: agreement)[0]
    faulty = read_lesson(text.replace("layer is 0", "layers"), "small")
    assert "'layers' is not a condition" in check_lesson(faulty, lambda _: agreement)[0]


@pytest.mark.parametrize("lesson", built_in_lessons(), ids=lambda lesson: lesson.name)
def test_every_lesson_says_what_its_model_does(lesson: Lesson) -> None:
    model = pw.load_model(lesson.model)
    assert check_lesson(lesson, lambda experiment: pw.run(experiment, model)) == []


def test_there_are_lessons_on_everything_that_they_should_teach() -> None:
    assert len(built_in_lessons()) >= 7
    methods = {
        str(step.experiment["method"])
        for lesson in built_in_lessons()
        for step in lesson.steps
        if step.experiment
    }
    assert {"patch", "attention", "trace", "attribute"} <= methods
    for lesson in built_in_lessons():
        assert lesson.model == "demo" or is_planted(lesson.model)
        assert any(step.cell for step in lesson.steps) or any(step.choices for step in lesson.steps)


ALL = [one for model in LESSON_MODELS for one in built_in_lessons(model)]
FURTHER = [one for model in LESSON_MODELS if model != "demo" for one in built_in_lessons(model)]


def test_no_lesson_writes_down_a_result_instead_of_naming_it() -> None:
    for lesson in ALL:
        for step in lesson.steps:
            assert set(re.findall(r"[\d.]+ %", step.reveal or "")) <= {"100 %"}, lesson.name


def test_every_folder_of_lessons_is_that_of_a_model_to_read_on() -> None:
    folder = Path(schema.__file__).parent / "built_in"
    models = [one.name for one in sorted(folder.iterdir()) if one.is_dir()]
    assert [*LESSON_MODELS] == ["demo", *models]
    for model in models:
        assert {one.model for one in built_in_lessons(model)} == {model}


@pytest.mark.parametrize("lesson", FURTHER, ids=lambda lesson: f"{lesson.name} {lesson.model}")
def test_a_further_reading_asks_the_same_questions_and_maybe_more(lesson: Lesson) -> None:
    first = next(one for one in built_in_lessons() if one.name == lesson.name)
    assert lesson.title == first.title
    assert len(lesson.steps) >= len(first.steps)
    for number, step in enumerate(first.steps):
        if step.question is not None:
            assert lesson.steps[number].question is not None
            assert kind_of(lesson, number) == kind_of(first, number)


def kind_of(lesson: Lesson, number: int) -> tuple[object, ...]:
    """The method, the site and the like that the question of a step is about."""
    document = step_experiment(lesson, number).model_dump()
    return tuple(document.get(name) for name in ("method", "site", "per", "direction", "metric"))


@pytest.mark.parametrize("lesson", FURTHER, ids=lambda lesson: f"{lesson.name} {lesson.model}")
def test_a_further_reading_puts_no_mark_of_a_chat_before_its_prompts(lesson: Lesson) -> None:
    for number in range(len(lesson.steps)):
        assert step_experiment(lesson, number).model_dump()["bos"] is False


def test_a_lesson_has_all_its_readings_and_one_of_ones_own_only_itself() -> None:
    lesson = built_in_lessons()[3]
    assert list(lesson_by_model(lesson)) == ["demo", "smollm2"]
    assert lesson_by_model(lesson)["demo"] == lesson
    assert lesson_by_model(lesson) == lesson_by_model(lesson_by_model(lesson)["smollm2"])
    own = read_lesson(SMALL, lesson.name)
    assert lesson_by_model(own) == {"demo": own}


def test_a_lesson_that_the_model_no_longer_bears_out_is_found(demo: pw.Model) -> None:
    text = SMALL.replace("gap > 1", "gap > 1000").replace("{clean.top}", "{clean.tip}")
    text = text.replace("effect > 0.9 and layer is 0", "effect > 2")

    def run(experiment: Experiment) -> pw.Result:
        return pw.run(experiment, demo)

    faults = check_lesson(read_lesson(text, "small"), run)
    assert [fault.split(": ", 1)[0] for fault in faults] == ["small, step 1"] * 3
    assert "'clean.tip' is not a quantity" in faults[0]
    assert "'gap > 1000' does not hold" in faults[1]
    assert "0 of 36 cells are right" in faults[2]
    wrong = SMALL.replace("per: position", "per: head_position")
    assert "head_position" in check_lesson(read_lesson(wrong, "small"), run)[0]


def test_answers_are_marked(agreement: pw.Result) -> None:
    (step,) = read_lesson(SMALL, "small").steps
    assert mark(step, agreement, "L0.resid_pre@2").right
    assert not mark(step, agreement, "L0.resid_pre@1").right
    assert mark(step, agreement, "L0.resid_pre@1").answers == ("L0.resid_pre@2",)
    lesson = built_in_lessons()[0]
    assert mark(lesson.steps[0], agreement, 1).answers == ()


def test_quantities_are_those_of_the_result(agreement: pw.Result) -> None:
    effect = agreement.effect
    assert quantity("gap", agreement) == agreement.clean.metric - agreement.corrupt.metric
    assert quantity("effect L3.resid_pre@-1", agreement) == float(effect[3, 5])
    assert quantity("effect[3, 5]", agreement) == quantity("effect[3, -1]", agreement)
    assert quantity("largest effect", agreement) == float(effect.max())
    assert quantity("strongest", agreement) == agreement.top(1)["place"].iloc[0]
    assert holds('clean.top is " do" and effect L0.resid_pre@2 > 0.9', agreement)
    assert not holds("effect L0.resid_pre@1 > effect L0.resid_pre@2", agreement)
    assert fill_slots("{effect L0.resid_pre@2} {effect L3.resid_pre@1}", agreement) == "100 % 0 %"


@pytest.mark.parametrize(
    "name",
    [
        *("", "effect", "effect L9.resid_pre@2", "effect L0H0.z", "nothing L0.resid_pre@2"),
        *("clean", "altered.metric", "effect[0]", "effect[0, 99]", "details.nothing", "gap gap"),
    ],
)
def test_what_is_not_there_is_not_a_quantity(name: str, agreement: pw.Result) -> None:
    with pytest.raises(pw.PatchwrightError):
        quantity(name, agreement)


@pytest.fixture(scope="module")
def read_off(demo: pw.Model) -> pw.Result:
    clean, corrupt = "The keys to the cabinet", "The key to the cabinet"
    pair = pw.Pair(clean=clean, corrupt=corrupt, answer=" are", wrong=" is")
    return pw.logit_lens(demo, pair)


def test_a_part_of_an_array_is_named_by_its_first_labels(read_off: pw.Result) -> None:
    rank, top = read_off.arrays["rank"], read_off.arrays["top"]
    assert quantity("largest rank[clean, -1]", read_off) == float(rank[0, -1].max())
    assert quantity("smallest rank[ clean , 2]", read_off) == float(rank[0, 2].min())
    assert quantity("top[corrupt, 0, -1]", read_off) == str(top[1, 0, -1].item())
    for faulty in ("rank[clean]", "rank[clean, -9, 0]", "rank[clean, 1, 2, 3]", "rank[]"):
        with pytest.raises(pw.PatchwrightError, match="its labels are run"):
            quantity(faulty, read_off)
    with pytest.raises(pw.PatchwrightError, match="holds texts"):
        quantity("largest top", read_off)


def test_over_several_pairs_a_lesson_reads_the_means_that_its_map_shows(demo: pw.Model) -> None:
    singular = {"clean": "The key to the cabinet", "corrupt": "The keys to the cabinet"}
    plural = {"clean": singular["corrupt"], "corrupt": singular["clean"]}
    pairs = [
        pw.Pair(clean=one["clean"], corrupt=one["corrupt"], answer=answers[0], wrong=answers[1])
        for one, answers in ((plural, (" are", " is")), (singular, (" is", " are")))
    ]
    result = pw.patch(demo, pairs, site="z", per="head")
    mean = result.mean_effect
    assert len(map_cells(result)) == mean.size
    assert quantity("largest effect", result) == float(mean.max())
    assert quantity("effect L5H0.z", result) == float(mean[5, 0])
    strongest = str(result.top(1)["place"].iloc[0])
    found = [one for one in map_cells(result) if holds("effect is largest effect", result, one)]
    assert [one["place"] for one in found] == [strongest]


def test_of_a_cell_all_that_its_map_knows_of_it_is_meant(read_off: pw.Result) -> None:
    first, last = map_cells(read_off)[0], map_cells(read_off)[-1]
    assert (first["place"], last["place"]) == ("layer 0, position 0", "layer 5, position 5")
    assert holds("layer is 5 and position is -1 and rank is rank[clean, 5, 5]", read_off, last)
    assert not holds("position is -1", read_off, first)
    assert holds(f'top is "{last["top"]}"', read_off, last)
    with pytest.raises(pw.PatchwrightError, match="'head' is not a quantity"):
        holds("head is 0", read_off, last)


@given(text=st.text(max_size=40))
def test_any_condition_on_a_cell_is_true_false_or_a_sentence(
    text: str, read_off: pw.Result
) -> None:
    for condition in (text, f"top[{text}] is 1", f"largest {text} < rank", f"top is {text}"):
        with contextlib.suppress(pw.PatchwrightError):
            assert holds(condition, read_off, map_cells(read_off)[0]) in (True, False)


@given(text=st.text(max_size=40))
def test_any_condition_is_is_true_false_or_a_sentence(text: str, agreement: pw.Result) -> None:
    with contextlib.suppress(pw.PatchwrightError):
        assert holds(text, agreement) in (True, False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("minutes: 3", "minutes: 0", "line 3: 'minutes'"),
        ("minutes: 3", "minute: 3", "line 3: 'minute'"),
        (
            "    cell: effect > 0.9 and layer is 0\n",
            "    choices: [{text: a}, {text: b}]\n    among: layer is 0\n",
            "among says which cells can be picked, so it needs a cell",
        ),
        (
            "    cell: effect > 0.9 and layer is 0\n",
            "    choices: [{text: a}, {text: b}]\n    lowest: true\n",
            "lowest says which cells are right, so it needs a cell",
        ),
        ("    cell: effect > 0.9 and layer is 0\n", "", "either choices or a cell"),
        ("    question: Where?\n", "", "line 5: 'steps.0': choices, cell"),
        ("title: A small", "title: [A, small", "line 2"),
        ("title: A small lesson", "title: &a A", "line 1: a lesson has no anchors"),
        ("title: A small lesson", "title: 3", "line 1: 'title'"),
        ("title: A small lesson", "title: 2020-99-99", "month must be"),
        ("hints: [Look left.]", "hints: " + "[" * 30 + "]" * 30, "line 9: this is nested"),
        ("title: A small lesson", "title: !!python/object:os.system x", "line 1"),
    ],
)
def test_a_faulty_lesson_says_in_which_line(old: str, new: str, said: str) -> None:
    assert old in SMALL
    with pytest.raises(LessonError) as raised:
        read_lesson(SMALL.replace(old, new), "small")
    assert said in str(raised.value)
    assert str(raised.value).startswith("small")


def test_all_faults_of_a_lesson_are_told_at_once() -> None:
    text = SMALL.replace("minutes: 3", "minutes: many").replace("question: Where?", "question: 7")
    with pytest.raises(LessonError) as raised:
        read_lesson(text, "small")
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        *("small, line 3", "small, line 7"),
    ]


@given(document=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["title", "about", "minutes", "steps", "text"]), inner),
    max_leaves=12,
))  # fmt: skip
def test_any_yaml_is_a_lesson_or_a_sentence(document: Any) -> None:
    with pytest.raises(LessonError, match=r"^any"):
        read_lesson(yaml.safe_dump(document), "any")


@given(text=st.text(max_size=60))
def test_any_text_is_a_lesson_or_a_sentence(text: str) -> None:
    with pytest.raises(LessonError):
        read_lesson(text, "any")


def test_a_folder_gives_its_lessons_and_the_errors_of_the_faulty_ones(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(SMALL, encoding="utf-8")
    (tmp_path / "a.yaml").write_text("title: x", encoding="utf-8")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "d.yaml").write_text("#" * (MOST_BYTES + 5), encoding="utf-8")
    (tmp_path / "readme.txt").write_text("not a lesson", encoding="utf-8")
    faulty, good, not_text, too_long = find_lessons(tmp_path)
    assert isinstance(good, Lesson)
    assert good == read_lesson_file(tmp_path / "b.yaml")
    assert "'about'" in str(faulty)
    assert "not UTF-8" in str(not_text)
    assert "at most" in str(too_long)
    with pytest.raises(LessonError, match="There is no folder"):
        find_lessons(tmp_path / "none")


def test_right_answers_of_choices_are_those_whose_condition_holds(demo: pw.Model) -> None:
    lesson = built_in_lessons()[0]
    result = pw.run(step_experiment(lesson, 1), demo)
    rights = [holds(one.right or "gap < 0", result) for one in lesson.steps[1].choices]
    assert right_answers(lesson.steps[1], result) == (rights.index(True),)
    assert rights.count(True) == 1
