"""A tiny model whose runs differ enough for effects to be drawn."""

import pytest
import torch

import patchwright as pw
from tiny import random_gpt2


@pytest.fixture(scope="session")
def model() -> pw.Model:
    """The tiny model with logits 20 times as large: gaps of logits, not of hundredths."""
    gpt2 = random_gpt2(seed=0)
    with torch.no_grad():
        gpt2.transformer.ln_f.weight.mul_(20)
        gpt2.transformer.ln_f.bias.mul_(20)
    return pw.wrap_model(gpt2, name="tiny")
