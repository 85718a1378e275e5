"""Known answers: every method has some, all of them are found, and a wrong one would be seen."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor
from transformers import PreTrainedModel

import patchwright as pw
import slow_patching
from command import patchwright
from docs_programs import program
from hooks import changed_logits, logits
from patchwright import known_answers
from patchwright.errors import InputError
from patchwright.known_answers import (
    KNOWN,
    Answer,
    PlantedModel,
    check_known_answers,
    find_planted,
    methods_without_answers,
)
from patchwright.known_answers.check import ELSEWHERE, answer_experiment
from patchwright.lessons.expressions import quantity
from patchwright.methods import METHODS
from patchwright.methods.patch import Patch
from patchwright.model.catalog import CATALOG, is_planted
from patchwright.places import Place, parse_place
from planted_models import module_of
from test_toy_method import EVERY

DOCS = Path(__file__).parents[2] / "docs"

ALL = [(planted, answer) for planted in KNOWN for answer in planted.answers]
MISLEADING = [(planted, answer) for planted, answer in ALL if answer.truth]
MODELS = {planted.model: pw.load_model(planted.model) for planted in KNOWN}


def named(value: PlantedModel | Answer) -> str:
    return value.model if isinstance(value, PlantedModel) else f"{value.method} {value.fields_text}"


def test_every_method_has_a_known_answer_and_a_new_one_without_is_found() -> None:
    assert methods_without_answers(METHODS, KNOWN) == set()
    assert methods_without_answers(EVERY, KNOWN) == set(EVERY) - set(METHODS) != set()


def test_every_planted_model_has_known_answers() -> None:
    assert {one.model for one in KNOWN} == {one.name for one in CATALOG if is_planted(one.name)}


@pytest.mark.parametrize("planted", KNOWN, ids=named)
def test_every_method_finds_what_is_known(planted: PlantedModel) -> None:
    findings = list(check_known_answers(planted, MODELS[planted.model]))
    assert [one for one in findings if not one.passed] == []
    numbers = sum(len(one.numbers) + (one.elsewhere is not None) for one in planted.answers)
    assert len(findings) == numbers


@pytest.mark.parametrize(("planted", "answer"), ALL, ids=named)
def test_a_number_that_is_not_so_would_be_seen(planted: PlantedModel, answer: Answer) -> None:
    wrong = {name: value + 0.001 for name, value in answer.numbers.items()}
    elsewhere = None if answer.elsewhere is None else answer.elsewhere + 0.001
    changed = replace(answer, numbers=wrong, elsewhere=elsewhere)
    found = list(check_known_answers(replace(planted, answers=(changed,)), MODELS[planted.model]))
    assert not any(one.passed for one in found)


def test_a_place_that_is_not_named_is_among_the_others() -> None:
    planted = KNOWN[0]
    answer = replace(planted.answers[0], numbers={"effect L0H1.z": 1})
    (_, others) = check_known_answers(replace(planted, answers=(answer,)), MODELS[planted.model])
    assert (others.quantity, others.found, others.passed) == (ELSEWHERE, 1, False)


@pytest.mark.parametrize(("planted", "answer"), MISLEADING, ids=named)
def test_what_misleads_is_far_from_the_truth_and_says_who_found_that(
    planted: PlantedModel, answer: Answer
) -> None:
    assert set(answer.truth) <= set(answer.numbers)
    assert answer.source
    for name, true in answer.truth.items():
        assert abs(answer.numbers[name] - true) > 0.1


TRUE_EFFECTS = [
    (planted, answer, name)
    for planted, answer in MISLEADING
    for name in answer.truth
    if answer.method == "attribute"
]


@pytest.mark.parametrize(("planted", "answer", "name"), TRUE_EFFECTS)
def test_what_an_estimate_misses_is_what_the_patch_does(
    planted: PlantedModel, answer: Answer, name: str
) -> None:
    fields = {name: value for name, value in answer.fields.items() if name in Patch.model_fields}
    patched = replace(answer, method="patch", fields=fields)
    result = pw.run(answer_experiment(patched, planted), MODELS[planted.model])
    assert quantity(name, result) == pytest.approx(answer.truth[name], abs=1e-5)


def test_a_single_ablation_hides_what_the_joint_one_shows() -> None:
    model, pair = MODELS["planted-self-repair"], find_planted("planted-self-repair", KNOWN).pair
    alone = pw.ablate(model, pair).effect
    both = pw.ablate_together(model, pair, ["L0H2.z", "L1H1.z"]).effect
    backup_off = both - alone.sel(layer=1, head=1)
    assert float(backup_off) == 0.5 == 4 * float(alone.sel(layer=0, head=2))


PLACED = [
    (planted, answer)
    for planted, answer in ALL
    if answer.method in ("patch", "ablate") and any("effect L" in name for name in answer.numbers)
]


@pytest.mark.parametrize(("planted", "answer"), PLACED, ids=named)
def test_hooks_on_the_hugging_face_model_give_the_same_numbers(
    planted: PlantedModel, answer: Answer
) -> None:
    module = module_of(planted.model)
    (pair,) = answer_experiment(answer, planted).tokens(MODELS[planted.model])
    clean, corrupt = list(pair.clean), list(pair.corrupt)

    def gap(values: Tensor) -> float:
        return float(values[-1][pair.answers[0][0]] - values[-1][pair.wrongs[0][0]])

    ends = gap(logits(module, clean)), gap(logits(module, corrupt))
    for name in answer.numbers:
        if not name.startswith("effect "):
            continue
        place = parse_place(name.removeprefix("effect "))
        if answer.method == "patch":
            moved = gap(slow_patching.cell_logits(module, corrupt, clean, place)) - ends[1]
        else:
            moved = ends[0] - gap(with_zeros(module, clean, place))
        assert moved / (ends[0] - ends[1]) == pytest.approx(answer.numbers[name], abs=1e-7)


def with_zeros(module: PreTrainedModel, tokens: list[int], place: Place) -> Tensor:
    """[position, vocab] of the run with zeros at one place."""

    def change(live: Tensor) -> None:
        at = slice(None) if place.position is None else place.position
        live[at if place.head is None else (at, place.head)] = 0

    return changed_logits(module, tokens, [(place.site, place.layer or 0, change)])


def test_the_command_shows_what_is_expected_beside_what_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = patchwright("known-answers", "--model", "planted-saturation")
    assert shown.returncode == 0
    assert "attribute (site=q, exact=True): No small step" in shown.stdout
    assert re.search(
        r"ok  effect L1H3\.q +expected \+0\.00000  found \+0\.00000  misleads, true is \+1 \(Kram",
        shown.stdout,
    )
    document = json.loads(patchwright("known-answers", "--json").stdout)
    assert {one["model"] for one in document} == set(MODELS)
    assert {one["method"] for one in document} == set(METHODS)
    assert all(one["passed"] and abs(one["found"] - one["expected"]) < 1e-5 for one in document)
    wrong = replace(KNOWN[0].answers[0], numbers={"effect L0H1.z": 0.9}, elsewhere=None)
    changed = (replace(KNOWN[0], answers=(wrong,)),)
    monkeypatch.setattr(known_answers, "KNOWN", changed)
    failed = patchwright("known-answers")
    assert failed.returncode == 1
    assert "BAD effect L0H1.z" in failed.stdout
    assert "0 of 1 numbers are what they must be" in failed.stdout


def test_a_model_without_known_answers_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(InputError, match="There are some for: planted-induction, "):
        find_planted("demo", KNOWN)
    assert patchwright("known-answers", "--model", "demo").returncode == 2


def test_without_prompts_a_planted_model_is_asked_its_own_example() -> None:
    asked = ["--model", "planted-fact", "--no-store", "--json", "-"]
    own = json.loads(patchwright("patch", *asked).stdout)
    named = json.loads(patchwright("patch", "--example", "planted-fact", *asked).stdout)
    assert own["experiment"] == named["experiment"]
    assert own["model"]["name"] == "planted-fact"
    traced = json.loads(patchwright("trace", *asked).stdout)
    assert traced["details"]["subject_tokens"] == [" Louvre"]
    refused = patchwright("patch", "--model", "demo")
    assert "--clean is missing or empty" in refused.stderr


def test_the_page_of_known_answers_is_that_of_the_declarations() -> None:
    shown = (DOCS / "known-answers.md").read_text("utf-8")
    assert shown == program("write_known_answers").page_of(KNOWN)
