"""The page Learn without a browser: nothing is shown before the reader has predicted."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import patchwright as pw
from app_pages import MAIN, button, sent, settled, unopened_view, words
from patchwright.app import build_experiment, resources, session_state, url_state
from patchwright.app.lesson_progress import (
    Attempt,
    first_open_step,
    is_about_runs,
    is_asked_later,
    lesson_key,
    load_catalog,
    score,
)
from patchwright.app.restore_state import nearest_page
from patchwright.app.text import paragraphs
from patchwright.app.views import topbar
from patchwright.errors import InputError
from patchwright.experiment.base import Experiment
from patchwright.lessons import LESSON_MODELS, Lesson, built_in_lessons, mark, step_experiment
from patchwright.lessons.expressions import fill_slots
from patchwright.methods.attribute import Attribute
from patchwright.methods.patch import Patch
from patchwright.methods.trace import Trace

FIRST = built_in_lessons()[0]
PAIR = '{clean: "The keys to the cabinet", corrupt: "The key to the cabinet", answer: " are", wrong: " is"}'
OWN = f"""\
title: "<b>My</b> *lesson*"
about: One step.
minutes: 3
steps:
  - text: "One.\\n\\n<img src=x> :smile: $a$"
    experiment: {{method: patch, per: position, pairs: {PAIR}}}
    question: Where?
    cell: effect > 0.9 and layer is 0
    hints: [Look left., Look down.]
    reveal: "{{effect L0.resid_pre@2}} it is."
"""

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """A teacher's folder with one good lesson, that the server was started with."""
    (tmp_path / "mine.yaml").write_text(OWN, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["main.py", "--lessons", str(tmp_path)])
    for cached in (resources.options, resources.lessons):
        cached.clear()
    yield tmp_path
    for cached in (resources.options, resources.lessons):
        cached.clear()


def page(**state: object) -> AppTest:
    """The page on controls that are set, and kept from before."""
    shown = unopened_view("learn")
    for name, value in state.items():
        shown.session_state[name] = value
    return settled(shown.run())


def click(shown: AppTest, label: str) -> AppTest:
    return settled(button(shown, label).click().run())


def test_the_list_has_every_lesson_and_opens_one() -> None:
    shown = page()
    for lesson in built_in_lessons():
        assert lesson.title in words(shown)
        assert lesson.about in words(shown)
    shown = settled(shown.button(key=f"open-{FIRST.name}").click().run())
    assert (shown.session_state["lesson"], shown.session_state["step"]) == (FIRST.name, 1)
    assert shown.header[0].value == FIRST.title


def test_nothing_is_revealed_before_the_answer_is_checked() -> None:
    shown = page(lesson=FIRST.name, step=1)
    assert "The first choice is" not in words(shown)
    assert button(shown, "Check answer").disabled
    shown.radio[0].set_value(1).run()
    assert "The first choice is" not in words(shown)
    shown = click(shown, "Check answer")
    assert [one.value for one in shown.success] == ["Right at once."]
    assert "The first choice is '·Paris' with a probability of" in words(shown)
    assert "{" not in words(shown)


def test_a_wrong_answer_gets_a_second_try_and_the_summary_says_so() -> None:
    shown = page(lesson=FIRST.name, step=1)
    shown = click(shown, "Give me a hint")
    assert "Hint 1: The text ends after" in words(shown)
    shown.radio[0].set_value(1).run()
    shown = click(click(shown, "Check answer"), "Next")
    shown.radio[0].set_value(0).run()
    shown = click(shown, "Check answer")
    assert "Not quite. Try once more." in words(shown, "warning")
    assert "It has" not in words(shown), "nothing is revealed"
    assert button(shown, "Check answer").disabled, "the same answer is no second try"
    shown.radio[0].set_value(1).run()
    shown = click(shown, "Check answer")
    assert "Not quite. This is the answer:" in words(shown, "error")
    assert "✓ **Almost zero**" in words(shown)
    assert "About a tenth: it is a capital too — *your prediction*" in words(shown)
    shown = click(click(shown, "Next"), "Skip")
    assert [one.value for one in shown.metric] == ["0 of 3", "0", "1", "1"]
    assert "✓ Right with 1 hint\n✗ Not right\nNot answered" in words(shown)
    shown = click(shown, "All lessons")
    assert "2 of 3 questions answered" in words(shown)
    shown = settled(shown.button(key=f"open-{FIRST.name}").click().run())
    assert shown.session_state["step"] == 3, "it goes on at the first question that is left"


def test_the_second_try_can_be_right_and_the_answer_can_be_shown_instead() -> None:
    shown = page(lesson=FIRST.name, step=2)
    shown.radio[0].set_value(0).run()
    shown = click(shown, "Check answer")
    shown.radio[0].set_value(2).run()
    shown = click(shown, "Check answer")
    assert [one.value for one in shown.success] == ["Right at the second try."]
    shown = click(shown, "Next")
    shown.radio[0].set_value(1).run()
    shown = click(shown, "Check answer")
    assert "Hint 1: It is always Paris minus Rome." in words(shown), "the next hint comes by itself"
    shown = click(shown, "Show the answer")
    assert "It is about zero — *your prediction*" in words(shown)
    shown = click(shown, "Finish")
    assert [one.value for one in shown.metric] == ["0 of 3", "1", "0", "1"]


def test_the_bar_is_full_only_when_the_last_question_is_answered() -> None:
    shown = page(lesson=FIRST.name, step=3)
    assert shown.get("progress")[0].proto.value == 66
    shown.radio[0].set_value(0).run()
    shown = click(shown, "Check answer")
    assert shown.get("progress")[0].proto.value == 100


def test_only_cells_that_are_asked_for_can_be_picked() -> None:
    third = built_in_lessons()[2]
    assert sent(page(lesson=third.name, step=1))[0]["maps"][0]["asked"] == [
        f"L0.resid_pre@{position}" for position in range(6)
    ]
    shown = sent(page(lesson=built_in_lessons()[3].name, step=1))[0]["maps"][0]
    assert (shown["asked"], shown["clickable"], shown["scaled"]) == (None, False, False)


def test_the_next_lesson_and_the_same_one_again_follow_the_summary() -> None:
    shown = click(page(lesson=FIRST.name, step=len(FIRST.steps) + 1), "Take it again")
    assert shown.session_state["step"] == 1
    shown = click(page(lesson=FIRST.name, step=len(FIRST.steps) + 1), "Next lesson")
    assert shown.session_state["lesson"] == built_in_lessons()[1].name


@pytest.mark.parametrize("lesson", built_in_lessons(), ids=lambda lesson: lesson.name)
def test_every_step_of_every_lesson_is_shown_before_and_after(lesson: Lesson) -> None:
    for number, step in enumerate(lesson.steps):
        shown = page(lesson=lesson.name, step=number + 1)
        assert not shown.error
        if step.question is None:
            continue
        job = shown.session_state["jobs"]["lesson-job"]
        answer = mark(step, job.result, "").answers[0]
        given = {
            lesson_key(lesson): {
                number: Attempt().with_answer(answer, mark(step, job.result, answer))
            }
        }
        shown = page(lesson=lesson.name, step=number + 1, tries=given)
        assert [one.value for one in shown.success] == ["Right at once."]
        reveal = " ".join(fill_slots(step.reveal or "", job.result).split("\n\n")[0].split())
        assert reveal in words(shown)
        assert "How it went" not in words(shown)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"lesson": "<b>x</b>"}, "There is no lesson '<b>x</b>' here."),
        ({"lesson": FIRST.name, "step": 9}, "has 3 steps, and no step 9"),
    ],
)
def test_what_is_not_there_is_said_above_the_list(asked: dict[str, object], said: str) -> None:
    shown = page(**asked)
    assert said in words(shown)
    assert shown.session_state["lesson"] == ""
    assert FIRST.about in words(shown)


@pytest.mark.parametrize("bad", [{"step": "x"}, {"step": "0"}, {"steps": "1"}, {"reading": "gpt2"}])
def test_an_address_that_is_wrong_is_said(bad: dict[str, str]) -> None:
    with pytest.raises(InputError, match="The address has"):
        url_state.read_parameters("learn", bad | {"lesson": FIRST.name})


def test_the_address_of_a_lesson_is_its_name_and_step_whatever_the_pair_is() -> None:
    controls = dict(session_state.FIELDS) | {"lesson": FIRST.name, "step": 2, "clean": "a"}
    written = url_state.query_parameters("learn", controls)
    assert written == {"lesson": FIRST.name, "step": "2"}
    assert url_state.read_parameters("learn", written) == {"lesson": FIRST.name, "step": 2}
    written = url_state.query_parameters(
        "learn", controls | {"reading": "smollm2", "model": "gpt2"}
    )
    assert written == {"lesson": FIRST.name, "reading": "smollm2", "step": "2"}
    assert url_state.read_parameters("learn", written)["reading"] == "smollm2"


def test_a_teachers_lesson_is_listed_played_and_shown_as_text(folder: Path) -> None:
    shown = page()
    assert "<b>My</b> *lesson*" in words(shown)
    assert len(shown.warning) == 0
    shown = page(lesson="mine", step=1)
    assert "One.\n\n<img src=x> :smile: $a$" in words(shown)
    assert "Your prediction: **none yet**" in words(shown)
    picked = {"pick-demo/mine-0": "L0.resid_pre@2"}
    shown = page(lesson="mine", step=1, picks=picked)
    assert "Your prediction: **layer 0, position 2 (·key)**" in words(shown)
    shown = click(shown, "Check answer")
    assert [one.value for one in shown.success] == ["Right at once."]
    assert "100 % it is." in words(shown)


@pytest.fixture
def smollm2_here(monkeypatch: pytest.MonkeyPatch, demo: pw.Model) -> None:
    """SmolLM2 on this machine, for all that the page knows; what it loads is the demo model."""
    monkeypatch.setattr(topbar, "model_if_here", lambda name: demo)


@pytest.fixture
def smollm2_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has the demo model alone."""
    monkeypatch.setattr(topbar, "local_path", lambda name: MAIN if name == "demo" else None)


SECOND = built_in_lessons("smollm2")[0]


def question_of(lesson: Lesson) -> str:
    """What its first step asks."""
    return str(lesson.steps[0].question)


@pytest.mark.usefixtures("smollm2_missing")
def test_where_the_model_is_not_here_choosing_it_offers_to_fetch_it() -> None:
    shown = page(lesson=FIRST.name)
    shown = settled(shown.selectbox[0].set_value("smollm2").run())
    assert "The model smollm2 is not on this machine yet." in words(shown)
    assert any(one.label.startswith("Download smollm2") for one in shown.button)


@pytest.mark.usefixtures("smollm2_missing")
def test_an_address_of_a_second_reading_opens_it_where_its_model_is_not_here() -> None:
    shown = page(lesson=FIRST.name, reading="smollm2", step=2)
    assert (shown.session_state["reading"], shown.session_state["step"]) == ("smollm2", 2)
    assert "The model smollm2 is not on this machine yet." in words(shown)
    assert not shown.radio
    shown = settled(shown.selectbox[0].set_value("demo").run())
    assert question_of(FIRST) in words(shown)


@pytest.mark.usefixtures("smollm2_here")
def test_the_list_offers_the_lessons_on_each_model() -> None:
    shown = page()
    (choice,) = shown.selectbox
    assert choice.options == [f"Read on {name}" for name in LESSON_MODELS.values()]
    assert "models get" not in words(shown)
    assert FIRST.about in words(shown)
    shown = settled(choice.set_value("smollm2").run())
    for lesson in built_in_lessons("smollm2"):
        assert lesson.about in words(shown)
    assert FIRST.about not in words(shown)
    shown = settled(shown.button(key=f"open-{FIRST.name}").click().run())
    assert question_of(SECOND) in words(shown)


@pytest.mark.usefixtures("smollm2_here")
def test_step_and_answers_are_kept_for_each_reading() -> None:
    shown = page(lesson=FIRST.name)
    shown.radio[0].set_value(1).run()
    shown = click(click(shown, "Check answer"), "Next")
    shown = settled(shown.selectbox[0].set_value("smollm2").run())
    assert shown.session_state["step"] == 1
    assert question_of(SECOND) in words(shown)
    assert not shown.success, "the answer was given in the other reading"
    shown = click(click(shown, "Give me a hint"), "Skip")
    shown = settled(shown.selectbox[0].set_value("demo").run())
    assert shown.session_state["step"] == 2
    shown = click(shown, "Back")
    assert [one.value for one in shown.success] == ["Right at once."], "and without a hint"
    shown = settled(shown.selectbox[0].set_value("smollm2").run())
    assert shown.session_state["step"] == 2


@pytest.mark.usefixtures("smollm2_here")
def test_a_lesson_without_a_second_reading_is_read_as_it_is(folder: Path) -> None:
    shown = page(reading="smollm2", lesson="mine", step=1)
    assert not shown.selectbox
    assert "second reading" not in words(shown)
    assert "Your prediction: **none yet**" in words(shown)


def test_faulty_lessons_and_taken_names_are_listed_with_what_is_wrong(folder: Path) -> None:
    (folder / "bad.yaml").write_text("title: <i>\nabout: x\nminutes: 0\nsteps: []\n")
    (folder / f"{FIRST.name}.yaml").write_text(OWN)
    resources.lessons.clear()
    shown = page()
    assert "bad, line 3: 'minutes'" in words(shown)
    assert f"{FIRST.name}, in {folder.name}: a lesson of this name comes with the package" in words(
        shown
    )
    assert page(lesson=FIRST.name).header[0].value == FIRST.title


def test_the_same_name_in_two_folders_and_a_folder_that_is_gone_are_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.yaml").write_text(OWN)
    found = load_catalog([tmp_path / "a", tmp_path / "b", tmp_path / "c"])
    assert list(found.lessons) == [*(one.name for one in built_in_lessons()), "mine"]
    assert len(found.faults) == 2
    assert "is in another folder" in found.faults[0]
    assert "There is no folder" in found.faults[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("minutes: 3", "minutes: 3\nmodel: /etc", "may not be loaded here"),
        ("effect > 0.9 and", "effect > 9 and", "no cell of this result is right"),
        ("per: position", "per: pair", "the experiment's field 'per'"),
        ("One.", "{nothing}", "'nothing' is not a quantity"),
        (" are", " Reykjavik", "several tokens"),
    ],
)
def test_a_lesson_that_cannot_be_played_says_why(
    folder: Path, old: str, new: str, said: str
) -> None:
    (folder / "mine.yaml").write_text(OWN.replace(old, new))
    resources.lessons.clear()
    shown = page(lesson="mine", step=1)
    assert said in words(shown)
    assert shown.button, "the ways on and back are there still"


def test_a_map_is_kept_back_while_a_later_step_asks_for_a_cell_of_it() -> None:
    third = built_in_lessons()[2]
    assert third.steps[1].experiment is None
    assert is_asked_later(third, 0, {})
    answered = {1: Attempt().with_answer("x", mark(FIRST.steps[0], _any_result(), 1))}
    assert not is_asked_later(third, 0, answered)
    assert not is_asked_later(third, 1, {})
    assert not is_asked_later(third, 2, {})


def _any_result() -> pw.Result:
    return pw.run(step_experiment(FIRST, 0), pw.load_model("demo"))


def test_a_question_on_the_runs_alone_shows_no_map() -> None:
    model = pw.load_model("demo")
    result = pw.run(step_experiment(FIRST, 0), model, top=3)
    assert all(is_about_runs(step, result) for step in FIRST.steps)
    assert not is_about_runs(built_in_lessons()[2].steps[0], result)


def test_the_score_tells_first_tries_second_tries_and_hints_apart() -> None:
    right, wrong = (mark(FIRST.steps[0], _any_result(), answer) for answer in (1, 0))
    once = Attempt().with_answer(1, right)
    second = Attempt().with_answer(0, wrong).with_answer(1, right)
    failed = Attempt().with_answer(0, wrong).with_answer(2, wrong)
    found = score(
        FIRST, {0: once, 1: Attempt(2).with_answer(0, wrong).with_answer(1, right), 2: second}
    )
    assert (found.asked, found.answered) == (3, 3)
    assert (found.at_once, found.second, found.with_hints) == (1, 1, 1)
    assert found.words == "✓ Done: 3 of 3 right, 1 at the second try, 1 with hints."
    assert score(FIRST, {0: Attempt(1), 1: Attempt().with_answer(0, wrong)}).words == "Not started"
    assert score(FIRST, {0: failed}).words == "1 of 3 questions answered."
    assert [one.over for one in (once, second, failed)] == [True] * 3
    assert [one.outcome for one in (once, second, failed, Attempt(1))] == [
        "✓ Right at once",
        "✓ Right at the second try",
        "✗ Not right",
        "Not answered",
    ]


def test_the_first_wrong_answer_ends_nothing_and_the_answer_can_be_shown() -> None:
    wrong = Attempt(1).with_answer(0, mark(FIRST.steps[0], _any_result(), 0))
    assert not wrong.over
    assert wrong.hints_to_show == 2, "one more hint comes with the second try"
    assert replace(wrong, shown=True).over
    assert first_open_step(FIRST, {0: replace(wrong, shown=True)}) == 1
    assert first_open_step(FIRST, {0: wrong}) == 0


@pytest.mark.parametrize("lesson", built_in_lessons(), ids=lambda lesson: lesson.name)
def test_every_experiment_of_a_lesson_opens_on_a_page_that_shows_it(
    lesson: Lesson,
) -> None:
    model = pw.load_model(lesson.model)
    for number in range(len(lesson.steps)):
        experiment = step_experiment(lesson, number)
        found = nearest_page(experiment, pw.run(experiment, model))
        assert found is not None
        name, fields = found
        controls = dict(session_state.FIELDS) | fields
        if isinstance(experiment, Patch):
            assert build_experiment.patch_of(controls, model.name) == experiment
        elif isinstance(experiment, Attribute):
            swept = build_experiment.patch_of(controls, model.name)
            assert (swept.site, swept.per, swept.pairs) == (
                experiment.site, experiment.per, experiment.pairs,
            )  # fmt: skip
            assert name == "patch"
        elif isinstance(experiment, Trace):
            traced = build_experiment.trace_of(controls, model.name, experiment.site)
            _same_numbers(traced, experiment, model)
        else:
            assert name == "attention"
            assert fields["chosen"] == "L3H1.z"


def _same_numbers(one: Experiment, other: Experiment, model: pw.Model) -> None:
    assert (pw.run(one, model).effect == pw.run(other, model).effect).all()


def test_token_ids_open_no_page(demo: pw.Model) -> None:
    ids = {"clean": [3, 8, 5], "corrupt": [3, 9, 5], "answer": [7], "wrong": [9]}
    experiment = Patch.of({"model": "demo", "pairs": ids, "per": "position"})
    assert nearest_page(experiment, pw.run(experiment, demo)) is None


def test_only_an_empty_line_begins_a_paragraph() -> None:
    assert paragraphs("a\nb  c\n\n \nd ·e\n") == "a b c\n\nd ·e"
    assert paragraphs("*a*\n# b") == "\\*a\\* \\# b"
    assert paragraphs("") == ""
