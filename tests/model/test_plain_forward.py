import pytest
import torch

import hooks
import patchwright as pw
from patchwright.model.plain_forward import plain_forward
from patchwright.places import SITES
from tiny import random_gpt2

TOKENS = [3, 8, 21, 5]


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "gelu"])
def test_the_plain_pass_has_the_hugging_face_models_activations(activation: str) -> None:
    gpt2 = random_gpt2(seed=3, activation_function=activation, scale_attn_by_inverse_layer_idx=True)
    network = pw.wrap_model(gpt2).network
    _, taps = plain_forward(network, network.embed[TOKENS], frozenset(SITES))
    for site in SITES:
        for layer, found in enumerate(taps[site]):
            expected = hooks.activation(gpt2, TOKENS, site, layer)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
