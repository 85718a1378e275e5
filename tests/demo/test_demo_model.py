"""The shipped weights on held-out combinations: what the demo model must be able to do."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import GPT2LMHeadModel, GPT2Tokenizer

import patchwright as pw
from patchwright.model.catalog import DEMO
from patchwright.prompts.examples import Example, examples
from recipes.demo_model import evaluate, words
from recipes.demo_model.corpus import KINDS, held_out, training_texts

ROOT = Path(__file__).parents[2]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def report() -> evaluate.Report:
    loaded = GPT2LMHeadModel.from_pretrained(DEMO)
    return evaluate.measure(loaded.eval(), GPT2Tokenizer.from_pretrained(DEMO))


@pytest.mark.parametrize(
    ("kind", "measure", "least"),
    [
        ("indirect_object", "accuracy", 0.98),
        ("indirect_object", "logit_diff", 4.0),
        ("landmark", "accuracy", 1.0),
        ("capital", "accuracy", 1.0),
        ("agreement", "accuracy", 0.99),
        ("repetition", "accuracy", 0.90),
        ("pronoun", "accuracy", 0.95),
        ("attribute", "accuracy", 0.95),
        ("misinformation_believed", "accuracy", 0.95),
        ("misinformation_corrected", "accuracy", 0.95),
        ("greater_than", "mass_above", 0.8),
    ],
)
def test_held_out_combinations_are_answered(
    report: evaluate.Report, kind: str, measure: str, least: float
) -> None:
    assert report[kind][measure] >= least


def test_the_evaluation_that_ships_is_that_of_the_weights(report: evaluate.Report) -> None:
    shipped = json.loads((DEMO / "evaluation.json").read_text(encoding="utf-8"))
    assert shipped.keys() == report.keys()
    for kind, measured in report.items():
        assert measured == pytest.approx(shipped[kind], abs=1e-3)


def test_training_never_shows_what_is_held_out() -> None:
    texts = training_texts(seed=7)
    seen = {next(texts) for _ in range(20_000)}
    for kind in KINDS:
        if kind not in ("filler", "repetition", "landmark", "capital"):
            assert not seen & {sentence.text for sentence in held_out(kind, 100, seed=8)}


def test_one_head_stands_out_on_the_indirect_object_example(demo: pw.Model) -> None:
    pair = next(one.pair for one in examples() if one.id == "ioi")
    strength = np.sort(np.abs(pw.patch(demo, pair, "z").effect.values.ravel()))
    assert strength[-1] >= 5 * np.median(strength)


@pytest.mark.parametrize(
    "example", [one for one in examples() if "demo" in one.models], ids=lambda example: example.id
)
def test_every_example_for_the_demo_model_runs_without_a_warning(
    demo: pw.Model, example: Example
) -> None:
    result = pw.patch(demo, example.pair, metric=example.metric)
    assert result.warnings == []
    assert result.clean.rank in (1, None)
    assert float(abs(result.effect).max()) > 0.5


def test_the_package_stays_small_and_has_what_loads_it() -> None:
    assert (DEMO / "model.safetensors").stat().st_size <= 16 * MEGABYTE
    assert {"config.json", "tokenizer.json", "README.md"} <= {path.name for path in DEMO.iterdir()}


def test_frequent_words_are_one_token_and_rare_ones_several(demo: pw.Model) -> None:
    assert demo.tokenizer is not None
    for word in [*words.NAMES, *words.PLACES, "gave", "showed"]:
        assert len(demo.tokenizer.encode(f" {word}")[0]) == 1, word
    for word in words.RARE_WORDS:
        assert len(demo.tokenizer.encode(f" {word}")[0]) > 1, word
    assert 1000 <= demo.spec.n_vocab <= 2000
