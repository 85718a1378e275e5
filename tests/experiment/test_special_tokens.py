"""A model whose tokenizer puts tokens by itself gives the numbers of the same model without."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import xarray as xr

import patchwright as pw
from patchwright.prompts.tokens import encode_prompt
from vocabularies import START, model_of

PAIR: dict[str, Any] = {
    "clean": "The capital of France is in the city of",
    "corrupt": "The capital of Berlin is in the city of",
    "answer": " Paris",
    "wrong": " Rome",
}
METHODS: dict[str, Callable[[pw.Model, pw.Pair, bool], pw.Result]] = {
    "patch": lambda model, pair, bos: pw.patch(model, pair, bos=bos),
    "trace": lambda model, pair, bos: pw.trace(
        model, str(pair.clean), "France", " Paris", samples=2, bos=bos
    ),
    "ablate": lambda model, pair, bos: pw.ablate(
        model, pair, "mlp_out", prompts=["Mary is in Rome"], by_position=False, bos=bos
    ),
    "lens": lambda model, pair, bos: pw.logit_lens(model, pair, bos=bos),
    "heads": lambda model, pair, bos: pw.head_scores(
        model, pair, length=3, bos=bos, words="Mary John Rome Paris of the"
    ),
    "direct": lambda model, pair, bos: pw.logit_attribution(model, pair, bos=bos),
}


@pytest.mark.parametrize("kind", ["start put", "end put", "both put"])
@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_tokens_that_a_tokenizer_puts_change_no_number(name: str, kind: str, bos: bool) -> None:
    method, pair = METHODS[name], pw.Pair(**PAIR)
    plain, result = (method(model_of(one), pair, bos) for one in ("bytes", kind))
    assert result.tokens == plain.tokens
    for array in plain.arrays:
        xr.testing.assert_equal(result.arrays[array], plain.arrays[array])
    codes = [one["code"] for one in result.warnings]
    assert ("end_token_removed" in codes) == (kind != "start put")
    assert codes.count("end_token_removed") <= 1
    assert "end_token_removed" not in [one["code"] for one in plain.warnings]


@pytest.mark.parametrize("kind", ["bytes", "start put", "end put", "both put"])
@pytest.mark.parametrize("bos", [True, False])
def test_the_answer_is_read_off_the_prompts_own_last_token(kind: str, bos: bool) -> None:
    model, pair = model_of(kind), pw.Pair(**PAIR)
    assert model.tokenizer is not None
    whole: Any = model.tokenizer.whole
    start = [whole.bos_token_id] if bos else []
    ids = [*start, *whole(str(pair.clean), add_special_tokens=False).input_ids]
    assert encode_prompt(str(pair.clean), model.tokenizer, bos) == tuple(ids)
    with torch.no_grad():
        logits = hugging(kind)(torch.tensor([ids])).logits[0, -1]
    answer, wrong = (whole(one, add_special_tokens=False).input_ids for one in (" Paris", " Rome"))
    expected = float(logits[answer[0]] - logits[wrong[0]])
    assert pw.patch(model, pair, bos=bos).clean.logit_diff == pytest.approx(expected, abs=1e-9)


def test_a_typed_start_token_is_not_doubled() -> None:
    typed_prompts = {one: START + PAIR[one] for one in ("clean", "corrupt")}
    pair = pw.Pair(**{**PAIR, **typed_prompts})
    for kind in ("bytes", "start put"):
        typed, put = pw.patch(model_of(kind), pair), pw.patch(model_of(kind), pw.Pair(**PAIR))
        xr.testing.assert_equal(typed.patched, put.patched)


def test_a_result_says_once_that_no_start_token_was_put() -> None:
    pair = pw.Pair(**PAIR)
    other = pair.model_copy(update={"answer": (" Mary",)})
    for pairs in (pair, [pair, other]):
        result = pw.patch(model_of("bytes", None), pairs)
        assert [one["code"] for one in result.warnings].count("no_bos") == 1
    assert "no_bos" not in [one["code"] for one in pw.patch(model_of("bytes"), pair).warnings]
    without = pw.patch(model_of("bytes", None), pair, bos=False)
    assert "no_bos" not in [one["code"] for one in without.warnings]


def test_to_ids_a_tokenizer_adds_no_end_token() -> None:
    pair = pw.Pair(clean=[5, 6, 7], corrupt=[5, 8, 7], answer=[9], wrong=[10])
    codes = [one["code"] for one in pw.patch(model_of("end put"), pair).warnings]
    assert "end_token_removed" not in codes


def test_fingerprints_tell_apart_what_tokenizers_put() -> None:
    marks = [
        model_of("bytes").fingerprint,
        model_of("end put").fingerprint,
        model_of("bytes", None).fingerprint,
    ]
    assert len(set(marks)) == len(marks)


def hugging(kind: str) -> torch.nn.Module:
    from tiny import random_gpt2

    return random_gpt2(vocab_size=model_of(kind).spec.n_vocab, n_positions=64, n_layer=2)
