"""Half precision: every method's numbers are close to float32's, or one sentence says why there are none."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import patchwright as pw
from checkpoints import save_tiny
from every_method import every_experiment
from families import BLOCKS, FAMILIES
from patchwright.errors import NonFiniteError
from patchwright.experiment.run import run
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4, 5], [1, 9, 3, 4, 5])
HALF = ("float16", "bfloat16")
ROUNDINGS = 40
"""Rounding errors of the precision, of the largest value, that may come together."""

SHARES = ("effect", "rank", "faithfulness", "complement", "random", "relative")
"""Arrays that divide by a small difference, or count: nothing bounds their error."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@cache
def loaded(folder: Path, family: str, dtype: str) -> pw.Model:
    """Each checkpoint and precision once."""
    own = folder / family
    return pw.load_model(str(own if own.is_dir() else save_tiny(own, family=family)), dtype=dtype)


@pytest.mark.parametrize("method", every_experiment())
@pytest.mark.parametrize("family", BLOCKS)
def test_every_method_is_near_float32_and_says_the_precision(
    family: str, method: str, folder: Path
) -> None:
    models = {dtype: loaded(folder, family, dtype) for dtype in ("float32", *HALF)}
    experiment = every_experiment(model=models["float32"].name)[method]
    whole = run(experiment, models["float32"])
    for dtype in HALF:
        half = run(experiment, models[dtype])
        assert "half_precision" in [one["code"] for one in half.warnings]
        allowed = ROUNDINGS * torch.finfo(getattr(torch, dtype)).eps
        for name in {name for name in whole.arrays if name != "top"}.difference(SHARES):
            one, other = half.arrays[name].values, whole.arrays[name].values
            if name == "exact":
                # Of the strongest edges, and of two that are as strong rounding chooses.
                both = np.isfinite(one) & np.isfinite(other)
                assert both.any()
                one, other = one[both], other[both]
            largest = max(1.0, float(np.nanmax(np.abs(other))))
            np.testing.assert_allclose(one, other, rtol=0, atol=allowed * largest, err_msg=name)


def llama(dtype: torch.dtype, embedding: float = 1.0, attention: float = 1.0) -> pw.Model:
    """A tiny Llama with larger embeddings, or with larger queries and keys."""
    module: Any = FAMILIES["llama"](seed=1, dtype=torch.float32)
    with torch.no_grad():
        module.model.embed_tokens.weight.mul_(embedding)
        for layer in module.model.layers:
            layer.self_attn.q_proj.weight.mul_(attention)
            layer.self_attn.k_proj.weight.mul_(attention)
    return pw.wrap_model(module.to(dtype), name="tiny")


CALLS: dict[str, Callable[[pw.Model], pw.Result]] = {
    "attention": lambda model: pw.attention(model, PAIR, layer=1, head=0, bos=False),
    "patterns": lambda model: pw.patch(model, PAIR, site="pattern", bos=False),
    "estimates": lambda model: pw.attribute(model, PAIR, site="q", per="head", bos=False),
    "frozen norms": lambda model: pw.path_patch(
        model, PAIR, site="z", receivers=["logits"], norms="freeze", bos=False
    ),
    "direct contributions": lambda model: pw.logit_attribution(model, PAIR, bos=False),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "large",
    [
        pytest.param({"attention": 80.0}, id="products of queries and keys"),
        pytest.param({"embedding": 2000.0}, id="squares of the stream"),
    ],
)
def test_what_overflows_only_on_the_way_is_computed(call: str, large: dict[str, float]) -> None:
    whole, half = (CALLS[call](llama(dtype, **large)) for dtype in (torch.float32, torch.float16))
    name = next(iter(whole.arrays))
    expected = whole.arrays[name].values
    largest = max(1.0, float(np.abs(expected).max()))
    atol = ROUNDINGS * torch.finfo(torch.float16).eps * largest
    np.testing.assert_allclose(half.arrays[name].values, expected, rtol=0, atol=atol)


def test_what_overflows_in_the_stream_itself_is_a_sentence() -> None:
    with pytest.raises(NonFiniteError, match="overflow in this precision: load it in float32"):
        pw.patch(llama(torch.float16, embedding=1e5), PAIR, bos=False)
