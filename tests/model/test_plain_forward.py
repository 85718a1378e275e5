import pytest
import torch

import hooks
import patchwright as pw
from families import VARIANTS, variant
from patchwright.model import ops
from patchwright.model.plain_forward import plain_forward

TOKENS = [3, 8, 21, 5, 8, 30]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_plain_pass_has_the_hugging_face_models_activations(name: str) -> None:
    module = variant(name)
    network = pw.wrap_model(module).network
    embedding = ops.embedding(network, torch.tensor(TOKENS))
    _, taps = plain_forward(network, embedding, frozenset(network.spec.sites))
    for site in network.spec.sites:
        for layer, found in enumerate(taps[site]):
            expected = hooks.activation(module, TOKENS, site, layer)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
