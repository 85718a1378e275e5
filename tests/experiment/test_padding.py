"""Rows of padding behind the vocabulary: no list names one, however large its logit is."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import patchwright as pw
from families import FAMILIES
from hooks import logits
from patchwright.algorithms.suggest import next_tokens, suggested_answers
from patchwright.prompts.tokens import token_texts
from tiny import pair_of

N_PADDING = 61
CLEAN, CORRUPT = [1, 2, 3, 4], [1, 5, 3, 4]
PAIR = pair_of(CLEAN, CORRUPT)


@pytest.fixture(scope="module")
def module(demo: pw.Model) -> PreTrainedModel:
    """A model of the demo's vocabulary and more rows, one of which always has the largest logit."""
    module: Any = FAMILIES["llama"](vocab_size=demo.spec.n_vocab + N_PADDING)
    rows = torch.full((N_PADDING, 1), 4.0)
    rows[::2] *= -1
    with torch.no_grad():
        module.lm_head.weight[-N_PADDING:] = rows
    return module


@pytest.fixture(scope="module")
def padded(module: PreTrainedModel, demo: pw.Model) -> pw.Model:
    assert demo.tokenizer is not None
    return pw.wrap_model(module, demo.tokenizer.whole, "padded")


def expected(module: PreTrainedModel, prompt: list[int]) -> tuple[Tensor, Tensor]:
    """Logits of the tokens and their share of all rows, [position, token]."""
    values = logits(module, prompt)
    n_tokens = values.shape[-1] - N_PADDING
    assert (values.argmax(dim=-1) >= n_tokens).all()
    return values[:, :n_tokens], values.softmax(dim=-1)[:, :n_tokens]


def test_baselines_list_and_rank_tokens_by_their_share_of_all_rows(
    module: PreTrainedModel, padded: pw.Model
) -> None:
    result = pw.patch(padded, PAIR, bos=False)
    altered = pw.patch_together(padded, PAIR, ["L0.resid_pre@1"], bos=False).altered
    assert altered is not None
    for found, prompt in ((result.clean, CLEAN), (result.corrupt, CORRUPT), (altered, CLEAN)):
        values, shares = (one[-1] for one in expected(module, prompt))
        best = shares.topk(len(found.top))
        assert [one["id"] for one in found.top] == best.indices.tolist()
        probabilities = [one["probability"] for one in found.top]
        np.testing.assert_allclose(probabilities, best.values, rtol=0, atol=1e-9)
        assert found.rank == 1 + int((values > values[7]).sum())


def test_the_lens_names_the_likeliest_token_at_its_share_of_all_rows(
    module: PreTrainedModel, padded: pw.Model
) -> None:
    lens = pw.logit_lens(padded, PAIR, bos=False)
    for run, prompt in (("clean", CLEAN), ("corrupt", CORRUPT)):
        names = ("top", "top_probability", "rank")
        last = {name: lens.arrays[name].sel(run=run).isel(layer=-1) for name in names}
        values, shares = expected(module, prompt)
        texts = token_texts(shares.argmax(-1).tolist(), padded.tokenizer)
        assert last["top"].values.tolist() == list(texts)
        np.testing.assert_allclose(last["top_probability"], shares.amax(-1), rtol=0, atol=1e-9)
        ranks = 1 + (values > values[:, 7:8]).sum(-1)
        assert last["rank"].values.tolist() == ranks.tolist()


def test_no_suggestion_is_a_row_of_padding(module: PreTrainedModel, padded: pw.Model) -> None:
    after_clean, after_corrupt = (expected(module, one)[0][-1] for one in (CLEAN, CORRUPT))
    assert next_tokens(padded.network, CLEAN, 3) == after_clean.topk(3).indices.tolist()
    first, other = suggested_answers(padded.network, CLEAN, CORRUPT)
    assert first == int(after_clean.argmax())
    assert other in (int(after_corrupt.argmax()), int(after_clean.topk(2).indices[1]))
