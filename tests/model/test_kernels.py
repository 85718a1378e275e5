"""The fast product: exact, the same bits for a row whoever shares it, and away where it must be."""

import gc
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import patchwright as pw
from families import VARIANTS, variant
from patchwright.algorithms import batches
from patchwright.errors import InputError
from patchwright.experiment.run import run
from patchwright.methods.patch import Patch
from patchwright.model import kernels, ops
from patchwright.model.families import network_of
from patchwright.model.kernels import (
    ENV_VARIABLE,
    FUSED,
    MAX_ERROR,
    allow_weight_copies,
    kernel_for,
    product,
)
from patchwright.model.plain_forward import gradients
from patchwright.model.weights import Linear
from patchwright.places import SITES, Site, pers_of
from tiny import random_gpt2


def model_of_variant(name: str, dtype: torch.dtype) -> pw.Model:
    return pw.wrap_model(variant(name, dtype=dtype), name="tiny")


WEIGHT = torch.empty(0)
"""Float32 on the CPU: like it, most weights are."""

fast = pytest.mark.skipif(
    not kernels._is_usable(),  # pyright: ignore[reportPrivateUsage]
    reason="this machine has no fast product: AVX-512 and PyTorch's oneDNN operator",
)


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of the operator, which is forced."""
    monkeypatch.setenv(ENV_VARIABLE, "onednn")
    calls: list[Any] = []
    real = torch.ops.mkldnn

    class Counted:
        _reorder_linear_weight = real._reorder_linear_weight

        @staticmethod
        def _linear_pointwise(*given: Any) -> Tensor:
            calls.append(given)
            return real._linear_pointwise(*given)

    monkeypatch.setattr(kernels, "_operators", Counted)
    return calls


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def weights_of(inputs: int, outputs: int, form: str) -> Tensor:
    """A weight [inputs, outputs], as GPT-2's modules lay it out, or as Linear's do."""
    if form == "conv":
        return drawn(inputs, outputs, seed=1)
    return drawn(outputs, inputs, seed=1).T


FORMS = st.sampled_from(["conv", "linear"])
SIZES = st.integers(1, 70)
ACTIVATIONS = st.sampled_from([None, *FUSED])


@fast
@given(SIZES, SIZES, SIZES, FORMS, ACTIVATIONS, st.booleans(), st.booleans())
def test_a_product_is_right_to_the_bound_that_is_checked(
    rows: int, inputs: int, outputs: int, form: str, activation: str | None, biased: bool, own: bool
) -> None:
    by = Linear(weights_of(inputs, outputs, form), drawn(outputs, seed=2) if biased else None)
    if own:
        kernels._copies[by.weight] = None  # pyright: ignore[reportPrivateUsage]
    x = drawn(rows, inputs)
    right = x.double() @ by.weight.double() + (0 if by.bias is None else by.bias.double())
    largest = float(right.abs().max())
    if activation is not None:
        right = ops._apply_activation(right, activation)  # pyright: ignore[reportPrivateUsage]
    found = product(x, by, activation)
    assert found is not None
    assert float((found - right).abs().max()) <= MAX_ERROR * max(1.0, largest)


@fast
@given(SIZES, SIZES, st.lists(st.integers(0, 39), min_size=1, max_size=40), FORMS, ACTIVATIONS)
def test_the_bits_of_a_row_depend_neither_on_its_company_nor_on_threads_or_layout(
    inputs: int, outputs: int, chosen: list[int], form: str, activation: str | None
) -> None:
    by = Linear(weights_of(inputs, outputs, form), drawn(outputs, seed=2))
    owned = Linear(by.weight.clone(memory_format=torch.preserve_format), by.bias)
    kernels._copies[owned.weight] = None  # pyright: ignore[reportPrivateUsage]
    x = drawn(40, inputs)
    whole = product(x, by, activation)
    assert whole is not None
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            for one in (by, owned):
                part = product(x[chosen], one, activation)
                assert part is not None
                assert torch.equal(part, whole[chosen])
    finally:
        torch.set_num_threads(threads)


@fast
def test_q_k_and_v_that_lie_side_by_side_are_one_product_and_a_slice_of_them_is_none(
    operator: list[Any],
) -> None:
    layer = network_of(random_gpt2(dtype=torch.float32), "tiny").layers[0]
    assert len(layer.qkv) == 1
    x = drawn(5, 16)
    assert product(x, layer.q) is None, "a slice falls into a kernel a hundred times slower"
    found = ops.queries_keys_values(x, layer)
    assert len(operator) == 1
    for part, by in zip(found, (layer.q, layer.k, layer.v), strict=True):
        assert by.bias is not None
        right = x.double() @ by.weight.double() + by.bias.double()
        np.testing.assert_allclose(part.flatten(1), right, atol=1e-5)


@fast
def test_weights_apart_are_three_products(operator: list[Any]) -> None:
    layer = model_of_variant("llama as it is", torch.float32).network.layers[0]
    assert layer.qkv == (layer.q, layer.k, layer.v)
    ops.queries_keys_values(drawn(5, 16), layer)
    assert len(operator) == 3


@fast
@pytest.mark.parametrize("name", VARIANTS)
def test_sweeps_of_every_variant_are_those_of_float64(name: str, operator: list[Any]) -> None:
    exact, rounded = (model_of_variant(name, dtype) for dtype in (torch.float64, torch.float32))
    pair = pw.Pair(clean=[3, 8, 21, 5, 30, 12], corrupt=[3, 9, 22, 5, 30, 12], answer=7, wrong=11)
    for site in {"resid_pre", "z", "mlp_act"} & set(exact.spec.sites):
        per = "layer" if site == "mlp_act" else None
        found, right = (
            pw.patch(one, pair, site, per, bos=False).patched.values for one in (rounded, exact)
        )
        np.testing.assert_allclose(found, right, atol=5e-5 * max(1, float(np.abs(right).max())))
    assert operator


@fast
@pytest.mark.parametrize("name", ["gpt2 as it is", "llama as it is"])
@pytest.mark.parametrize("site", SITES)
def test_a_sweep_one_row_at_a_time_is_the_sweep_of_all_rows_bit_for_bit(
    site: Site, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_VARIABLE, "onednn")
    model = model_of_variant(name, torch.float32)
    pairs = (
        pw.Pair(clean=[3, 8, 21, 5, 30, 12], corrupt=[3, 9, 22, 5, 30, 12], answer=7, wrong=11),
        pw.Pair(clean=[4, 8, 22, 6, 31, 12], corrupt=[1, 9, 22, 6, 30, 13], answer=7, wrong=11),
    )
    layers = None if site == "embed" else (1, 2)

    def swept(some: tuple[pw.Pair, ...]) -> Any:
        per = pers_of(site)[0] if site != "mlp_act" else "layer"
        asked = Patch(
            model="tiny", pairs=some, site=site, per=per, metric="kl", bos=False, layers=layers
        )
        return run(asked, model).patched.values

    together = swept(pairs)
    assert np.array_equal(together, np.concatenate([swept((pair,)) for pair in pairs]))
    monkeypatch.setattr(batches, "BATCH_TOKENS", 1)
    assert np.array_equal(together, swept(pairs))


def test_what_is_kept_does_not_change_a_runs_bits() -> None:
    from patchwright.model.forward import forward
    from patchwright.model.requests import BASE_SITES, Row

    model = model_of_variant("llama as it is", torch.float32)
    row = Row((3, 8, 21, 5, 30, 12), 5)
    core, all_kept = (forward(model.network, [row], keep)[0] for keep in (BASE_SITES, SITES))
    assert torch.equal(core.final, all_kept.final)
    for site in BASE_SITES:
        for one, other in zip(core.kept[site], all_kept.kept[site], strict=True):
            assert torch.equal(one, other), site


@fast
def test_where_a_gradient_is_wanted_the_product_has_one(operator: list[Any]) -> None:
    by = Linear(drawn(6, 4, seed=1), drawn(4))
    x = drawn(3, 6).requires_grad_()
    ops.linear(x, by, "gelu").sum().backward()
    assert x.grad is not None
    assert not operator
    with torch.no_grad():
        ops.linear(x, by, "gelu")
    assert len(operator) == 1


@fast
@pytest.mark.parametrize("name", ["gpt2 as it is", "llama as it is"])
def test_gradients_are_those_of_float64_also_where_the_kernel_is_forced(
    name: str, operator: list[Any]
) -> None:
    found: list[list[Tensor]] = []
    for dtype in (torch.float32, torch.float64):
        network = model_of_variant(name, dtype).network
        embedding = network.embed[[3, 8, 21, 5]]
        [taps] = gradients(
            network, [embedding], ["resid_pre", "z"], lambda x: x[0][-1].square().sum()
        )
        found.append([tap for tensors in taps.values() for tap in tensors])
    assert not operator
    for one, right in zip(*found, strict=True):
        scale = float(right.abs().max())
        assert scale > 0
        np.testing.assert_allclose(one, right, atol=1e-5 * scale)


@fast
@pytest.mark.parametrize("lowered", ["bf16", "tf32"])
def test_a_precision_that_another_library_lowers_is_seen_at_the_next_product(
    lowered: str, operator: list[Any]
) -> None:
    by = Linear(drawn(6, 4), None)
    backend: Any = torch.backends.mkldnn
    matmul = backend.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = lowered
        assert kernel_for(WEIGHT) == "addmm"
        assert product(drawn(3, 6), by) is None
    finally:
        matmul.fp32_precision = before
    assert product(drawn(3, 6), by) is not None


def test_other_precisions_and_devices_take_addmm() -> None:
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        assert kernel_for(torch.empty(0, dtype=dtype)) == "addmm"
        assert product(drawn(3, 6).to(dtype), Linear(drawn(6, 4).to(dtype), None)) is None
    assert kernel_for(torch.empty(0, device="meta")) == "addmm"


@fast
def test_no_rows_are_no_product() -> None:
    by = Linear(drawn(6, 4), None)
    assert ops.linear(drawn(0, 6), by).shape == (0, 4)


def test_addmm_can_be_forced_and_gives_the_same_to_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by = Linear(drawn(30, 40), drawn(40))
    x = drawn(7, 30, seed=3)
    usual = ops.linear(x, by, "gelu_new")
    monkeypatch.setenv(ENV_VARIABLE, "addmm")
    assert product(x, by) is None
    np.testing.assert_allclose(ops.linear(x, by, "gelu_new"), usual, atol=2e-5)


def test_a_kernel_that_is_unknown_or_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_VARIABLE, "mkl")
    with pytest.raises(InputError, match=re.escape("'mkl': set it to onednn or addmm")):
        kernel_for(WEIGHT)
    monkeypatch.setenv(ENV_VARIABLE, "onednn")
    monkeypatch.setattr(kernels, "_operators", object())
    with pytest.raises(InputError, match="which this build of PyTorch does not have"):
        kernel_for(WEIGHT)


def test_a_kernel_that_computes_something_else_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = torch.ops.mkldnn

    class Wrong:
        _reorder_linear_weight = real._reorder_linear_weight

        @staticmethod
        def _linear_pointwise(x: Tensor, *others: Any) -> Tensor:
            return real._linear_pointwise(x, *others) * (1 + 1e-5)

    monkeypatch.setattr(kernels, "_operators", Wrong)
    assert not kernels._is_exact()  # pyright: ignore[reportPrivateUsage]


@fast
def test_only_what_nobody_changes_is_copied_and_a_copy_goes_with_its_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies = kernels._copies  # pyright: ignore[reportPrivateUsage]
    gc.collect()
    before = len(copies)
    pair = pw.Pair(clean=[3, 8, 21, 5], corrupt=[3, 9, 22, 5], answer=7, wrong=11)
    wrapped = pw.wrap_model(random_gpt2(dtype=torch.float32), name="tiny")
    right = pw.patch(wrapped, pair, "z", bos=False).patched.values
    assert len(copies) == before

    allow_weight_copies(wrapped.network)
    assert np.array_equal(pw.patch(wrapped, pair, "z", bos=False).patched.values, right)
    made = [copy for copy in copies.values() if copy is not None]
    assert len(made) >= 4 * wrapped.spec.n_layers

    del wrapped, made
    gc.collect()
    assert len(copies) == before


@fast
@pytest.mark.parametrize("free", [0, 1000])
def test_where_memory_is_short_nothing_is_copied_and_the_bits_are_the_same(
    free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = drawn(5, 30)
    plenty, short = (Linear(drawn(30, 40, seed=1), None) for _ in range(2))
    copies = kernels._copies  # pyright: ignore[reportPrivateUsage]
    copies[plenty.weight] = copies[short.weight] = None
    right = product(x, plenty)
    monkeypatch.setattr(kernels, "available_memory", lambda: free)
    found = product(x, short)
    assert found is not None
    assert right is not None
    assert torch.equal(found, right)
    assert copies[plenty.weight] is not None
    assert short.weight not in copies


def test_a_model_of_ones_own_changed_in_place_is_run_as_it_now_is() -> None:
    module = random_gpt2(dtype=torch.float32)
    model = pw.wrap_model(module, name="tiny")
    pair = pw.Pair(clean=[3, 8, 21, 5], corrupt=[3, 9, 22, 5], answer=7, wrong=11)
    before = pw.patch(model, pair, "z", bos=False).patched.values
    for parameter in module.parameters():
        parameter.data.mul_(1.1)
    after = pw.patch(model, pair, "z", bos=False).patched.values
    fresh = pw.patch(pw.wrap_model(module, name="tiny"), pair, "z", bos=False).patched.values
    assert not np.array_equal(before, after)
    assert np.array_equal(after, fresh)


def test_a_result_says_what_its_products_were_computed_by(
    model: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pw.Pair(clean=[3, 8, 21, 5], corrupt=[3, 9, 22, 5], answer=7, wrong=11)
    assert pw.patch(model, pair, bos=False).model["products"] == "addmm", "it is in float64"
    own = pw.wrap_model(random_gpt2(dtype=torch.float32), name="tiny")
    assert pw.patch(own, pair, bos=False).model["products"] == kernel_for(WEIGHT)
    monkeypatch.setenv(ENV_VARIABLE, "addmm")
    assert pw.patch(own, pair, bos=False).model["products"] == "addmm"


def test_processes_agree_bit_for_bit() -> None:
    code = (
        "import patchwright as pw, numpy as np;"
        "p = pw.Pair(clean='Mary and John went to the store, John gave a drink to',"
        " corrupt='Mary and John went to the store, Mary gave a drink to',"
        " answer=' Mary', wrong=' John');"
        "print(pw.patch(pw.load_model('demo'), p).patched.values.tobytes().hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", f"import torch; torch.set_num_threads({threads});{code}"],
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in (1, 2)
    }  # fmt: skip
    assert len(found) == 1
