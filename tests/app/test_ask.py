"""A question asked of a map without a browser: its address, what it opens, and what it refuses."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import patchwright as pw
from app_pages import button, sent, settled, unopened_view, words
from patchwright.app import asked_question, build_experiment, session_state, url_state
from patchwright.errors import InputError, PatchwrightError
from patchwright.lessons import read_lesson
from patchwright.lessons.from_map import lesson_yaml, make_lesson

pytestmark = pytest.mark.filterwarnings("default")

QUESTION = "Which <b>head</b> brings *Mary* back?"


def controls(page: str, **changed: object) -> dict[Any, Any]:
    """The controls of a page as a visitor finds them, with some changed."""
    state: dict[Any, Any] = {}
    session_state.prepare(state, page)
    return state | changed


def asked(page: str = "patch", **changed: object) -> dict[str, str]:
    """The parameters of the address of a question."""
    return asked_question.question_fields(QUESTION, "", controls(page, **changed))


def test_the_address_has_the_question_and_the_experiment_and_nothing_of_the_asker() -> None:
    state = controls("patch", site="z", per="head", chosen="L3H1.z", note="to myself", step=3)
    found = asked_question.question_fields(f" {QUESTION} ", "Why", state)
    assert found == {
        "ask": QUESTION,
        "explain": "Why",
        "map": "patch?model=demo&site=z&per=head",
    }
    assert url_state.read_parameters("learn", found) == found
    assert url_state.query_parameters("learn", dict(session_state.FIELDS) | found) == found


@pytest.mark.parametrize("page", asked_question.PAGES)
def test_the_address_means_the_experiment_of_the_page(page: str) -> None:
    state = controls(page, chosen="L3H1.z", edges=7, part="layer")
    state |= {"metric": "prob_diff", "clean": "The keys to the cabinet", "answer": " are"}
    state |= {"corrupt": "The key to the cabinet", "wrong": " is"}
    found = asked_question.experiment_from_map(asked_question.map_address(page, state))
    swept = build_experiment.patch_of(state, "demo")
    expected = {
        "patch": swept,
        "ablation": build_experiment.ablate_of(state, swept),
        "trace": build_experiment.trace_of(state, "demo", "mlp_out"),
        "activations": build_experiment.difference_of(swept, state["seen_site"]),
        "paths": build_experiment.path_patch_of(state, swept),
        "attention": build_experiment.attention_of(swept, 3, 1),
        "lens": build_experiment.lens_of(swept, []),
        "circuit": build_experiment.edge_attribution_of(state, swept),
    }
    assert found == expected[page]


def test_a_map_of_all_heads_is_in_the_address_with_how_many_words_are_repeated() -> None:
    state = controls("attention", chosen="L3H1.z")
    scores = build_experiment.head_scores_of(build_experiment.patch_of(state, "demo"), 9)
    fields = asked_question.question_fields("Which?", "", state, scores)
    assert fields["map"] == "attention?model=demo&repeated=9"
    assert asked_question.experiment_from_map(fields["map"]) == scores


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"map": "attention?repeated=%00"}, "The address repeats"),
        ({"map": "attention?repeated=999999"}, "it may be 1 to 99"),
        ({"map": "lens?repeated=9"}, "means nothing on this page"),
        ({"ask": " "}, "The question has no text"),
        ({"ask": "x" * 301}, "The field Question has 301 characters"),
        (
            {"map": ""},
            "a map of '': it may be one of patch, activations, attention, trace, lens, ablation",
        ),
        ({"map": "many?task=x"}, "a map of 'many'"),
        ({"map": "patch?site=nowhere"}, "The address has site 'nowhere'"),
        ({"map": "patch?window=3"}, "means nothing on this page"),
        ({"map": "patch?run=0123456789ab"}, "started without a store"),
        ({"map": "patch?" + "clean=x" * 900}, "The field Map has"),
    ],
)
def test_a_bad_address_is_one_sentence(changed: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        asked_question.lesson_from_fields({**asked_question.CLEARED, **asked(), **changed})
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.text(), st.text(), st.text())
@example("Which?", "", "patch?" + "&" * 50)
@example("Which?", "", "patch?metric=\ud800")
@example("Which?", "{", "patch?answer=%00&wrong=%F0")
@example("Which?", "", "patch?model=other%E2%80%A6")
def test_whatever_an_address_says_is_a_lesson_or_an_error_of_ours(
    question: str, explanation: str, text: str
) -> None:
    for text_of_map in (text, f"patch?clean={text}", f"ablation?references={text}&bos={text}"):
        fields = {"ask": question, "explain": explanation, "map": text_of_map}
        with suppress(PatchwrightError):
            lesson = asked_question.lesson_from_fields(fields)
            assert read_lesson(lesson_yaml(lesson), lesson.name) == lesson


def test_a_question_of_an_address_is_answered_as_text_and_left_again(
    demo: pw.Model,
) -> None:
    shown = settled(unopened_view("learn", **asked(site="z", per="head")).run())
    assert QUESTION in words(shown)
    assert "Your prediction: **none yet**" in words(shown)
    experiment = asked_question.experiment_from_map(asked(site="z", per="head")["map"])
    name = make_lesson(experiment, QUESTION, "").name
    strongest = pw.run(experiment, demo).top(1)["place"].iloc[0]
    shown.session_state["picks"] = {f"pick-demo/{name}-0": strongest}
    shown = settled(button(settled(shown.run()), "Check answer").click().run())
    assert [one.value for one in shown.success] == ["Right at once."]
    assert "The strongest cell has" in words(shown)
    shown = settled(button(shown, "Finish").click().run())
    assert [one.value for one in shown.metric] == ["1 of 1", "0", "0", "0"]
    shown = settled(button(shown, "All lessons").click().run())
    assert "What a prediction is" in words(shown)
    assert shown.session_state["map"] == ""


@pytest.mark.parametrize(
    ("page", "wrong", "said", "panels"),
    [
        ("lens", "layer 1, position 14", "Right: layer 3, position 14 (·to).", [1, 0]),
        (
            "attention",
            "query 14, key 2",
            "You predicted **from position 14 (·to) to position 2 (·Mary)**. Right: from position 14 (·to) "
            "to position 7 (·the).",
            [1, 0],
        ),
        ("circuit", "layer 2, part head 3", "Right: layer 0, head 0; layer 0, MLP.", [2]),
    ],
)
def test_a_question_of_a_map_without_a_site_is_marked_on_the_map_of_the_first_run(
    page: str, wrong: str, said: str, panels: list[int]
) -> None:
    fields = asked(page, chosen="L5H3.z")
    name = asked_question.lesson_from_fields(fields).name
    view = unopened_view("learn", **{one: text for one, text in fields.items() if text})
    shown = settled(view.run())
    (empty,) = sent(shown)[0]["maps"]
    assert {one for row in empty["values"] for one in row} == {None}
    shown.session_state["picks"] = {f"pick-demo/{name}-0": wrong}
    shown = settled(button(settled(shown.run()), "Check answer").click().run())
    shown = settled(button(shown, "Show the answer").click().run())
    assert said in words(shown)
    maps = [one["maps"][0] for one in sent(shown)]
    assert [len(one["marked"]) for one in maps] == panels
    assert [one["selected"] for one in maps] == [wrong, *[""] * (len(panels) - 1)]


def test_a_lesson_that_is_begun_elsewhere_takes_the_place_of_a_question() -> None:
    shown = settled(unopened_view("learn", **asked()).run())
    shown.session_state["lesson"] = "1-prediction"
    shown = settled(shown.run())
    assert shown.header[0].value == "What a prediction is"
    assert shown.session_state["map"] == ""


def test_a_bad_question_of_an_address_is_said_above_the_list_of_lessons() -> None:
    shown = settled(unopened_view("learn", ask="Which?", map="patch?site=<b>").run())
    assert "The address has site '<b>'" in words(shown, "warning")
    assert "What a prediction is" in words(shown)


def test_a_quantity_that_is_none_is_said_in_place_of_the_answer() -> None:
    fields = asked() | {"ask": "Is it {nothing}?"}
    shown = settled(unopened_view("learn", **fields).run())
    assert "'nothing' is not a quantity" in words(shown, "error")
