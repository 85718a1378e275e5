"""A lesson that is made from a map: its file loads, is valid, and grades what the model says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import patchwright as pw
from patchwright.errors import InputError
from patchwright.experiment.base import Experiment
from patchwright.lessons import check_lesson, find_lessons, mark, read_lesson, step_experiment
from patchwright.lessons.cells import edges_as_sweep
from patchwright.lessons.expressions import holds
from patchwright.lessons.from_map import lesson_yaml, make_lesson, proposed_question
from patchwright.lessons.grading import pickable_places
from patchwright.methods import METHODS

PAIR = {
    "clean": "When Mary and John went to the store, John gave a drink to",
    "corrupt": "When Mary and John went to the store, Mary gave a drink to",
    "answer": " Mary",
    "wrong": " John",
}
HEADS = {"method": "patch", "site": "z", "per": "head"}
MAPS: list[dict[str, Any]] = [
    HEADS,
    {"method": "patch", "direction": "noise"},
    {"method": "ablate", "site": "z", "per": "head"},
    {"method": "path_patch"},
    {"method": "difference", "site": "resid_pre"},
    {"method": "trace", "site": "mlp_out", "samples": 2},
    {"method": "logit_lens"},
    {"method": "attention", "layer": 5, "head": 3},
    {"method": "head_scores", "words": PAIR["clean"], "length": 10},
    {"method": "edge_attribution"},
]


def asked(fields: dict[str, Any], **pair: str) -> Experiment:
    """An experiment on the pair."""
    if fields["method"] == "trace":
        one = PAIR | pair
        about = {"prompt": one["clean"], "subject": "Mary", "metric": "logit_diff"}
        return METHODS.parse(
            {"model": "demo", **about, "answer": one["answer"], "wrong": one["wrong"], **fields}
        )
    return METHODS.parse({"model": "demo", "pairs": PAIR | pair, **fields})


@pytest.mark.parametrize("fields", MAPS, ids=lambda one: "-".join(map(str, one.values())))
def test_the_file_of_every_map_loads_and_holds_by_its_own_checker(
    fields: dict[str, Any], demo: pw.Model, tmp_path: Path
) -> None:
    experiment = asked(fields)
    question = proposed_question(experiment)
    assert question.startswith(experiment.question)
    lesson = make_lesson(experiment, question, "Heads move {gap} logits.\nReally.")
    (tmp_path / f"{lesson.name}.yaml").write_text(lesson_yaml(lesson), encoding="utf-8")
    assert find_lessons(tmp_path) == [lesson]
    assert step_experiment(lesson, 0) == experiment
    assert check_lesson(lesson, lambda one: pw.run(one, demo)) == []
    about_an_answer = fields["method"] != "head_scores"
    assert lesson.title == ("“Mary” or “John”?" if about_an_answer else "A question on a map")
    assert lesson.about == question


def test_the_strongest_cell_is_right_and_a_weak_one_is_not(demo: pw.Model) -> None:
    experiment = asked(HEADS)
    result = pw.run(experiment, demo)
    step = make_lesson(experiment, "Which head?", "").steps[0]
    table = result.table().sort_values("effect")
    assert mark(step, result, table["place"].iloc[-1]).right
    assert not mark(step, result, table["place"].iloc[0]).right
    least = min(result.effect.values.max() * 0.95, 1)
    strong = table[table["effect"] >= least]["place"]
    assert set(mark(step, result, "").answers) == set(strong)


def test_of_the_lens_the_first_layer_that_says_the_answer_is_right(demo: pw.Model) -> None:
    result = pw.run(asked({"method": "logit_lens"}), demo)
    step = make_lesson(asked({"method": "logit_lens"}), "After which layer?", "").steps[0]
    last = result.arrays["rank"].sel(run="clean").values[:, -1]
    first = int(np.argmax(last == 1))
    assert 0 < first < len(last) - 1
    assert pickable_places(step, result) == [f"layer {i}, position 14" for i in range(len(last))]
    assert mark(step, result, "").answers == (f"layer {first}, position 14",)
    never = result.arrays["rank"] * 0 + 2
    lesson = make_lesson(asked({"method": "logit_lens"}), "After which layer?", "")
    weak = replace(result, arrays={**result.arrays, "rank": never})
    assert check_lesson(lesson, lambda _: weak) == [
        f"{lesson.name}, step 1: 0 of 6 cells are right: at least one has to be, and at most half."
    ]


def test_of_a_head_what_it_looks_at_most_from_the_last_token_is_right(demo: pw.Model) -> None:
    experiment = asked({"method": "attention", "layer": 5, "head": 3})
    result = pw.run(experiment, demo)
    step = make_lesson(experiment, "Where?", "").steps[0]
    row = result.arrays["pattern"].sel(run="clean").values[-1]
    assert mark(step, result, "").answers == (f"query 14, key {row.argmax()}",)
    assert row.max() < float(result.arrays["pattern"].max()), "another row has a larger share"
    assert len(pickable_places(step, result)) == 15


def test_of_all_heads_the_one_with_the_highest_score_on_repeated_words_is_right(
    demo: pw.Model,
) -> None:
    experiment = asked({"method": "head_scores", "words": PAIR["clean"], "length": 10})
    result = pw.run(experiment, demo)
    scores = result.arrays["induction"].sel(prompt="random")
    most = scores.argmax(("layer", "head"))
    marked = mark(make_lesson(experiment, "Which head?", "").steps[0], result, "").answers
    assert f"layer {int(most['layer'])}, head {int(most['head'])}" in marked
    assert len(marked) < scores.size / 2


def test_of_a_circuit_a_part_whose_edges_matter_most_is_right(demo: pw.Model) -> None:
    experiment = asked({"method": "edge_attribution"})
    result = edges_as_sweep(pw.run(experiment, demo))
    step = make_lesson(experiment, "Which part?", "").steps[0]
    heads = result.effect.sel(part=[f"head {head}" for head in range(6)])
    estimated = {"method": "attribute", "direction": "noise", "per": "head", "site": "z"}
    expected = pw.run(asked(estimated), demo).effect
    np.testing.assert_allclose(heads.values, expected.values, atol=1e-4)
    most = result.effect.argmax(("layer", "part"))
    part = result.effect["part"].values[most["part"]]
    assert f"layer {int(most['layer'])}, part {part}" in mark(step, result, "").answers


def test_a_map_on_which_nothing_stands_out_fails_its_own_check(demo: pw.Model) -> None:
    experiment = asked({"method": "patch", "site": "z", "per": "head", "layers": [0]})
    result = pw.run(experiment, demo)
    faint = result.arrays["effect"] * 0.01
    weak = replace(result, arrays={**result.arrays, "effect": faint})
    lesson = make_lesson(experiment, "Which head?", "")
    assert any("does not hold" in one for one in check_lesson(lesson, lambda _: weak))


@pytest.mark.parametrize(
    "text", ["a: b\n- c", "'\"}<b>*&anchor", "😀 {gap}", "#", "yes", "a\x85b\u2028c"]
)
def test_any_text_is_in_the_file_as_it_was_typed(text: str) -> None:
    lesson = make_lesson(asked(HEADS, clean=f"{text} John gave"), text, text)
    again = read_lesson(lesson_yaml(lesson), lesson.name)
    assert again == lesson
    assert again.steps[0].question == text


def test_an_empty_question_and_a_method_without_cells_are_refused() -> None:
    with pytest.raises(InputError, match="The question has no text"):
        make_lesson(asked(HEADS), " \n", "")
    for attempt in (proposed_question, lambda one: make_lesson(one, "Which?", "")):
        with pytest.raises(InputError, match="No question can be made of a map of 'attribute'"):
            attempt(asked({"method": "attribute"}))


def test_about_is_no_further_off_than_five_per_cent(demo: pw.Model) -> None:
    result = pw.run(asked(HEADS), demo)
    assert holds("gap about gap", result)
    value = result.clean.metric - result.corrupt.metric
    assert holds(f"gap about {value * 1.04}", result)
    assert not holds(f"gap about {value * 1.06}", result)
