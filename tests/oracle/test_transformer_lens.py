"""Sweeps against TransformerLens's own activation patching, in float64.

TransformerLens wraps a copy of the same Hugging Face model, its weights neither
folded nor centred. Its `patching.py` then patches one place at a time.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GPT2LMHeadModel

import patchwright as pw
from patchwright.axes import DIMS, DIRECTIONS, Direction, Per
from patchwright.places import SITES, Site, pers_of
from tiny import N_HEADS, N_LAYERS, WIDTH, pair_of

pytestmark = pytest.mark.oracle

CLEAN, CORRUPT = [49, 3, 8, 21, 5, 30], [49, 3, 9, 22, 5, 31]
ANSWER, WRONG = 7, 11
D_MLP = 4 * WIDTH

SWEEPS = [(site, per) for site in SITES for per in pers_of(site)]

Setter = Callable[[Tensor, list[int], Tensor], Tensor]
"""What TransformerLens calls at a place: (live activation, index, source) -> live."""


@pytest.fixture(scope="session")
def patching() -> Any:
    """The module `transformer_lens.patching`, where it is installed."""
    try:
        # What the libraries that it imports warn about is not ours to mend.
        with warnings.catch_warnings(action="ignore"):
            return import_module("transformer_lens.patching")
    except ModuleNotFoundError as error:
        if os.environ.get("PATCHWRIGHT_REQUIRE_ORACLE") == "1":
            raise
        pytest.skip(f"{error}: `pip install 'patchwright[oracle]'` brings TransformerLens")


@pytest.fixture(scope="session")
def lens(patching: Any, gpt2: GPT2LMHeadModel) -> Any:
    """TransformerLens's model; it rebuilds what it is given, hence the copy."""
    sources: Any = import_module("transformer_lens.model_bridge.sources")
    copy = deepcopy(gpt2)
    return sources.build_bridge_from_module(copy, type(copy).__name__, hf_config=copy.config).eval()


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    """TransformerLens collects its results in the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def logit_diff(logits: Tensor) -> Tensor:
    return logits[0, -1, ANSWER] - logits[0, -1, WRONG]


def setter_of(patching: Any, site: Site, per: Per) -> Setter:
    """TransformerLens's way to patch; what it has none for is written here."""
    if per == "layer":
        return lambda live, _index, source: live.copy_(source)
    if per == "neuron":
        return _set_on_axis_two
    if site == "pattern":
        return {
            "position": _set_on_axis_two,
            "head": patching.layer_head_pattern_patch_setter,
            "head_position": patching.layer_head_pos_pattern_patch_setter,
        }[per]
    return {
        "position": patching.layer_pos_patch_setter,
        "head": patching.layer_head_vector_patch_setter,
        "head_position": _set_head_position,
    }[per]


def _set_on_axis_two(live: Tensor, index: list[int], source: Tensor) -> Tensor:
    """A neuron of [batch, position, neuron], a query of [batch, head, query, key]."""
    live[:, :, index[1]] = source[:, :, index[1]]
    return live


def _set_head_position(live: Tensor, index: list[int], source: Tensor) -> Tensor:
    _, head, position = index
    live[:, position, head] = source[:, position, head]
    return live


def lens_sweep(
    patching: Any, lens: Any, site: Site, per: Per, direction: Direction
) -> NDArray[np.float64]:
    """What `pw.patch` returns as `patched`, from TransformerLens."""
    clean, corrupt = torch.tensor([CLEAN]), torch.tensor([CORRUPT])
    into, out_of = (corrupt, clean) if direction == "denoise" else (clean, corrupt)
    _, cache = lens.run_with_cache(out_of)
    setter = setter_of(patching, site, per)
    if site == "embed":
        return embed_sweep(lens, into, cache["hook_embed"], setter, per)
    sizes = {"layer": N_LAYERS, "position": len(CLEAN), "head": N_HEADS, "neuron": D_MLP}
    shape = [sizes[dim] for dim in DIMS[per]]
    values = patching.generic_activation_patch(
        lens,
        into,
        cache,
        logit_diff,
        setter,
        "post" if site == "mlp_act" else site,
        index_df=patching.make_df_from_ranges(shape, DIMS[per]),
    )
    return values.numpy().reshape(shape)


def embed_sweep(
    lens: Any, into: Tensor, source: Tensor, setter: Setter, per: Per
) -> NDArray[np.float64]:
    """The token embedding has no layer, which TransformerLens's sweeps ask for."""

    def patched(position: int) -> float:
        def hook(live: Tensor, hook: Any) -> Tensor:
            return setter(live, [0, position], source)

        return logit_diff(lens.run_with_hooks(into, fwd_hooks=[("hook_embed", hook)])).item()

    return np.array([patched(0) if per == "layer" else [patched(p) for p in range(len(CLEAN))]])


@pytest.mark.parametrize("tokens", [CLEAN, CORRUPT])
def test_transformer_lens_runs_the_same_model(
    lens: Any, gpt2: GPT2LMHeadModel, tokens: list[int]
) -> None:
    with torch.no_grad():
        ids = torch.tensor([tokens])
        torch.testing.assert_close(lens(ids), gpt2(ids).logits, rtol=0, atol=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("site", "per"), SWEEPS)
@torch.no_grad()
def test_every_sweep_equals_transformer_lens(
    patching: Any, lens: Any, model: pw.Model, site: Site, per: Per, direction: Direction
) -> None:
    pair = pair_of(CLEAN, CORRUPT, answer=ANSWER, wrong=WRONG)
    layers = range(N_LAYERS) if per == "neuron" else None
    found = pw.patch(model, pair, site, per, direction, layers=layers, bos=False)
    expected = lens_sweep(patching, lens, site, per, direction)
    np.testing.assert_allclose(found.patched.values, expected, rtol=0, atol=1e-9)
