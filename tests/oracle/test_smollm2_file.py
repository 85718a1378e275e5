"""SmolLM2's file as it is read here, against Transformers' own reader."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import patchwright as pw
from patchwright.model import catalog

pytestmark = pytest.mark.oracle

TEXTS = ["When Mary and John went to the store", "naïve 北京 🙂", "It's 1984, no?", " x\n\ny"]


def test_weights_and_tokens_are_those_of_transformers(
    smollm2: pw.Model, smollm2_file: Path
) -> None:
    path = smollm2_file
    reference = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    read = pw.wrap_model(reference, tokenizer).network
    for layer, other in zip(smollm2.network.layers, read.layers, strict=True):
        for name in ("q", "k", "v", "o", "mlp_gate", "mlp_in", "mlp_out"):
            assert torch.equal(getattr(layer, name).weight, getattr(other, name).weight)
    assert torch.equal(smollm2.network.embed, read.embed)
    assert smollm2.tokenizer is not None
    for text in TEXTS:
        expected = tokenizer(text, add_special_tokens=False).input_ids
        assert list(smollm2.tokenizer.encode(text)[0]) == expected


def test_digits_and_lines_are_split_as_the_tokenizer_was_trained(smollm2: pw.Model) -> None:
    tokenizer = smollm2.tokenizer
    assert tokenizer is not None
    for text, n_tokens in (("1984", 4), (" 7", 2), ("a\n\n12", 4), ("x  3", 3)):
        assert len(tokenizer.encode(text)[0]) == n_tokens, text


def test_it_is_the_file_of_the_catalogue(smollm2: pw.Model) -> None:
    wanted = catalog.wheel_file("smollm2")
    assert wanted is not None
    assert smollm2.file == f"sha256:{wanted.sha256}"
    assert (smollm2.quantization, smollm2.source) == ("Q4_1 and Q8_0", "catalog")
