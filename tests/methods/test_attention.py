import numpy as np
import pytest
from transformers import GPT2LMHeadModel

import hooks
import patchwright as pw
from patchwright.errors import PromptError, UnknownPlaceError
from patchwright.experiment import tokens_of
from patchwright.methods.attention import attention
from patchwright.prompts.pair import TokenPair
from tiny import N_HEADS, N_LAYERS, pair_of

CLEAN, CORRUPT = [1, 2, 3, 4], [1, 5, 3, 4]


def tokens(model: pw.Model, clean: list[int], corrupt: list[int]) -> TokenPair:
    pair = pair_of(clean, corrupt, align="edges")
    return tokens_of(pair, pw.Patch(model="tiny", pairs=pair, per="position"), model)


def test_patterns_are_those_of_the_hugging_face_model(
    model: pw.Model, gpt2: GPT2LMHeadModel
) -> None:
    pair = tokens(model, CLEAN, CORRUPT)
    for layer in range(N_LAYERS):
        for head in range(N_HEADS):
            found = attention(model.network, pair, layer, head)
            for run, prompt in (("clean", CLEAN), ("corrupt", CORRUPT)):
                expected = hooks.activation(gpt2, prompt, "pattern", layer)[:, head]
                np.testing.assert_allclose(found.sel(run=run), expected, atol=1e-12)
                np.testing.assert_allclose(found.sel(run=run).sum("key"), 1, atol=1e-12)


def test_a_head_that_is_not_there_and_unequal_prompts_are_refused(model: pw.Model) -> None:
    with pytest.raises(UnknownPlaceError, match="heads 0-3"):
        attention(model.network, tokens(model, CLEAN, CORRUPT), 0, 4)
    with pytest.raises(PromptError, match="unequal length"):
        attention(model.network, tokens(model, CLEAN, [1, 5, 4]), 0, 0)
