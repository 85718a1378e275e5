"""Values of NumPy and PyTorch, wherever a public function takes plain ones."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.algorithms.statistics import statistics
from patchwright.errors import AnswerError, ExperimentError, InputError, PromptError
from patchwright.prompts.builtin_templates import task
from patchwright.prompts.datasets import write_items

PAIR = pw.Pair(
    clean="The capital of France is",
    corrupt="The capital of Italy is",
    answer=" Paris",
    wrong=" Rome",
)
IDS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6)
AS_ARRAY: dict[str, Callable[[list[int]], Any]] = {
    "numpy int64": lambda ids: np.array(ids, dtype=np.int64),
    "numpy uint32": lambda ids: np.array(ids, dtype=np.uint32),
    "numpy whole floats": lambda ids: np.array(ids, dtype=np.float64),
    "numpy objects": lambda ids: np.array(ids, dtype=object),
    "numpy scalars": lambda ids: [np.int64(one) for one in ids],
    "torch": lambda ids: torch.tensor(ids),
    "torch scalars": lambda ids: tuple(torch.tensor(one) for one in ids),
    "pandas": lambda ids: pd.Series(ids),
}


@pytest.mark.parametrize("kind", AS_ARRAY)
@given(clean=IDS, corrupt=IDS, answers=IDS, wrong=st.integers(0, 9))
def test_arrays_of_ids_are_the_pair_of_their_numbers(
    kind: str, clean: list[int], corrupt: list[int], answers: list[int], wrong: int
) -> None:
    of = AS_ARRAY[kind]
    found = pw.Pair(clean=of(clean), corrupt=of(corrupt), answer=of(answers), wrong=of([wrong])[0])
    assert found == pw.Pair(clean=clean, corrupt=corrupt, answer=answers, wrong=wrong)
    every = [*found.clean, *found.corrupt, *found.answers, *found.wrongs]
    assert {type(one) for one in every} == {int}
    (line,) = write_items([pw.Item(pair=found)])
    assert pw.Pair(**json.loads(line)) == found


@given(texts=st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), min_size=3))
def test_texts_of_numpy_are_texts(texts: list[str]) -> None:
    clean, corrupt, *answers = texts
    found = pw.Pair(clean=np.str_(clean), corrupt=np.array(corrupt), answer=np.array(answers))  # pyright: ignore[reportArgumentType]
    assert found == pw.Pair(clean=clean, corrupt=corrupt, answer=answers)
    assert json.loads(found.model_dump_json())["answer"] == answers


NOT_IDS: list[Any] = [
    *(5, True, None, 1.5, b"ab", {"a": 1}, object(), [1.5], [True, 2], ["a"], [None], [[1, 2]]),
    *(np.array([[1, 2]]), np.array([True, False]), np.array([1.5]), torch.tensor([[1]])),
    *(torch.tensor([True]), torch.tensor(1.5), np.array(["a"]), [float("nan")], [2**70]),
]


@pytest.mark.parametrize("value", NOT_IDS, ids=lambda one: type(one).__name__)
def test_what_is_no_prompt_is_refused_in_a_sentence(value: Any) -> None:
    with pytest.raises(PromptError, match=r"'clean': give a text, or the token ids of one prompt"):
        pw.Pair(clean=value, corrupt=[1, 2], answer=7)
    with pytest.raises(PromptError, match="'corrupt'"):
        pw.Pair(clean=[1, 2], corrupt=value, answer=7)


NO_ANSWERS: list[Any] = [
    *(True, 1.5, b"ab", {"a": 1}, object(), [1.5], [True], [" a", 7], [[1]], [None]),
    *(np.bool_(True), np.array([True]), np.float64(1.5), torch.tensor(True), torch.tensor([[7]])),
]


@pytest.mark.parametrize("value", NO_ANSWERS, ids=lambda one: type(one).__name__)
def test_what_is_no_answer_is_refused_in_a_sentence(value: Any) -> None:
    with pytest.raises(AnswerError, match=r"'answer': give a text or a list of texts, or a token"):
        pw.Pair(clean=[1, 2], corrupt=[1, 3], answer=value)
    with pytest.raises(AnswerError, match="'wrong'"):
        pw.Pair(clean=[1, 2], corrupt=[1, 3], answer=7, wrong=value)


@pytest.mark.parametrize(
    "number", [7, [1969, 1970], np.int64(7), torch.tensor([7])], ids=lambda one: type(one).__name__
)
def test_numbers_are_no_answers_beside_text(demo: pw.Model, number: Any) -> None:
    with pytest.raises(AnswerError, match=r"'answer' has a number.* the prompts are text"):
        pw.Pair(clean="a b", corrupt="a c", answer=number)
    with pytest.raises(AnswerError, match="'wrong' has a number"):
        pw.Pair(clean=[1, 2], corrupt="a c", answer=" a", wrong=number)
    with pytest.raises(InputError, match="'answer' has a number"):
        pw.trace(demo, PAIR.clean, "France", number)
    pairs = [PAIR.model_dump(), {"clean": "a b", "corrupt": "a c", "answer": 7}]
    document = {"model": "demo", "per": "layer", "pairs": pairs}
    with pytest.raises(ExperimentError, match=r"'pairs\.1': 'answer' has a number"):
        pw.Patch.of(document)


def test_missing_and_unknown_fields_and_bad_roles_are_input_errors() -> None:
    ids: dict[str, Any] = {"clean": [1, 2], "corrupt": [1, 3], "answer": 7}
    faults: dict[str, dict[str, Any]] = {
        "'wrongs': there is no such field": {"wrongs": 1},
        "'align': .*'exact' or 'edges'": {"align": "loose"},
        "'roles': give a list": {"roles": 5},
        "'roles.0': 'last' is the role": {"roles": [{"name": "last", "start": 0, "stop": 1}]},
        "after the clean prompt's end": {"roles": [{"name": "a", "start": 0, "stop": 9}]},
    }
    for says, fault in faults.items():
        with pytest.raises(InputError, match=says):
            pw.Pair(**ids | fault)
    with pytest.raises(InputError, match="'answer': it is missing"):
        pw.Pair(clean="a", corrupt="b")  # pyright: ignore[reportCallIssue]


SCALARS: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda value: np.array(value)[()],
    "torch": lambda value: (
        torch.tensor(value) if isinstance(value, int | float) else np.array(value)[()]
    ),
}


def arrayed(value: Any, kind: str) -> Any:
    """A plain argument as NumPy or PyTorch has it."""
    if isinstance(value, list):
        whole = all(type(one) is int for one in value)
        return torch.tensor(value) if kind == "torch" and whole else np.array(value)
    plain = isinstance(value, str | int | float)
    return SCALARS[kind](value) if plain else value


CALLS: dict[str, dict[str, Any]] = {
    "patch": {
        "site": "z",
        "per": "head",
        "direction": "noise",
        "metric": "kl",
        "bos": False,
        "layers": [0, 2],
        "positions": [1, -1],
        "heads": [0],
        "order": "attribution",
        "max_exact": 2,
    },
    "patch_together": {"places": ["L0.z", "L1.z@-1"], "direction": "noise", "bos": False},
    "ablate": {
        "ablation": "mean",
        "prompts": [PAIR.clean, PAIR.corrupt],
        "by_position": False,
        "seed": 3,
        "layers": [1],
    },
    "ablate_together": {
        "places": ["L0.z"],
        "ablation": "resample",
        "prompts": [PAIR.corrupt],
        "seed": 3,
    },
    "attribute": {"estimator": "integrated", "steps": 2, "exact": True, "site": "attn_out"},
    "path_patch": {"receivers": ["L2H0.q"], "mlps": "freeze", "norms": "freeze", "layers": [0]},
    "edge_attribution": {"steps": 2, "exact": 1},
    "difference": {"site": "z", "per": "head", "bos": False},
    "attention": {"layer": 1, "head": 2},
    "head_scores": {"length": 5, "repeats": 2, "seed": 1, "words": "a b c d e f g h i j k l"},
    "logit_lens": {"places": ["L0.z"], "direction": "noise"},
    "logit_attribution": {"part": "layer"},
}


@pytest.mark.parametrize("kind", SCALARS)
@pytest.mark.parametrize("name", CALLS)
def test_every_method_takes_them_for_every_argument(demo: pw.Model, name: str, kind: str) -> None:
    call, asked = getattr(pw, name), CALLS[name]
    expected = call(demo, [PAIR], **asked)
    found = call(demo, np.array([PAIR, None], dtype=object)[:1], **{
        argument: arrayed(value, kind) for argument, value in asked.items()
    })  # fmt: skip
    assert found.experiment == expected.experiment
    assert json.loads(found.to_json()).keys() == json.loads(expected.to_json()).keys()
    for array, values in expected.arrays.items():
        assert found.arrays[array].equals(values)


@pytest.mark.parametrize("kind", SCALARS)
def test_tracing_circuits_sets_and_statistics_take_them_too(demo: pw.Model, kind: str) -> None:
    def of(value: Any) -> Any:
        return arrayed(value, kind)

    traced = pw.trace(demo, of(PAIR.clean), of([3]), of([" Paris"]), of(" Rome"), of(3.0), of(2))
    assert traced.experiment["subject"] == [3]
    scored = pw.edge_attribution(demo, PAIR)
    circuit = pw.Circuit.choose(scored, demo, top=of(4), threshold=of(0.0)).first(of(2))
    assert len(circuit.edges) == 2
    assert pw.evaluate_circuit(demo, PAIR, circuit, of([1, 2]), of("mean"), of(1), of(2)).to_json()
    swaps = pw.swap(
        demo, of(PAIR.clean), of("France"), of(" Paris"), of(" Rome"), of(2), of(["Italy"])
    )
    assert len(swaps) == 2
    template = task("indirect-object").template
    result = pw.patch(demo, pw.from_template(template, 3, demo.tokenizer, 1), "z")
    found = statistics(result, level=of(0.9), resamples=of(200), seed=of(1))
    assert found.on(result).to_json()
    assert len(found.strongest(of(3))) == len(result.top(of(3))) == 3
    pairs = pw.from_template(template, 2, demo.tokenizer, 3)
    assert pw.from_template(template, of(2), demo.tokenizer, of(3)) == pairs


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"layers": np.array([True, False, True])}, r"'layers\.0': give whole numbers"),
        ({"layers": [1.7]}, r"'layers\.0': give whole numbers"),
        ({"heads": 3}, "'heads': give a list"),
        ({"positions": "1"}, "'positions': give a list"),
        ({"roles": "last"}, "'roles': give a list"),
    ],
)
def test_masks_fractions_and_single_values_are_no_lists_of_numbers(
    demo: pw.Model, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(ExperimentError, match=says):
        pw.patch(demo, PAIR, **asked)


@pytest.mark.parametrize("pairs", [5, None, "text", [PAIR, "text"], PAIR.clean, {"clean": "a"}])
def test_what_is_no_pair_is_refused_in_a_sentence(demo: pw.Model, pairs: Any) -> None:
    for call in (pw.patch, pw.logit_lens):
        with pytest.raises(ExperimentError, match=r"give one pw\.Pair, or a list of them"):
            call(demo, pairs)


def test_one_text_is_no_list_of_prompts_or_places(demo: pw.Model) -> None:
    with pytest.raises(ExperimentError, match="'prompts': give a list"):
        pw.ablate(demo, PAIR, ablation="mean", prompts=str(PAIR.clean))
    for places in ("L0.z", 5):
        with pytest.raises(InputError, match=r"is not a list of places"):
            pw.patch_together(demo, PAIR, places)  # pyright: ignore[reportArgumentType]


def test_pairs_that_come_one_by_one_are_all_measured(demo: pw.Model) -> None:
    given = (pair for pair in [PAIR, PAIR])
    found = pw.logit_attribution(demo, given)  # pyright: ignore[reportArgumentType]
    assert found.arrays["contribution"].sizes["pair"] == 2
