import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

import patchwright as pw
from hooks import activation
from patchwright.algorithms.difference import ARRAYS
from patchwright.errors import ExperimentError, UnequalLengthsError
from patchwright.places import HEAD_SITES, SITES, Site, pers_of
from tiny import N_LAYERS, pair_of

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]
PAIR = pair_of(CLEAN, CORRUPT)


def expected(gpt2: GPT2LMHeadModel, site: Site, per: str, layer: int) -> dict[str, np.ndarray]:  # pyright: ignore[reportMissingTypeArgument]
    """By the definition, from hooked activations, one place at a time."""
    clean, corrupt = (activation(gpt2, prompt, site, layer) for prompt in (CLEAN, CORRUPT))
    n = len(CLEAN)
    heads = range(clean.shape[1]) if site in HEAD_SITES or site == "mlp_act" else range(1)
    places = {
        "position": [(p,) for p in range(n)],
        "head": [(slice(None), h) for h in heads],
        "neuron": [(slice(None), h) for h in heads],
        "head_position": [(p, h) for h in heads for p in range(n)],
        "layer": [(slice(None),)],
    }[per]
    rows = []
    for at in places:
        one, other = clean[at].flatten(), corrupt[at].flatten()
        norm, size = torch.linalg.norm(one - other), torch.linalg.norm(one)
        cosine = (one @ other) / (size * torch.linalg.norm(other))
        rows.append([norm / size, norm, size, cosine])
    values = np.array(rows)
    return {name: values[:, i] for i, name in enumerate(ARRAYS)}


@pytest.mark.parametrize(("site", "per"), [(site, per) for site in SITES for per in pers_of(site)])
def test_every_site_equals_the_definition(
    gpt2: GPT2LMHeadModel, model: pw.Model, site: Site, per: str
) -> None:
    result = pw.difference(model, PAIR, site, per, bos=False)
    for layer in range(1 if site == "embed" else N_LAYERS):
        for name, values in expected(gpt2, site, per, layer).items():
            found = result.arrays[name].sel(layer=layer).values.ravel()
            np.testing.assert_allclose(found, values, rtol=0, atol=1e-9)


def test_before_the_first_differing_token_nothing_differs(model: pw.Model) -> None:
    result = pw.difference(model, PAIR, bos=False)
    assert (result.arrays["norm"].sel(position=0) == 0).all()
    np.testing.assert_allclose(result.arrays["cosine"].sel(position=0), 1, atol=1e-12)
    assert (result.arrays["norm"].sel(position=1) > 0).all()


def test_unmatched_positions_are_empty(model: pw.Model) -> None:
    result = pw.difference(model, pair_of([1, 2, 6, 3], [1, 4, 3], align="edges"), bos=False)
    empty = result.arrays["norm"].isnull().all("layer").values.tolist()
    assert empty == [False, True, False, False]


def test_over_pairs_there_is_a_pair_axis(model: pw.Model) -> None:
    other = pair_of([1, 2, 3, 4], [1, 2, 9, 4])
    result = pw.difference(model, [PAIR, other], "z", bos=False)
    assert result.arrays["norm"].dims == ("pair", "layer", "head")
    alone = pw.difference(model, other, "z", bos=False)
    np.testing.assert_allclose(result.arrays["norm"].sel(pair=1), alone.arrays["norm"], atol=1e-9)


def test_what_cannot_be_compared_is_refused(model: pw.Model) -> None:
    with pytest.raises(ExperimentError, match="cannot be compared per head"):
        pw.difference(model, PAIR, "mlp_out", "head")
    with pytest.raises(UnequalLengthsError, match="choose site='z' and align='edges'"):
        pw.difference(model, pair_of([1, 2, 6, 3], [1, 4, 3], align="edges"), "pattern")
    with pytest.raises(pw.PatchwrightError, match="it has relative, norm"):
        _ = pw.difference(model, PAIR).patched
